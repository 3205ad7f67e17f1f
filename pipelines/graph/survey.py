# SPDX-License-Identifier: Apache-2.0
"""A first look over all ranges, merged and settled.

What is found goes through files of the run, not through the runner: millions of values would be copied several times there.
"""

import pickle
from collections.abc import Iterator

from pipelines.beam import beam
from pipelines.checking.validate import Validator
from pipelines.graph.faults import guarded_step
from pipelines.graph.job import Job
from pipelines.runs.failures import has_failed
from pipelines.runs.progress import RowCounter
from pipelines.runs.reports import SurveyReport
from pipelines.runs.sink import write_file
from pipelines.runs.storage import WORK_DIRECTORY, open_prepared
from pipelines.sources.blocks import InputRange
from pipelines.sources.inputs import make_reader
from pipelines.survey.settle import settle
from pipelines.survey.survey import Survey
from tf_crossdistil.errors import CrossDistilError


class SurveyRange(beam.DoFn):
    """Looks over one range."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, part: InputRange) -> Iterator[int]:
        """Yields the index of `part` once its findings are there, or nothing when it cannot be read."""
        if not has_failed(self._job.run, self._job.attempt):
            with guarded_step(self._job, f"survey-{part.index:05d}", f"reading {part.path}"):
                write_file(self._job.run, _findings_path(part.index), pickle.dumps(self._survey(part)))
                yield part.index

    def _survey(self, part: InputRange) -> Survey:
        validator = Validator(self._job.experiment)
        counter = RowCounter(self._job.run, "survey", part.index, self._job.attempt)
        survey = Survey.empty(self._job.experiment, counts_values=self._job.frozen is None)
        survey.open_range(part.index)
        for block in make_reader(self._job.experiment.source, validator.columns).blocks(part):
            survey.add(part.index, block, validator(block.columns))
            counter.add(block.rows, block.done)
        counter.finish()
        return survey


def settle_or_fail(surveyed: int, job: Job) -> SurveyReport | None:
    """What the findings of all ranges settle, or None when some worker gave up or the logs cannot train."""
    report = None
    if not has_failed(job.run, job.attempt):
        with guarded_step(job, "settle", "settling vocabularies and statistics"):
            if surveyed != len(job.ranges):
                raise CrossDistilError(
                    f"the runner surveyed {surveyed} of {len(job.ranges)} ranges and went on; use another --runner"
                )
            frozen = open_prepared(job.frozen) if job.frozen is not None else None
            survey = Survey.empty(job.experiment, counts_values=frozen is None)
            for part in job.ranges:
                survey.merge(pickle.loads((job.run / _findings_path(part.index)).read_bytes()))
            report = settle(survey, job.experiment, job.run, job.ranges, job.max_bad_fraction, frozen)
    return report


def _findings_path(index: int) -> str:
    return f"{WORK_DIRECTORY}/survey-{index:05d}.pickle"
