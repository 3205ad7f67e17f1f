# SPDX-License-Identifier: Apache-2.0
"""Each range as records and dead letters, with what the survey settled at hand."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

from pipelines.beam import beam
from pipelines.checking.dead_letters import dead_letters
from pipelines.checking.validate import Validator
from pipelines.encoding.records import RowEncoder
from pipelines.encoding.shuffle import SpillWriter, shard_count, write_shard
from pipelines.encoding.tally import Tally
from pipelines.graph.faults import guarded_step
from pipelines.graph.job import Job
from pipelines.runs.failures import has_failed
from pipelines.runs.manifest import SAMPLE_ROWS
from pipelines.runs.progress import RowCounter
from pipelines.runs.reports import RangeReport, SurveyReport, write_range
from pipelines.runs.sink import GzipWriters
from pipelines.sources.blocks import InputRange
from pipelines.sources.inputs import make_reader
from pipelines.survey.settle import read_vocabularies


class EncodeRange(beam.DoFn):
    """Writes the records and dead letters of one range into files of its own; records to be shuffled only for the next step."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._encoder: RowEncoder | None = None

    def process(self, part: InputRange, survey: SurveyReport | None) -> Iterator[int]:
        """Yields the index of `part` once its files are there; nothing when the run has failed."""
        if survey is not None and not has_failed(self._job.run, self._job.attempt):
            with guarded_step(self._job, f"encode-{part.index:05d}", f"encoding {part.path}"):
                self._encode(part, survey)
                yield part.index

    def _encode(self, part: InputRange, survey: SurveyReport) -> None:
        if self._encoder is None:
            self._encoder = RowEncoder(self._job.experiment, read_vocabularies(self._job.run, survey))
        validator = Validator(self._job.experiment)
        counter = RowCounter(self._job.run, "encode", part.index, self._job.attempt)
        rows_in, reasons, sample, tallies = 0, Counter[str](), list[str](), dict[str, Tally]()
        with ExitStack() as stack:
            writers = stack.enter_context(GzipWriters(self._job.run))
            spill = None
            if self._job.global_shuffle:
                spill = stack.enter_context(SpillWriter(self._job.run, part.index, shard_count(sum(survey.rows))))
            for block in make_reader(self._job.experiment.source, validator.columns).blocks(part):
                rows = validator(block.columns)
                encoded = self._encoder.encode(rows)
                _add_tallies(tallies, encoded.tallies)
                if spill is not None:
                    spill.add(encoded.groups)
                else:
                    for group in encoded.groups:
                        path = f"{group.split}/tag={group.tag}/part-{part.index:05d}.tfrecord.gz"
                        writers.open(path, group.split, group.tag).append(group.records.data, len(group.records))
                for letter in dead_letters(block, rows):
                    line = letter.line(part.path, survey.rows_before[part.index] + 1)
                    writers.open(f"dead_letter/part-{part.index:05d}.jsonl.gz").append(line, 1)
                    reasons[letter.reason] += 1
                if len(sample) < SAMPLE_ROWS:
                    sample += self._encoder.sample(rows, SAMPLE_ROWS - len(sample))
                rows_in += block.rows
                counter.add(block.rows, block.done)
            # Before the files get their names: a worker that outlived its attempt must not put its own in their place.
            counter.finish()
        report = RangeReport(
            path=part.path,
            rows_in=rows_in,
            dead_letters=reasons,
            files=writers.entries,
            sample=sample,
            tallies=tallies,
            spilled=spill.rows if spill is not None else 0,
        )
        write_range(self._job.run, part.index, report)


class WriteShard(beam.DoFn):
    """Writes the records of one shard in random order."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, shard: int, survey: SurveyReport | None, encoded: int) -> Iterator[int]:
        """Yields `shard` once its files are there; nothing unless all ranges are `encoded`."""
        if survey is not None and encoded == len(self._job.ranges) and not has_failed(self._job.run, self._job.attempt):
            with guarded_step(self._job, f"shuffle-{shard:05d}", f"shuffling shard {shard}"):
                shards, tasks = shard_count(sum(survey.rows)), len(self._job.experiment.binary_names)
                counter = RowCounter(self._job.run, "shuffle", shard, self._job.attempt)
                counter.add(write_shard(self._job.run, shard, shards, len(self._job.ranges), tasks))
                counter.finish()
                yield shard


def _add_tallies(total: dict[str, Tally], tallies: dict[str, Tally]) -> None:
    for split, tally in tallies.items():
        known = total.setdefault(split, Tally())
        known.rows += tally.rows
        for name in ("missing", "values", "oov", "truncated"):
            counts: dict[str, int] = getattr(known, name)
            for feature, count in getattr(tally, name).items():
                counts[feature] = counts.get(feature, 0) + count
