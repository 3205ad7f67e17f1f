# SPDX-License-Identifier: Apache-2.0
"""Which runners may be named, and how ranges are dealt to their workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.graph.job import dealing_order
from pipelines.runners.local import checked_runner
from pipelines.sources.blocks import InputRange
from tf_crossdistil.errors import UsageError


@pytest.mark.parametrize("name", ["DaskRunner", "apache_beam.runners.dask.dask_runner.DaskRunner"])
def test_a_runner_that_loses_data_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"DaskRunner cannot be used: .* data would be lost; leave --runner out"):
        checked_runner(name)


@given(weights=st.lists(st.floats(0, 1e9), max_size=40), workers=st.integers(1, 8))
def test_every_range_is_dealt_once_and_workers_end_together(weights: list[float], workers: int) -> None:
    ranges = [InputRange(index, "logs.csv", 0, None, weight) for index, weight in enumerate(weights)]
    dealt = dealing_order(ranges, workers)
    assert sorted(part.index for part in dealt) == list(range(len(ranges)))
    loads = [sum(part.weight for part in dealt[worker::workers]) for worker in range(workers)]
    assert max(loads) - min(loads) <= max(weights, default=0) * (1 + 1e-9)
