"""The Beam graph: a first look over all ranges, merged; then each range encoded, with what the look found at hand."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.beam import PipelineOptions, StandardOptions, beam
from pipelines.checking.dead_letters import dead_letters
from pipelines.checking.validate import Validator
from pipelines.encoding.records import RowEncoder
from pipelines.runners.interrupts import kept_interrupt
from pipelines.runners.local import make_runner
from pipelines.runs.failures import has_failed, raise_failure, recorded_failure
from pipelines.runs.manifest import SAMPLE_ROWS
from pipelines.runs.progress import RowCounter
from pipelines.runs.reports import RangeReport, SurveyReport, write_range
from pipelines.runs.sink import GzipWriters
from pipelines.sources.blocks import InputRange
from pipelines.sources.inputs import make_reader
from pipelines.statistics.settle import read_vocabularies, settle
from pipelines.statistics.survey import Survey
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError


@dataclass(frozen=True)
class Job:
    """What every worker knows: `run` is the directory of the run, `frozen` the run whose vocabulary it takes over."""

    experiment: Experiment
    run: Path
    ranges: tuple[InputRange, ...]
    max_bad_fraction: float
    frozen: Path | None = None
    global_shuffle: bool = False


class SurveyRange(beam.DoFn):
    """Looks over one range."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, part: InputRange) -> Iterator[Survey]:
        """Yields the findings of `part`, or nothing when it cannot be read."""
        if not has_failed(self._job.run):
            with recorded_failure(self._job.run, f"survey-{part.index:05d}"):
                yield self._survey(part)

    def _survey(self, part: InputRange) -> Survey:
        validator = Validator(self._job.experiment)
        counter = RowCounter(self._job.run, "survey", part.index)
        survey = Survey.empty(self._job.experiment)
        survey.open_range(part.index)
        for block in make_reader(self._job.experiment.source, validator.columns).blocks(part):
            survey.add(part.index, block, validator(block.columns))
            counter.add(block.rows)
        return survey


class MergeSurveys(beam.CombineFn):
    """Merges findings."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def create_accumulator(self) -> Survey:
        """No findings."""
        return Survey.empty(self._experiment)

    def add_input(self, accumulator: Survey, element: Survey) -> Survey:
        """Takes in one range's findings."""
        accumulator.merge(element)
        return accumulator

    def merge_accumulators(self, accumulators: Sequence[Survey]) -> Survey:
        """One of many."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Survey) -> Survey:
        """The findings as they are."""
        return accumulator


class EncodeRange(beam.DoFn):
    """Writes the records and dead letters of one range into files of its own."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._encoder: RowEncoder | None = None

    def process(self, part: InputRange, survey: SurveyReport | None) -> Iterator[int]:
        """Yields the index of `part` once its files are there; nothing when the run has failed."""
        if survey is not None and not has_failed(self._job.run):
            with recorded_failure(self._job.run, f"encode-{part.index:05d}"):
                self._encode(part, survey)
                yield part.index

    def _encode(self, part: InputRange, survey: SurveyReport) -> None:
        if self._encoder is None:
            self._encoder = RowEncoder(self._job.experiment, read_vocabularies(self._job.run, survey))
        validator = Validator(self._job.experiment)
        counter = RowCounter(self._job.run, "encode", part.index)
        rows_in, reasons, sample = 0, Counter[str](), list[str]()
        with GzipWriters(self._job.run) as writers:
            for block in make_reader(self._job.experiment.source, validator.columns).blocks(part):
                rows = validator(block.columns)
                for split, tag, records in self._encoder.groups(rows):
                    path = f"{split}/tag={tag}/part-{part.index:05d}.tfrecord.gz"
                    writers.open(path, split, tag).append(records.data, len(records))
                for letter in dead_letters(block, rows):
                    line = letter.line(part.path, survey.rows_before[part.index] + 1)
                    writers.open(f"dead_letter/part-{part.index:05d}.jsonl.gz").append(line, 1)
                    reasons[letter.reason] += 1
                if len(sample) < SAMPLE_ROWS:
                    sample += self._encoder.sample(rows, SAMPLE_ROWS - len(sample))
                rows_in += block.rows
                counter.add(block.rows)
        write_range(
            self._job.run,
            part.index,
            RangeReport(path=part.path, rows_in=rows_in, dead_letters=reasons, files=writers.entries, sample=sample),
        )


def settle_or_fail(survey: Survey, job: Job) -> SurveyReport | None:
    """What the survey settles, or None when some worker gave up or the logs cannot train."""
    report = None
    if not has_failed(job.run):
        with recorded_failure(job.run, "settle"):
            report = settle(survey, job.experiment, job.run, job.ranges, job.max_bad_fraction)
    return report


def run_pipeline(job: Job, options: PipelineOptions) -> None:
    """Builds the graph and runs it to its end.

    Raises:
        CrossDistilError: a worker gave up, then the sentence is the worker's; or the runner failed.
        KeyboardInterrupt: SIGINT came, whatever the runner made of it.
    """
    with kept_interrupt():
        try:
            with beam.Pipeline(runner=make_runner(options), options=options) as pipeline:
                _build(pipeline, job)
        except Exception as error:
            runner = options.view_as(StandardOptions).runner
            raise CrossDistilError(f"the runner {runner} failed: {_gist(error)}") from error
    raise_failure(job.run)


def _build(pipeline: beam.Pipeline, job: Job) -> None:
    survey = (
        pipeline
        | "ranges to survey" >> beam.Create(job.ranges)
        | "survey" >> beam.ParDo(SurveyRange(job))
        | "merge" >> beam.CombineGlobally(MergeSurveys(job.experiment))
        | "settle" >> beam.Map(settle_or_fail, job)
    )
    _ = (
        pipeline
        | "ranges to encode" >> beam.Create(job.ranges)
        | "encode" >> beam.ParDo(EncodeRange(job), beam.pvalue.AsSingleton(survey))
    )


def _gist(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Where a worker's traceback is part of the message, its last line says what happened.
    return " ".join(lines[-1:] if any("Traceback" in line for line in lines) else lines) or type(error).__name__
