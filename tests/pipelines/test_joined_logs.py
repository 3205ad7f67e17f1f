# SPDX-License-Identifier: Apache-2.0
"""Logs that are joined with a table, through a whole run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError


def test_rows_that_a_table_lacks_are_told_and_another_table_is_another_run(
    experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    (tmp_path / "logs.csv").write_text("user,finish,like\n" + "".join(f"u{n % 8},{n % 2},{n // 2 % 2}\n" for n in range(400)))
    table = tmp_path / "users.csv"
    table.write_text("user,age\n" + "".join(f"u{n},{n}\n" for n in range(6)))
    config = experiment(
        features=[{"name": "user", "kind": "categorical"}, {"name": "age", "kind": "numeric"}],
        source={"joins": [{"file": "users.csv", "key": "user", "columns": ["user", "age"]}]},
    )
    first = prepare(config, [f"{tmp_path}/logs.csv"], tmp_path / "out", quiet=True)
    assert first.metadata.warnings == [
        f"100 of 400 rows (25.00%) have no row in {table}; its columns are missing there",
    ]
    assert [Path(file.path).name for file in first.metadata.inputs] == ["logs.csv"]
    assert prepare(config, [f"{tmp_path}/logs.csv"], tmp_path / "out", quiet=True) == first
    table.write_text("user,age\n" + "".join(f"u{n},{n}\n" for n in range(8)))
    second = prepare(config, [f"{tmp_path}/logs.csv"], tmp_path / "out", quiet=True)
    assert second.metadata.run != first.metadata.run
    assert not [warning for warning in second.metadata.warnings if "no row in" in warning]
    table.write_text("user,age\nU0,0\n")
    with pytest.raises(CrossDistilError, match=f"no row of the logs, 400 in all, has its key in the table {table}"):
        prepare(config, [f"{tmp_path}/logs.csv"], tmp_path / "out", quiet=True)
