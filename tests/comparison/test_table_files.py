# SPDX-License-Identifier: Apache-2.0
"""Every rendering of a table, read back."""

import csv
import io
import json
import re

import pytest
from rich.console import Console

from tests.comparison.given_comparison import given
from tf_crossdistil.comparison.costs import Cost
from tf_crossdistil.comparison.latex_table import latex
from tf_crossdistil.comparison.printed_table import divided
from tf_crossdistil.comparison.study_rows import STYLES_NOTE
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.comparison.table_files import FORMATS, comma_separated, markdown, study_table_on_screen, write_tables
from tf_crossdistil.errors import CrossDistilError

# What Markdown or LaTeX would take for something else.
AWKWARD = "my_own.mod$ule:Cl|ass_2+gkd"
TASK = "a_b|c & 50% #1 {x} [red] <u>~^\\"


def values(shift, tasks=("finish", TASK)):
    return {
        task: {
            "auc": [0.7 + shift, 0.71 + shift, 0.72 + shift],
            "multi_auc": [0.6, 0.61 + shift, 0.6 + shift],
            "log_loss": [0.5] * 3,
        }
        for task in tasks
    }


@pytest.fixture(scope="module")
def figures():
    students = {
        "single": values(0),
        AWKWARD: values(0.01),
        "crossdistil": values(-0.02),
        "kd_same_task": values(-0.5),
        "mmoe": {},
    }
    costs = {"single": Cost(10.0, 2000, 1000, 500.0), AWKWARD: Cost(15.0, 4000, 1000, 505.0)}
    return given(students, "single", teachers={"crossdistil": values(0.1)}, costs=costs)


@pytest.fixture(scope="module")
def tables(figures):
    return study_tables(figures)


def table_of(tables, name):
    return next(table for table in tables if table.name == name)


def test_markdown_has_as_many_cells_in_every_row_and_names_come_back(tables):
    lines = markdown(table_of(tables, "results")).splitlines()
    # A pipe divides cells unless a backslash is before it.
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {5}
    plain = [[re.sub(r"\\(\W|_)", r"\1", cell.strip()) for cell in row] for row in rows]
    assert plain[0] == ["Method", "finish AUC", "finish Multi-AUC", f"{TASK} AUC", f"{TASK} Multi-AUC"]
    assert [row[0] for row in plain[2:]] == ["single", AWKWARD, "crossdistil", "crossdistil teachers", "mmoe"]
    # Nothing but our own emphasis is left unescaped.
    bare = re.sub(r"\\.", "", "".join(cell for row in rows for cell in row))
    assert not re.search(r"[_*<]", re.sub(r"\*\*[^*]*\*\*|<u>[^<]*</u>", "", bare))


def test_markdown_shows_the_best_bold_the_second_underlined_and_marks_as_stars(tables):
    text = markdown(table_of(tables, "results"))
    assert r"| **0.7200±0.0100** (+0.0100)\*\* |" in text
    assert "| <u>0.7100±0.0100</u> |" in text
    assert r"| 0.6900±0.0100 (-0.0200)\*\* |" in text
    assert text.count("n/a |") == 4


def test_markdown_notes_are_escaped_items(tables):
    text = markdown(table_of(tables, "results"))
    assert r"- \* p \< 0.05, \*\* p \< 0.01: two-sided paired t-test" in text
    assert text.startswith("### AUC and Multi-AUC by method\n\n| Method |") and text.endswith("\n")


@pytest.mark.parametrize("name", ["results", "ablations", "costs"])
def test_latex_braces_and_environments_balance_and_rows_are_whole(tables, name):
    text = latex(table_of(tables, name))
    bare = re.sub(r"\\[{}\\$&#%_]", "", re.sub(r"^%.*\n", "", text))
    depth = 0
    for sign in bare:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    opened: list[str] = []
    for kind, environment in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        assert kind == "begin" or opened.pop() == environment
        opened += [environment] * (kind == "begin")
    assert opened == []
    tabulars = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    for columns, body in tabulars:
        assert 2 <= len(columns) <= 5
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) >= 3
        for row in rows:
            spans = [int(count) - 1 for count in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) == len(columns)
    # Each special sign of a name is written as itself or by its name.
    assert not re.search(r"(?<!\\)[#%_]", bare.replace("%s", ""))


def test_latex_shows_ranks_marks_and_minus_signs(tables):
    text = latex(table_of(tables, "results"))
    assert r"\textbf{0.7200$\pm$0.0100} (+0.0100)$^{**}$" in text
    assert r"\underline{0.7100$\pm$0.0100} & " in text
    assert r"0.6900$\pm$0.0100 ($-$0.0200)$^{**}$" in text
    assert r"my\_own.mod\$ule:Cl\textbar{}ass\_2+gkd & " in text
    # A task of two columns with their differences is as wide as a page.
    assert r"\multicolumn{2}{c}{finish}" in text and r"\cmidrule(lr){2-3}" in text and "{4-5}" not in text
    assert r"\usepackage{booktabs}" in text.splitlines()[0]


def test_eight_tasks_go_into_several_tabulars_without_dividing_a_task():
    tasks = [f"task{number}" for number in range(8)]
    methods = {"crossdistil": values(0, tasks), "kd_same_task": values(0.1, tasks)}
    results, ablations, _ = study_tables(given(methods, "crossdistil"))
    text = latex(results)
    assert text.count(r"\begin{tabular}{lrrrr}") == 4
    assert re.findall(r"\{c\}\{(\w+)\}", text) == tasks
    # Three columns of differences are wider than a page.
    assert latex(ablations).count(r"\begin{tabular}") == 16


def test_parts_of_columns_divide_no_group_that_fits():
    assert divided([4, 4, 4, 4], ["a", "a", "b", "b"], 12) == [[0, 1], [2, 3]]
    assert divided([4, 4, 4, 4], ["a", "a", "b", "b"], 16) == [[0, 1, 2, 3]]
    assert divided([4, 4, 4, 4], ["", "", "", ""], 12) == [[0, 1, 2], [3]]
    assert divided([4, 4, 4, 4], ["a", "a", "a", "b"], 8) == [[0, 1], [2, 3]]
    assert divided([9, 9], ["a", "a"], 5) == [[0], [1]]


def test_csv_and_json_have_every_number_in_full(figures, tables):
    table = table_of(tables, "results")
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    document = json.loads(FORMATS[".json"](table))
    assert (document["name"], document["reference"], document["notes"]) == ("results", "single", table.notes)
    assert len(rows) == len(document["rows"]) == 5 * 4
    found = {(row["method"], row["role"], row["task"], row["metric"]): row for row in rows}
    for row in document["rows"]:
        text = found[row["method"], row["role"], row["task"], row["metric"]]
        assert text == {name: "" if value is None else str(value) for name, value in row.items()}
    best = found[AWKWARD, "students", TASK, "auc"]
    assert float(best["mean"]) == figures.estimate(AWKWARD, TASK, "auc").mean
    assert (best["rank"], best["significance"], float(best["p_value"]) < 1e-20) == ("1", "**", True)
    missing = found["mmoe", "students", "finish", "auc"]
    assert (missing["seeds"], missing["mean"], missing["difference"], missing["rank"]) == ("0", "", "", "")


@pytest.mark.parametrize("width", [80, 160])
def test_on_screen_nothing_is_cut_and_values_stand_below_each_other(tables, width):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(study_table_on_screen(table_of(tables, "ablations")))
    text = capture.get()
    assert "…" not in text and all(len(line) <= width for line in text.splitlines())
    shown = re.findall(r"\d\.\d{4}(?:±\d\.\d{4})?(?: \([+-][^)]*\)\**)?", text.split("Mean ±")[0])
    cells = [cell.value + cell.remark for _, row in table_of(tables, "ablations").printed().rows for cell in row]
    assert sorted(shown) == sorted(cells) and TASK in text
    # The first row has no difference to itself.
    rows = [line for line in text.splitlines() if line.startswith((" crossdistil", " kd_same_task"))]
    signs = [[place for place, sign in enumerate(row) if sign == "±"] for row in rows]
    assert signs[0] == signs[1] and len(signs[0]) > 1


def test_on_screen_the_best_is_bold_and_the_second_underlined(tables):
    console = Console(width=160, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(study_table_on_screen(table_of(tables, "results")))
    assert "\x1b[1m0.7200±0.0100\x1b[0m" in capture.get() and "\x1b[4m0.7100±0.0100\x1b[0m" in capture.get()
    assert STYLES_NOTE in " ".join(capture.get().split())


def test_a_pipe_is_told_nothing_of_styles(tables):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(study_table_on_screen(table_of(tables, "results")))
    assert "In brackets" in capture.get() and "bold" not in capture.get()
    assert STYLES_NOTE in table_of(tables, "results").notes


def test_every_table_is_written_in_every_format_and_nothing_else(tables, tmp_path):
    folder = tmp_path / "deep" / "tables"
    write_tables(folder, tables)
    write_tables(folder, tables)
    names = {"results", "ablations", "costs", "differences"}
    assert {path.name for path in folder.iterdir()} == {f"{name}{suffix}" for name in names for suffix in FORMATS}
    assert (folder / "costs.md").read_text(encoding="utf-8") == markdown(table_of(tables, "costs"))
    assert (folder / "costs.csv").read_bytes().decode() == comma_separated(table_of(tables, "costs"))


def test_a_folder_that_cannot_be_written_is_named(tables, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CrossDistilError, match=r"cannot write .*file/tables"):
        write_tables(tmp_path / "file" / "tables", tables)
    (tmp_path / "tables" / "results.md").mkdir(parents=True)
    with pytest.raises(CrossDistilError, match=r"cannot write .*results\.md"):
        write_tables(tmp_path / "tables", tables)
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["results.md"]
