# SPDX-License-Identifier: Apache-2.0
"""The Beam graph: a first look over all ranges, merged; then each range encoded, with what the look found at hand."""

import os
from collections.abc import Iterator

from pipelines.beam import DirectOptions, PipelineOptions, StandardOptions, beam
from pipelines.encoding.shuffle import shard_count
from pipelines.graph.encode import EncodeRange, WriteShard
from pipelines.graph.job import Job, dealing_order
from pipelines.graph.survey import SurveyRange, settle_or_fail
from pipelines.runners.interrupts import kept_interrupt
from pipelines.runners.local import make_runner
from pipelines.runners.processes import silent_connections
from pipelines.runs.failures import raise_failure
from pipelines.runs.reports import SurveyReport
from tf_crossdistil.errors import CrossDistilError

__all__ = ["Job", "run_pipeline"]


def run_pipeline(job: Job, options: PipelineOptions) -> None:
    """Builds the graph and runs it to its end.

    Raises:
        CrossDistilError: a worker gave up, then the sentence is the worker's; or the runner failed.
        KeyboardInterrupt: SIGINT came, whatever the runner made of it.
    """
    with kept_interrupt(), silent_connections():
        try:
            with beam.Pipeline(runner=make_runner(options, job.run), options=options) as pipeline:
                _build(pipeline, job, options.view_as(DirectOptions).direct_num_workers or os.cpu_count() or 1)
        except Exception as error:
            raise_failure(job.run)
            runner = options.view_as(StandardOptions).runner
            raise CrossDistilError(f"the runner {runner} failed: {_gist(error)}") from error
    raise_failure(job.run)


def _build(pipeline: beam.Pipeline, job: Job, workers: int) -> None:
    ranges = dealing_order(job.ranges, workers)
    survey = (
        pipeline
        | "ranges to survey" >> beam.Create(ranges)
        | "survey" >> beam.ParDo(SurveyRange(job))
        | "count surveyed" >> beam.combiners.Count.Globally()
        | "settle" >> beam.Map(settle_or_fail, job)
    )
    encoded = (
        pipeline
        | "ranges to encode" >> beam.Create(ranges)
        | "encode" >> beam.ParDo(EncodeRange(job), beam.pvalue.AsSingleton(survey))
    )
    if job.global_shuffle:
        # As a side input the count is there only when all ranges are encoded.
        count = encoded | "count" >> beam.combiners.Count.Globally()
        _ = (
            survey
            | "shards" >> beam.FlatMap(_shards)
            | "deal" >> beam.Reshuffle()
            | "shuffle" >> beam.ParDo(WriteShard(job), beam.pvalue.AsSingleton(survey), beam.pvalue.AsSingleton(count))
        )


def _shards(survey: SurveyReport | None) -> Iterator[int]:
    yield from range(shard_count(sum(survey.rows)) if survey is not None else 0)


def _gist(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Where a worker's traceback is part of the message, its last line says what happened.
    return " ".join(lines[-1:] if any("Traceback" in line for line in lines) else lines) or type(error).__name__
