# SPDX-License-Identifier: Apache-2.0
"""What all tests of load tests share."""

import pytest


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting the garbage of a test process with TensorFlow takes most of a second, before every load test."""
    monkeypatch.setattr("gc.collect", lambda: 0)
