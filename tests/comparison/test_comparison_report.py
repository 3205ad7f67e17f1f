# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison, read without a browser."""

import re
from dataclasses import dataclass, field, replace

import pytest

from tests.comparison.fake_comparison import make_comparison, make_failure, make_sweep
from tests.evaluation.html_page import Page
from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.comparison_report import write_comparison_report
from tf_crossdistil.comparison.html_table import html_table
from tf_crossdistil.comparison.printed_table import PrintedCell, PrintedColumn, PrintedTable, Table
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.errors import CrossDistilError


@dataclass(frozen=True)
class Given(Table):
    """A table of given cells."""

    cells: list[list[PrintedCell]]
    groups: tuple[str, ...] = ("", "")
    name: str = "results"
    title: str = "A table"
    reference: str = "single"
    notes: list[str] = field(default_factory=lambda: ["One seed."])

    def printed(self):
        names = ["single", "kd_same_task+gkd"]
        columns = [PrintedColumn(group, f"Metric {number}") for number, group in enumerate(self.groups)]
        return PrintedTable("Method", columns, list(zip(names, self.cells, strict=False)))

    def records(self):
        raise NotImplementedError


def written(tmp_path, comparison, tables=None, facts=None):
    figures = Figures.of(comparison)
    path = tmp_path / "out" / "report.html"
    write_comparison_report(path, figures, study_tables(figures) if tables is None else tables, facts or {})
    assert list(path.parent.iterdir()) == [path]
    return path.read_text(encoding="utf-8")


def small(**changes):
    """A comparison whose page is drawn fast."""
    return make_comparison(["single"], **{"sweeps": [], "costs": {}, **changes})


def test_the_page_has_facts_tables_and_figures_and_needs_nothing_else(tmp_path):
    sweep = make_sweep("distillation.margin", 1.0, [0.0, 1.0], tasks={"like": 0.8})
    comparison = make_comparison(["single", "crossdistil", "without_correction"], tasks={"like": 0.8}, sweeps=[sweep])
    content = written(tmp_path, comparison, facts={"Rows": "3,000", "Command": "crossdistil compare"})
    page = Page(content)
    assert page.plots == ["Multi-AUC by margin", "Test loss over the epochs", "Costs"]
    for text in ("Comparison of 3 methods", "3,000", "crossdistil compare", "paired t-test", "seed by seed"):
        assert text in page.text
    assert "Failures" not in page.text
    for title in ("Differences to single, seed by seed", "Numbers of the figures", "AUC, Multi-AUC and log loss by margin"):
        assert title in page.text
    mean = sum(result.summary["tasks"]["like"]["auc"] for result in comparison.results[:3]) / 3
    assert f"{mean:.4f}±" in page.text
    references = [value for name in ("src", "href", "xlink:href", "srcset", "data") for value in page.attributes(name)]
    references += re.findall(r"url\(([^)]*)\)", content)
    assert references and all(reference.startswith("#") for reference in references)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements} and "@import" not in content
    ids = page.attributes("id")
    assert len(ids) == len(set(ids)) and {reference[1:] for reference in page.attributes("xlink:href")} <= set(ids)
    assert written(tmp_path, comparison, facts={"Rows": "3,000", "Command": "crossdistil compare"}) == content


def test_cells_are_marked_and_bracketed():
    cells = [
        [PrintedCell("0.7000±0.0010", rank=2), PrintedCell("n/a")],
        [PrintedCell("0.7300±0.0020", "+0.0300", "**", rank=1), PrintedCell("0.5", "-0.1", "*")],
    ]
    table = html_table(Given(cells, groups=("finish", "finish")))
    assert '<td class="second"><span>0.7000±0.0010</span></td><td><span>n/a</span></td>' in table
    assert '<td class="best"><span>0.7300±0.0020</span><small>(+0.0300)**</small></td>' in table
    assert "<td><span>0.5</span><small>(-0.1)*</small></td>" in table
    assert '<th colspan="2" scope="colgroup">finish</th>' in table and '<th class="name" scope="col" rowspan="2">' in table
    # A narrow screen may break a long name, whose text stays whole.
    assert "kd_<wbr>same_<wbr>task+<wbr>gkd" in table and "kd_same_task+gkd" in Page(table).text
    assert "One seed." in Page(table).text


def test_columns_without_groups_have_one_head_row():
    table = html_table(Given([[PrintedCell("1"), PrintedCell("2")]]))
    assert "colgroup" not in table and "rowspan" not in table and table.count("<tr>") == 2


def test_every_text_is_escaped(tmp_path):
    evil = "<script>alert('&\"$_')</script>"
    comparison = make_comparison(
        [evil, "without_correction"], [0, 1], {evil: 0.8}, [make_sweep(evil, 1, [1, 2], tasks={evil: 0.8})]
    )
    comparison = replace(comparison, failures=[make_failure(evil, 0, evil)])
    page = Page(written(tmp_path, comparison, facts={evil: evil}))
    assert "script" not in {tag for tag, _ in page.elements}
    # Name and text of the fact; method and error of the failure; the task and the method of the results' table at least.
    assert page.text.count(evil) >= 6


def test_failures_are_told(tmp_path):
    comparison = small(failures=[make_failure("ple", 2, "it broke")], missing=[("ple", 2), ("taug", 1)])
    text = Page(written(tmp_path, comparison, [])).text
    assert "ple seed 2: it broke" in text and "taug seed 1: has no result" in text and text.count("ple seed 2") == 1


def test_without_any_result_the_page_says_so(tmp_path):
    comparison = make_comparison(["ple"], [], sweeps=[], costs={}, failures=[make_failure()], missing=[("ple", 2)])
    page = Page(written(tmp_path, comparison))
    assert page.plots == [] and "No training has a result." in page.text and "Figures" not in page.text


def test_the_page_says_why_a_figure_is_missing(tmp_path):
    comparison = small()
    for result in comparison.results:
        del result.history[1:]
    text = Page(written(tmp_path, comparison)).text
    assert "Test loss over the epochs: no figure, since it needs two epochs" in text and "Costs: no figure" in text


def test_one_seed_has_no_notes_on_marks(tmp_path):
    assert "by chance" not in Page(written(tmp_path, small(seeds=[0]))).text
    assert "by chance" in Page(written(tmp_path, small(seeds=[0, 1]))).text


def test_an_unwritable_path_is_one_clear_error(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(CrossDistilError, match="cannot write"):
        write_comparison_report(tmp_path / "out" / "report.html", Figures.of(small(seeds=[])), [], {})
