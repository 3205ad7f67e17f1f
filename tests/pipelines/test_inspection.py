# SPDX-License-Identifier: Apache-2.0
"""What a person is shown about a prepared data set."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.inspection import show_prepared, warnings, wide_console
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


def test_a_published_run_is_held_to_the_bound_of_today(data: PreparedData, experiment: Callable[..., Experiment]) -> None:
    logs = [file.path for file in data.metadata.inputs]
    config = Experiment.model_validate(data.metadata.config)
    with pytest.raises(CrossDistilError, match=r"has 1 bad rows of 106 \(0.94%, at most 0.10% may be\)"):
        prepare(config, logs, data.directory.parent, max_bad_fraction=0.001, quiet=True)
    assert prepare(config, logs, data.directory.parent, max_bad_fraction=0.1, quiet=True) == data


def test_columns_without_a_value_are_told(data: PreparedData) -> None:
    training = data.metadata.rates["train"].model_copy(update={"missing": {"age": 1.0, "city": 0.99, "user": 0.0}})
    found = warnings(data.metadata.model_copy(update={"rates": {"train": training}}))
    assert [warning for warning in found if "no value" in warning] == ["'age' has no value in the training split"]


def test_logs_show_tables_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert wide_console().width == 200


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


def test_missing_and_oov_rates(shown: str) -> None:
    missing, oov = shown.split("missing values")[1].split("values out of vocabulary")
    assert lines_with(missing, "%") == [["", "age", "4.76%", ""]], "what is always there is not listed"
    assert ["", "user", "0.00%", ""] in lines_with(oov.split("vocabularies")[0], "user")
    assert not lines_with(oov.split("vocabularies")[0], "age")


def show(data: PreparedData, **changes: Any) -> str:
    text = io.StringIO()
    show_prepared(replace(data, metadata=data.metadata.model_copy(update=changes)), Console(file=text, width=160))
    return text.getvalue()


def test_truncated_rows_boundaries_and_kept_warnings(data: PreparedData) -> None:
    numeric = {
        "few": data.metadata.numeric["age"].model_copy(update={"boundaries": [1.0, 2.5]}),
        "many": data.metadata.numeric["age"].model_copy(update={"boundaries": [float(n) for n in range(31)]}),
        "none": data.metadata.numeric["age"],
    }
    text = show(data, truncated={"user": 1234}, numeric=numeric, warnings=["the [rate] of x is odd"])
    assert ["", "user", "", "1,234", ""] in lines_with(text, "user")
    assert [line[-2] for line in lines_with(text, "1.22474")] == ["1 2.5", "0 1 2 ... 28 29 30", ""]
    assert "warning: the [rate] of x is odd" in text.splitlines()


def test_twenty_tasks_stay_readable(data: PreparedData) -> None:
    tags = {format(code * 7919 % 2**20, "020b"): 1000 - code for code in range(900)}
    tasks = [{"name": f"t{number}"} for number in range(20)]
    text = show(data, config={"tasks": tasks}, counts={"train": tags, "validation": {}, "test": {}})
    assert len(text.splitlines()) < 70
    assert "1,047,676 of the 1,048,576 label combinations" in text
    total = sum(tags.values())
    assert ["", "tag=" + "0" * 20, "1,000", "0", "0", ""] in lines_with(text, "tag=")
    assert ["", "892 others", f"{total - sum(range(993, 1001)):,}", "0", "0", ""] in lines_with(text, "others")
    assert ["", "all", f"{total:,}", "0", "0", ""] in lines_with(text, "all")


def test_an_increment_without_training_rows_needs_no_strata(data: PreparedData) -> None:
    counts = {"train": {}, "validation": {}, "test": {"00": 5}}
    assert "stratum" in show(data, counts=counts)
    assert "stratum" not in show(data, counts=counts, vocabulary_from="0")


@pytest.mark.parametrize("config", [{}, {"tasks": None}, {"tasks": ["finish"]}, {"tasks": [{"column": "finish"}]}])
def test_a_damaged_configuration_is_one_sentence(data: PreparedData, config: dict[str, Any]) -> None:
    damaged = replace(data, metadata=data.metadata.model_copy(update={"config": config}))
    with pytest.raises(CrossDistilError, match=r"metadata\.json of run \w+ is damaged: config\.tasks.*; make it again"):
        show_prepared(damaged, Console(quiet=True))
