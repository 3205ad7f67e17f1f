# SPDX-License-Identifier: Apache-2.0
"""What the model card says of a regression task and of mutual towers."""

from typing import Any

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tests.export.mixed_model import FINISH, LABEL, LIKE, SECONDS, mixed_model
from tests.models.small_model import small_rows, small_run
from tf_crossdistil.evaluation.record import Evaluation, Means, ValueMeans
from tf_crossdistil.export.model_card import describe
from tf_crossdistil.export.model_card_page import page
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import SplitRates

RATES = SplitRates(
    positive={"finish": 0.36, "like": 0.1}, mean={"seconds": 21437.5}, labelled={"seconds": 0.9}, missing={}, oov={}
)
BINARY = {"rows": 90, "auc": 0.71234, "multi_auc": 0.7, "log_loss": 0.5, "normalized_entropy": 0.9, "ece": 0.01}
SUMMARY: dict[str, Any] = {
    "split": "test",
    "rows": 100,
    "tasks": {
        "finish": BINARY,
        "seconds": {"rows": 80, "mse": 7.5e8, "rmse": 27386.128, "mae": 15000.5, "r2": -0.0123},
        "like": BINARY,
    },
    "teachers": {},
}
MEANS = {
    "seconds": ValueMeans(mean_label=20000.25, mean_prediction=19000.75),
    **dict.fromkeys(["finish", "like"], Means(positive_rate=0.3, mean_prediction=0.31)),
}


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The card, by the summary of an evaluation, of a run with mutual towers whose regression is asked of finished rows."""
    model, experiment = mixed_model(
        tasks=[FINISH, {**SECONDS, "given": "finish"}, LIKE],
        model={"backbone": "shared_bottom", "mutual": {"features": "ctfm", "distillation": "gkd"}},
    )
    run = small_run(tmp_path_factory.mktemp("described"), model, experiment)
    run.write_history([{"epoch": 1, "validation_auc": 0.71, "validation_seconds_mse": 7.4e8, "validation_mse": 7.4e8}])
    run = Run(run.directory, experiment, model.metadata.model_copy(update={"rates": {"train": RATES}}))
    saved = saved_model_pb2.SavedModel()
    saved.meta_graphs.add()
    (run.directory / "saved_model.pb").write_bytes(saved.SerializeToString())

    def described(summary=SUMMARY, means=MEANS):
        epoch = run.best_epoch()
        evaluation = Evaluation(split="test", data_run="r", epoch=1, checkpoint=epoch.digest, summary=summary, means=means)
        return describe(run, epoch, evaluation, None, small_rows(), run.directory, "mixed", 1)

    return described


def test_the_json_has_the_scale_of_the_label_and_the_towers(described):
    card = described()
    finish, seconds, _ = card.tasks
    assert (finish.kind, finish.positive, finish.value, finish.mean) == ("binary", "finish is 1", None, None)
    assert (seconds.kind, seconds.positive) == ("regression", None)
    assert seconds.value == "play_time, asked of rows that are positive in finish"
    assert (seconds.mean, seconds.deviation) == (LABEL.mean, LABEL.deviation)
    assert card.mutual == {"features": "ctfm", "distillation": "gkd"}
    assert card.data.splits["train"].label_means == {"seconds": 21437.5}
    assert card.test is not None
    assert card.test.tasks["seconds"] == SUMMARY["tasks"]["seconds"] | {"mean_label": 20000.25, "mean_prediction": 19000.75}


def test_the_page_tells_values_from_probabilities(described):
    text = page(described())
    value = "play_time, asked of rows that are positive in finish; mean 21,438, deviation 30,112 in the training split"
    for line in (
        "Probabilities of `finish`, `like` and values of `seconds` from raw features; there is no fused score.",
        "| mutual towers | features by ctfm, distillation by gkd |",
        "| finish | binary | positive where finish is 1 |",
        f"| seconds | regression | {value} |",
        "| split | rows | positive rate of finish | mean of seconds | positive rate of like |",
        "| train | 100 | 0.3600 | 21,438 | 0.1000 |",
        "| task | rows | AUC | Multi-AUC | log loss | normalised entropy | ECE | positive rate | mean prediction |",
        "| finish | 90 | 0.7123 | 0.7000 | 0.5000 | 0.9000 | 0.0100 | 0.3000 | 0.3100 |",
        "| task | rows | MSE | RMSE | MAE | R² | mean label | mean prediction |",
        "| seconds | 80 | 750,000,000 | 27,386 | 15,000 | -0.0123 | 20,000 | 19,001 |",
        "| auc | 0.7100 |",
        "| seconds_mse | 740,000,000 |",
    ):
        assert f"\n{line}\n" in text


def test_weak_places_of_values_are_told(described):
    sentences = described().limitations
    assert (
        "A value of seconds has no bounds, and may leave the range of its labels in the training split, 0 to 937,123."
        in sentences
    )
    (worse,) = [text for text in sentences if "R²" in text]
    assert worse.startswith("The R² of seconds is -0.0123: its values are worse than the same one, the label's mean, ")
    assert not any("entropy" in text or "No row" in text for text in sentences)
    unknown = {"rows": 0, "mse": None, "rmse": None, "mae": None, "r2": None}
    without = SUMMARY | {"tasks": SUMMARY["tasks"] | {"seconds": unknown}}
    told = described(without, {task: MEANS[task] for task in ("finish", "like")}).limitations
    assert "No row of the test split has a label of seconds." in told
    assert not any("R²" in text for text in told)
