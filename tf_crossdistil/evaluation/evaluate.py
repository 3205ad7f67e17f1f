# SPDX-License-Identifier: Apache-2.0
"""A trained run measured on a split of prepared data."""

from collections.abc import Callable

from tf_crossdistil.evaluation.record import Evaluation, keep_evaluation, means_by_task
from tf_crossdistil.evaluation.results import MethodResult
from tf_crossdistil.metrics.summary import summarize
from tf_crossdistil.models.predict import SplitPredictor
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData, check_same_schema


def evaluate(run: Run, data: PreparedData, split: str, progress: Callable[[int], None] = lambda rows: None) -> MethodResult:
    """The best epoch of a run on a whole split, exactly; the run keeps what was measured.

    Args:
        run: a training run.
        data: prepared data of the schema and vocabularies that the run was trained on.
        split: which split.
        progress: called with the number of further rows after each batch.

    Raises:
        CrossDistilError: the data is of another schema, the split is empty, or the run has no finished epoch.
    """
    check_same_schema(run.metadata, data.metadata)
    epoch = run.best_epoch()
    predictions = SplitPredictor(run.load(epoch), run.experiment)(data, split, progress)
    summary = summarize(run.experiment, predictions, split)
    keep_evaluation(
        run,
        Evaluation(
            split=split,
            data_run=data.metadata.run,
            epoch=epoch.number,
            checkpoint=epoch.digest,
            summary=summary,
            means=means_by_task(predictions),
        ),
    )
    return MethodResult(run.experiment.method_name, summary, predictions, run.history())
