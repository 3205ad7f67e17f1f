"""Small configurations and logs that several tests prepare."""

from collections.abc import Callable
from typing import Any

import pytest

from tf_crossdistil.config import Experiment, parse_config

TASKS = [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}]
FEATURES = [{"name": "user", "kind": "categorical"}]


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """Makes a configuration out of sections; those not given are the smallest that are valid."""

    def make(**sections: Any) -> Experiment:
        defaults = {"name": "small", "tasks": TASKS, "features": FEATURES, "split": {"by": "hash", "key": ["user"]}}
        return parse_config({**defaults, **sections}, "test")

    return make
