"""A first look over all ranges, merged and settled."""

from collections.abc import Iterator, Sequence

from pipelines.beam import beam
from pipelines.checking.validate import Validator
from pipelines.graph.faults import guarded_step
from pipelines.graph.job import Job
from pipelines.runs.failures import has_failed
from pipelines.runs.progress import RowCounter
from pipelines.runs.reports import SurveyReport
from pipelines.runs.storage import open_prepared
from pipelines.sources.blocks import InputRange
from pipelines.sources.inputs import make_reader
from pipelines.statistics.settle import settle
from pipelines.statistics.survey import Survey
from tf_crossdistil.config import Experiment


class SurveyRange(beam.DoFn):
    """Looks over one range."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, part: InputRange) -> Iterator[Survey]:
        """Yields the findings of `part`, or nothing when it cannot be read."""
        if not has_failed(self._job.run):
            with guarded_step(self._job.run, f"survey-{part.index:05d}", f"reading {part.path}"):
                yield self._survey(part)

    def _survey(self, part: InputRange) -> Survey:
        validator = Validator(self._job.experiment)
        counter = RowCounter(self._job.run, "survey", part.index)
        survey = Survey.empty(self._job.experiment)
        survey.open_range(part.index)
        for block in make_reader(self._job.experiment.source, validator.columns).blocks(part):
            survey.add(part.index, block, validator(block.columns))
            counter.add(block.rows, block.done)
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


def settle_or_fail(survey: Survey, job: Job) -> SurveyReport | None:
    """What the survey settles, or None when some worker gave up or the logs cannot train."""
    report = None
    if not has_failed(job.run):
        with guarded_step(job.run, "settle", "settling vocabularies and statistics"):
            frozen = open_prepared(job.frozen) if job.frozen is not None else None
            report = settle(survey, job.experiment, job.run, job.ranges, job.max_bad_fraction, frozen)
    return report
