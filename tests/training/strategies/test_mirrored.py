# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.strategies import mirrored_steps
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.backbones.routing import RoutedExperts
from tf_crossdistil.config_file import load_config
from tf_crossdistil.training.strategies.registry import find_strategy

ROOT = Path(__file__).parents[3]
DEFAULT = "shared_bottom"
# Both sum the same numbers in another order.
TOLERANCE = 5e-6


def run_mirrored(config: Path, data: Path, backbones: list[str]) -> dict:
    command = [sys.executable, "-m", mirrored_steps.__name__, str(config), str(data), ",".join(backbones)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def default(config_file, prepared):
    return run_mirrored(config_file, prepared.directory.parent, [DEFAULT])


def check(result: dict) -> None:
    assert max(result["far"].values()) < TOLERANCE, result["far"]
    assert result["steps"] == list(range(mirrored_steps.FIRST_STEP + 1, 21))


def test_two_devices_train_as_one(default):
    assert default["devices"] == 2
    check(default["backbones"][DEFAULT])


def test_batches_that_replicas_cannot_divide(default):
    rows, draws = default["refused"]
    assert rows == "training.batch_size must be a multiple of 2, since 2 replicas share a batch; received 145"
    assert draws == "training.strata_batch_size must be a multiple of 16, since 2 replicas share a batch; received 24"


@pytest.mark.slow
def test_two_devices_train_as_one_with_every_backbone(config_file, prepared):
    # Each replica draws gates of its own; tests/backbones/test_routing.py compares such backbones without the draws.
    others = [name for name, backbone in BACKBONES.items() if name != DEFAULT and not issubclass(backbone, RoutedExperts)]
    results = run_mirrored(config_file, prepared.directory.parent, others)["backbones"]
    assert list(results) == others
    for result in results.values():
        check(result)


def test_one_device_warns(config_file, caplog):
    strategy = find_strategy(load_config(config_file, ["training.strategy=mirrored"]))
    assert strategy.replicas == 1
    assert "mirrored finds only one device" in caplog.text
