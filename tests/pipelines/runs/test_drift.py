# SPDX-License-Identifier: Apache-2.0
"""Rates held to those of earlier runs."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.preprocess import prepare
from pipelines.runs.drift import Rate, drift_warnings, extra_column_warnings
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import Metadata, PreparedData, SplitRates

Prepare = Callable[..., PreparedData]


def metadata(rows: int, positive: float, missing: float = 0.0, oov: float = 0.0, split: str = "train") -> Metadata:
    rates = {split: SplitRates(positive={"like": positive}, missing={"user": missing}, oov={"user": oov})}
    nothing: dict[str, Any] = {"dead_letters": {}, "config": {}, "vocabularies": {}, "numeric": {}, "inputs": []}
    known = {"name": "x", "run": "before", "package_version": "1", "schema_hash": "0", "rows_in": rows, "rows_out": rows}
    return Metadata.model_validate({**nothing, **known, "counts": {split: {"0": rows}}, "rates": rates})


@pytest.mark.parametrize(
    "before, now, bound, drifted",
    [
        (0.10, 0.13, 0.2, True),
        (0.13, 0.10, 0.2, True),
        (0.10, 0.12, 0.2, False),  # a sixth of the larger
        (0.10, 0.12, 0.1, True),
        (0.10, 0.10, 0.0, False),
        (0.0010, 0.0015, 0.2, False),  # too small a difference to matter
        (0.0, 0.5, 1.0, False),
        (0.0, 0.5, 0.99, True),
    ],
)
def test_bound_is_relative_to_the_larger_rate(before: float, now: float, bound: float, drifted: bool) -> None:
    assert bool(drift_warnings(metadata(10**6, before), metadata(10**6, now), bound)) == drifted


def test_chance_is_no_drift() -> None:
    """Of 200 rows, 20 and 40 positive: 3.0 standard errors of the pooled rate apart; of 2000, 9.5."""
    assert not drift_warnings(metadata(200, 0.1), metadata(200, 0.2), 0.2)
    assert drift_warnings(metadata(2000, 0.1), metadata(2000, 0.2), 0.2)


def test_only_rows_with_the_label_tell_of_a_positive_rate() -> None:
    """A tenth of 2000 rows have it: as few as in the test above."""
    before, now = (metadata(2000, positive) for positive in (0.1, 0.2))
    for day in (before, now):
        day.rates["train"].labelled["like"] = 0.1
    assert not drift_warnings(before, now, 0.2)


def test_only_rows_with_a_value_tell_of_an_oov_rate() -> None:
    def warned(missing: float) -> list[str]:
        return drift_warnings(metadata(2000, 0.5, missing, oov=0.1), metadata(2000, 0.5, missing, oov=0.2), 0.2)

    assert warned(missing=0.9) == []
    assert len(warned(missing=0.0)) == 1


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**7), st.integers(1, 10**7), st.floats(0, 1))
def test_order_does_not_matter_and_a_wider_bound_warns_less(a: float, b: float, n: int, m: int, bound: float) -> None:
    first, second = Rate(a, n), Rate(b, m)
    assert first.differs(second, bound) == second.differs(first, bound)
    assert first.differs(second, bound) <= first.differs(second, bound / 2)
    assert not first.differs(first, bound)


def labels(mean: float, deviation: float, rows: int = 10**6) -> Metadata:
    made = metadata(rows, 0.5)
    rates = made.rates["train"].model_copy(
        update={"mean": {"stars": mean}, "deviation": {"stars": deviation}, "labelled": {"stars": 0.5}}
    )
    return made.model_copy(update={"rates": {"train": rates}})


@pytest.mark.parametrize(
    "before, now, drifted",
    [
        ((3.5, 1.0), (3.75, 1.0), ["mean"]),
        ((3.5, 1.0), (3.65, 1.0), []),  # less than a fifth of the deviation
        ((3500.0, 1.0), (3500.25, 1.0), ["mean"]),  # wherever the labels lie
        ((0.0035, 0.001), (0.00375, 0.001), ["mean"]),  # in whatever unit
        ((3.5, 1.0), (3.5, 1.3), ["deviation"]),
        ((3.5, 1.0), (3.5, 1.2), []),
        ((-2.0, 1.0), (2.0, 4.0), ["mean", "deviation"]),
        ((4.0, 0.0), (4.0, 1.0), ["deviation"]),
        ((4.0, 0.0), (5.0, 0.0), ["mean"]),
        ((0.1, 0.0), (0.1 + 2**-55, 1e-17), []),  # the same label in all rows, but for rounding
    ],
)
def test_labels_drift_by_a_share_of_their_deviation(
    before: tuple[float, float], now: tuple[float, float], drifted: list[str]
) -> None:
    for first, second in ((before, now), (now, before)):
        warnings = drift_warnings(labels(*first), labels(*second), 0.2)
        assert [next(word for word in ("mean", "deviation") if word in warning) for warning in warnings] == drifted


def test_labels_of_few_rows_move_by_chance() -> None:
    """Of 50 labelled rows on either side a mean errs by 0.2 deviations, of 5000 by 0.02."""
    for moved in ((0.5, 1.0), (0.0, 1.4)):
        assert not drift_warnings(labels(0.0, 1.0, 100), labels(*moved, 100), 0.2)
        assert drift_warnings(labels(0.0, 1.0, 10_000), labels(*moved, 10_000), 0.2)


def test_chance_alone_hardly_ever_warns() -> None:
    """Of samples of one distribution, which four standard errors cover but for one in 16,000."""
    draws = np.random.default_rng(0).normal(3.0, 2.0, (400, 60))
    days = [labels(float(day.mean()), float(day.std()), 120) for day in draws]
    assert not [warning for first, second in pairwise(days) for warning in drift_warnings(first, second, 0.0)]
    moved = [labels(float(day.mean()) + 3, float(day.std()), 120) for day in draws]
    wider = [labels(float(day.mean()), 2 * float(day.std()), 120) for day in draws]
    for others in (moved, wider):
        assert all(len(drift_warnings(first, second, 0.0)) == 1 for first, second in zip(days, others, strict=True))


def test_warnings_of_labels_name_split_and_both_values() -> None:
    assert drift_warnings(labels(3.0, 1.0), labels(4.123456789, 2.0), 0.2) == [
        "the mean label of task 'stars' of the train split is 4.12346, but was 3 in run before",
        "the label's deviation of task 'stars' of the train split is 2, but was 1 in run before",
    ]


def test_warnings_name_rate_split_and_both_values() -> None:
    now = metadata(10**5, 0.30, missing=0.2, oov=0.1)
    assert drift_warnings(metadata(10**5, 0.20, missing=0.1, oov=0.3), now, 0.2) == [
        "the positive rate of task 'like' of the train split is 30.00%, but was 20.00% in run before",
        "the missing rate of 'user' of the train split is 20.00%, but was 10.00% in run before",
        "the out-of-vocabulary rate of 'user' of the train split is 10.00%, but was 30.00% in run before",
    ]
    assert drift_warnings(metadata(10**5, 0.5, split="test"), now, 0.2) == []


def test_values_that_are_all_missing_are_not_compared() -> None:
    assert drift_warnings(metadata(10**5, 0.2, missing=1.0, oov=0.5), metadata(10**5, 0.2, missing=1.0, oov=0.1), 0.2) == []


def test_one_sentence_for_each_set_of_extra_columns() -> None:
    extra = {"a.csv": ["x", "y"], "b.csv": ["y", "x"], "c.csv": ["z"], "d.csv": [f"c{number:02}" for number in range(13)]}
    sentences = extra_column_warnings(extra)
    assert sentences[:2] == [
        "'x', 'y' of a.csv and 1 more are columns that the configuration does not read",
        "'z' of c.csv is a column that the configuration does not read",
    ]
    assert len(sentences) == 3 and "'c09' and 3 more of d.csv are columns" in sentences[2] and "c10" not in sentences[2]


FEATURES = [{"name": "user", "kind": "categorical"}, {"name": "age", "kind": "numeric", "transform": "standardize"}]
TIME = {"by": "time", "column": "at", "boundaries": [100, 200]}


@pytest.fixture
def prepare_rows(experiment: Callable[..., Experiment], tmp_path: Path) -> Prepare:
    def make(name: str, rows: list[tuple[Any, ...]], output: str = "output", **options: Any) -> PreparedData:
        content = "\n".join(["at,user,age,finish,like", *(",".join(map(str, row)) for row in rows)])
        # A file that is written again is another input.
        if not (logs := tmp_path / name).exists() or logs.read_text() != content:
            logs.write_text(content)
        sections = {"features": FEATURES, "split": TIME, **options.pop("sections", {})}
        return prepare(experiment(**sections), [str(logs)], tmp_path / output, **options)

    return make


BUILD = [(row % 250, f"u{row % 10}", "" if row % 4 == 0 else row % 7, row % 2, int(row % 3 == 0)) for row in range(1000)]


def test_drift_against_the_previous_run_is_printed_and_kept(
    prepare_rows: Prepare, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = prepare_rows("monday.csv", BUILD)
    assert (first.metadata.compared_with, first.metadata.warnings) == (None, [])
    capsys.readouterr()
    tuesday = [(at, user, "" if row % 2 == 0 else age, finish, like) for row, (at, user, age, finish, like) in enumerate(BUILD)]
    second = prepare_rows("tuesday.csv", tuesday)
    assert second.metadata.compared_with == first.metadata.run
    expected = "the missing rate of 'age' of the train split is 50.00%, but was 25.00% in run " + first.metadata.run
    assert [warning for warning in second.metadata.warnings if "train" in warning] == [expected]
    assert f"warning: {expected}" in capsys.readouterr().err
    assert json.loads((second.directory / "metadata.json").read_text())["warnings"] == second.metadata.warnings
    third = prepare_rows("wednesday.csv", tuesday, drift_bound=1.0)
    assert (third.metadata.compared_with, third.metadata.warnings) == (second.metadata.run, [])
    assert prepare_rows("thursday.csv", BUILD, drift_bound=0.6).metadata.warnings == []


def test_other_features_are_not_compared(prepare_rows: Prepare) -> None:
    prepare_rows("monday.csv", BUILD)
    rows = [(at, user, "", finish, like) for at, user, _, finish, like in BUILD]
    data = prepare_rows("tuesday.csv", rows, sections={"features": FEATURES[:1]})
    assert data.metadata.compared_with is None
    assert [warning for warning in data.metadata.warnings if "rate" in warning] == []


@pytest.mark.parametrize("damage", ["{", None], ids=["damaged", "missing"])
def test_an_unreadable_previous_run_is_a_warning(prepare_rows: Prepare, damage: str | None) -> None:
    first = prepare_rows("monday.csv", BUILD)
    path = first.directory / "metadata.json"
    path.unlink() if damage is None else path.write_text(damage)
    data = prepare_rows("tuesday.csv", BUILD)
    assert data.metadata.compared_with is None
    assert [str(path) in warning and warning.startswith("nothing was compared") for warning in data.metadata.warnings] == [True]


def test_extra_columns_warn(prepare_rows: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    data = prepare_rows("monday.csv", BUILD, sections={"features": FEATURES[:1]})
    assert [warning.split(" of ")[0] for warning in data.metadata.warnings] == ["'age'"]
    assert "is a column that the configuration does not read" in capsys.readouterr().err


def test_a_frozen_vocabulary_serves_an_increment_and_tells_what_it_misses(
    prepare_rows: Prepare, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    build = prepare_rows("monday.csv", BUILD, "build")
    capsys.readouterr()
    # All of it is after the boundaries; a tenth of its users are new, half of the ages are missing.
    tomorrow = [
        (300, "new" if row % 10 == 0 else f"u{row % 10}", "" if row % 2 else 1000, row % 2, int(row % 3 == 0))
        for row in range(1000)
    ]
    data = prepare_rows("tomorrow.csv", tomorrow, "tomorrow", vocabulary_from=tmp_path / "build")
    for kept in ("vocabularies", "numeric"):
        assert getattr(data.metadata, kept) == getattr(build.metadata, kept)
    assert data.vocabulary_file("user").read_bytes() == build.vocabulary_file("user").read_bytes()
    assert data.metadata.vocabulary_from == build.metadata.run
    assert data.metadata.counts["train"] == {} and data.rows("test") == 1000
    assert data.metadata.rates["test"].oov == {"user": 0.1}
    assert data.metadata.rates["test"].missing == {"user": 0.0, "age": 0.5}
    warning = (
        f"10.00% of the values of 'user' in the test split are out of the vocabulary of run {build.metadata.run}, but only "
        "0.00% of its own test split were; a full build may be due"
    )
    assert data.metadata.warnings == [warning]
    printed = capsys.readouterr().err
    assert f"unseen rows of run {build.metadata.run}" in printed and "stratum" not in printed
    assert ["user", "0.00%", "10.00%"] in [line.replace("│", " ").split() for line in printed.splitlines()]
    again = prepare_rows("tomorrow.csv", tomorrow, "tomorrow", vocabulary_from=str(build.directory))
    assert again == data, "the run itself is the same as the data set whose newest it is"
    other = prepare_rows("tomorrow.csv", BUILD, "tomorrow")
    assert other.metadata.run != data.metadata.run and other.metadata.vocabulary_from is None


def test_what_a_vocabulary_cannot_be_taken_from_is_wrong_use(prepare_rows: Prepare, tmp_path: Path) -> None:
    build = prepare_rows("monday.csv", BUILD, "build", quiet=True)
    with pytest.raises(UsageError, match=r"--vocabulary-from .*nowhere cannot be used: .*nowhere is no directory"):
        prepare_rows("monday.csv", BUILD, vocabulary_from=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"monday\.csv is no directory"):
        prepare_rows("monday.csv", BUILD, vocabulary_from=tmp_path / "monday.csv")
    with pytest.raises(UsageError, match="other tasks or features"):
        prepare_rows("monday.csv", BUILD, vocabulary_from=tmp_path / "build", sections={"features": FEATURES[:1]})
    (build.directory / "_SUCCESS").unlink()
    with pytest.raises(UsageError, match="has no _SUCCESS"):
        prepare_rows("monday.csv", BUILD, vocabulary_from=build.directory)
    assert not (tmp_path / "output").exists()
