"""What a person is shown about a prepared data set."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.inspection import show_prepared
from pipelines.preprocess import prepare
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData


@pytest.fixture(scope="module")
def data(experiment: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder: Path = tmp_path_factory.mktemp("inspection")
    rows = ["1,1,5"] * 40 + ["0,0,7.5"] * 60 + ["1,0,"] * 5 + ["2,0,1"]
    (folder / "logs.csv").write_text("user,finish,like,age\n" + "".join(f"u{n % 9},{row}\n" for n, row in enumerate(rows)))
    config = experiment(
        name="watch",
        features=[{"name": "user", "kind": "categorical"}, {"name": "age", "kind": "numeric"}],
        split={"by": "hash", "key": ["user"], "fractions": [1, 0, 0]},
    )
    return prepare(config, [f"{folder}/logs.csv"], folder / "prepared", max_bad_fraction=0.1, quiet=True)


@pytest.fixture(scope="module")
def shown(data: PreparedData) -> str:
    text = io.StringIO()
    show_prepared(data, Console(file=text, width=120))
    return text.getvalue()


def lines_with(text: str, word: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if word in line]


def test_counts_rates_and_statistics(shown: str) -> None:
    assert "watch: 105 of 106 rows from 1 file" in shown
    assert ["", "train", "105", "60", "5", "40", ""] in lines_with(shown, "train")
    assert ["", "train", "42.86%", "38.10%", ""] in lines_with(shown, "train")
    assert ["", "user", "9", "11", ""] in lines_with(shown, "user")
    assert ["", "age", "100", "5", "6.5", "1.22474", "5", "7.5", ""] in lines_with(shown, "age")
    assert ["", "label_not_binary", "1", ""] in lines_with(shown, "label_not_binary")


def test_warnings_name_thin_strata_and_empty_splits(shown: str) -> None:
    warnings = [line for line in shown.splitlines() if line.startswith("warning:")]
    assert [next(word for word in line.split() if word.startswith("tag=")) for line in warnings if "stratum" in line] == [
        "tag=01",
        "tag=10",
    ]
    assert "has no training row" in warnings[0] and "has only 5 training rows" in warnings[1]
    assert warnings[2:] == ["warning: the validation split has no row", "warning: the test split has no row"]


@pytest.mark.parametrize("config", [{}, {"tasks": None}, {"tasks": ["finish"]}, {"tasks": [{"column": "finish"}]}])
def test_a_damaged_configuration_is_one_sentence(data: PreparedData, config: dict[str, Any]) -> None:
    damaged = replace(data, metadata=data.metadata.model_copy(update={"config": config}))
    with pytest.raises(CrossDistilError, match=r"metadata\.json of run \w+ is damaged: config\.tasks.*; make it again"):
        show_prepared(damaged, Console(quiet=True))
