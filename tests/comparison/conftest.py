# SPDX-License-Identifier: Apache-2.0
"""Comparisons whose cells are trained by a stand-in."""

import pytest

from tests.comparison.fake_training import SMALL, FakeRun
from tf_crossdistil.comparison.compare import compare
from tf_crossdistil.comparison.settings import grid


@pytest.fixture
def fake(monkeypatch):
    return FakeRun(monkeypatch)


@pytest.fixture
def run(config_file, prepared, tmp_path, quiet_console):
    def run(methods, seeds, tune=(), split="test", overrides=SMALL, console=quiet_console, out="out", baseline=None, **further):
        settings = grid(config_file, overrides, list(tune))
        return compare(settings, methods, seeds, prepared, tmp_path / out, split, console, baseline, **further)

    return run
