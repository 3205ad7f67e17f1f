# SPDX-License-Identifier: Apache-2.0
"""docs/study.md shows what `make study` wrote: its tables are those files, and they follow from the results of every cell."""

import json
import re

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from tests.study_page import DOCS, KEPT, PAGE, kept_numbers, prose, tables_in, with_tables

TEXT = PAGE.read_text(encoding="utf-8")
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((KEPT / "results.json").read_text())


def test_tables_are_those_of_the_command():
    assert {"results", "ablations", "costs"} <= set(tables_in(TEXT))
    assert with_tables(TEXT, KEPT) == TEXT


def test_every_figure_is_shown():
    shown = re.findall(r"!\[[^\]]+\]\(study/figures/([\w-]+\.svg)\)", TEXT)
    assert sorted(shown) == sorted(path.name for path in (KEPT / "figures").iterdir())


@pytest.mark.parametrize("text", [prose(TEXT), README.partition("## Results")[2]], ids=["study", "README"])
def test_numbers_in_sentences_are_those_of_the_tables(text):
    numbers = re.findall(r"(?<![\d.])\d\.\d{4}(?!\d)", text.partition("\n## Speed")[0])
    assert numbers
    assert [number for number in numbers if number not in kept_numbers(KEPT)] == []


def values(method, role, task, metric):
    found = [result for result in RESULTS if result["method"] == method]
    return np.array([result[{"students": "tasks", "teachers": "teachers"}[role]][task][metric] for result in found])


@pytest.mark.parametrize("name", ["results", "ablations"])
def test_tables_follow_from_the_results_of_every_cell(name):
    table = json.loads((KEPT / "tables" / f"{name}.json").read_text())
    assert len(table["rows"]) >= 20
    for row in table["rows"]:
        place = (row["task"], row["metric"])
        if row["mean"] is None:
            continue
        own = values(row["method"], row["role"], *place)
        assert [row["mean"], row["deviation"]] == pytest.approx([own.mean(), own.std(ddof=1)])
        if row["difference"] is not None:
            reference = values(table["reference"], "students", *place)
            assert row["difference"] == pytest.approx((own - reference).mean())
            assert row["p_value"] == pytest.approx(stats.ttest_rel(own, reference).pvalue)


def test_readmes_cost_is_that_of_the_study():
    costs = json.loads((KEPT / "costs.json").read_text())
    own, plain = costs["crossdistil"], costs["ple"]
    ratio = own["step_milliseconds"] / plain["step_milliseconds"]
    flowing = " ".join(README.split())
    assert f"{ratio:.2f} times the step of plain PLE" in flowing
    assert f"({own['step_milliseconds']:.1f} and {plain['step_milliseconds']:.1f} ms" in flowing
    assert own["served_parameters"] == plain["served_parameters"]
