# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md: its examples, put into one module as the page says, train, evaluate and export."""

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from pipelines.preprocess import prepare
from tests.conftest import CONTENT, request_rows
from tests.export.asking import load_signature
from tf_crossdistil.config import NumericFeature
from tf_crossdistil.config_file import load_config
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.evaluation.evaluate import evaluate
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.publish import export
from tf_crossdistil.models.ranking_network import EVERY_TASK
from tf_crossdistil.schema import NumericStatistics
from tf_crossdistil.training.trainer import train

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
MODULE = "my_crossdistil"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The page's examples as the module that its configuration names."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text("\n\n".join(blocks("python")), encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    yield import_module(MODULE)
    sys.modules.pop(MODULE, None)


def test_the_four_examples_train_evaluate_and_export_together(tmp_path, monkeypatch, module, raw_rows, quiet_console):
    (shown,) = map(yaml.safe_load, blocks("yaml"))
    features = [feature | {"column": column} for feature, column in zip(shown["features"], ["user", "duration"], strict=True)]
    training = CONTENT["training"] | shown["training"] | {"epochs": 1}
    config = tmp_path / "clips.yaml"
    config.write_text(yaml.safe_dump({**CONTENT, **shown, "features": features, "training": training, "evaluation": {}}))
    experiment = load_config(config)
    data = prepare(experiment, [str(raw_rows[0])], tmp_path / "prepared", quiet=True)
    run = train(experiment, data, tmp_path / "run", quiet_console)

    model = run.load_best()
    assert isinstance(model.network.backbone, module.GatedBottom)
    assert isinstance(model.network.encoders[EVERY_TASK].encoders["duration_ms"], module.Hinges)
    assert isinstance(model.calibration.calibrator, module.BetaCalibration)
    # An untrained focal loss is a quarter of the cross entropy, ln 2.
    share = 1 - experiment.distillation.alpha
    assert run.history()[0]["loss/finish"] < 1.2 * share * np.log(2) / 4

    summary = evaluate(run, data, "test").summary
    assert all(0 < summary[part][task]["auc"] < 1 for part in ("tasks", "teachers") for task in experiment.task_names)

    rows = request_rows(experiment, raw_rows[1][:30])
    expected = live_answers(run, rows)
    directory = export(run, tmp_path / "served" / "clips").directory
    sys.modules.pop(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, None)  # What is exported does not need the module.
    served = load_signature(directory)(**raw_columns(experiment, rows))
    for task in experiment.task_names:
        np.testing.assert_allclose(served[task], expected[task], rtol=1e-5)


def test_the_loss_is_its_equation(module):
    labels, logits = np.array([1, 1, 0, 0], np.float32), np.array([2.0, -1.5, 0.3, -4.0])
    right = np.where(labels == 1, 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits)))
    received = module.focal_loss(tf.constant(labels), tf.constant(logits, tf.float32))
    np.testing.assert_allclose(received, -((1 - right) ** 2) * np.log(right), rtol=1e-5)


def test_the_calibrator_starts_at_the_positive_rate_and_keeps_the_order(module):
    rates = [0.5, 0.02]
    calibrator = module.BetaCalibration(rates)
    np.testing.assert_allclose(tf.sigmoid(calibrator(tf.zeros([1, 2])))[0], rates, rtol=1e-5)
    calibrator.free_slopes.assign([[-2.0, 3.0], [0.5, -4.0]])
    logits = np.linspace(-6, 6, 50)
    outputs = calibrator(tf.constant(np.stack([logits, logits], 1), tf.float32)).numpy()
    assert np.all(np.diff(outputs, axis=0) > 0)
    p, (above, below) = 1 / (1 + np.exp(-logits)), np.log1p(np.exp([-2.0, 0.5]))
    np.testing.assert_allclose(outputs[:, 0], above * np.log(p) - below * np.log(1 - p), atol=1e-4)


def test_the_transform_is_its_equation(module):
    statistics = NumericStatistics(count=9, missing=0, mean=3, deviation=2.5, minimum=-1, maximum=9)
    layer = module.Hinges(NumericFeature(name="x", kind="numeric", transform=f"{MODULE}:Hinges"), statistics)
    numbers = np.array([-5.0, -1.0, 0.9, 1.1, 12.0])
    expected = np.maximum(numbers[:, None] - np.array([-1, 1, 3, 5, 7]), 0) / 2.5
    np.testing.assert_allclose(layer(tf.constant(numbers, tf.float32)), expected, atol=1e-6)


def test_the_files_that_a_new_kind_touches_exist():
    table = PAGE[PAGE.index("### A new kind") :]
    named = re.findall(r"`((?:tf_crossdistil|pipelines|docs|tests)/[\w/.]+)`", table)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).is_file()] == []
