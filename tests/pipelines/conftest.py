# SPDX-License-Identifier: Apache-2.0
"""Small configurations and logs that several tests prepare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import parse_config

TASKS = [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}]
FEATURES = [{"name": "user", "kind": "categorical"}]


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """Makes a configuration out of sections; those not given are the smallest that are valid."""

    def make(**sections: Any) -> Experiment:
        defaults = {"name": "small", "tasks": TASKS, "features": FEATURES, "split": {"by": "hash", "key": ["user"]}}
        return parse_config({**defaults, **sections}, "test")

    return make


@pytest.fixture
def write_config(tmp_path: Path, experiment: Callable[..., Experiment]) -> Callable[[dict | None], Path]:
    def write(sections: dict | None) -> Path:
        path = tmp_path / "config.yaml"
        keep = {"name", "tasks", "features", "split", "source"}
        path.write_text(yaml.safe_dump({**experiment().model_dump(mode="json", include=keep), **(sections or {})}))
        return path

    return write
