# SPDX-License-Identifier: Apache-2.0
"""Drawn negatives: exact exclusion, uniform draws, and files that do not depend on the order of the logs."""

import gzip
import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.negatives import draw_items, main
from pipelines.preprocess import prepare

NAMES = ["--user", "reviewerID", "--item", "asin"]


def review(user: str, item: str, overall: float, time: int) -> dict[str, Any]:
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": 'J. "Mc" Döe',
        "helpful": [2, 3],
        "reviewText": "fine :: tabs\tand\nlines",
        "overall": overall,
        "summary": "",
        "unixReviewTime": time,
        "reviewTime": "09 13, 2009",
    }


def make_reviews() -> list[dict[str, Any]]:
    """Reviews of 60 users, some of whom had an item twice or have had all but one."""
    rng = random.Random(5)
    reviews = [
        review(f"A{user:02d}", f"{item:010d}", float(rng.randint(1, 5)), 1252800000 + rng.randrange(10**6))
        for user in range(60)
        for item in rng.sample(range(25), rng.randint(1, 24))
    ]
    return [*reviews, review("A00", reviews[0]["asin"], 1.0, 5), review("A00", reviews[0]["asin"], 2.0, 4)]


REVIEWS = make_reviews()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0))
    return path


def run(tmp_path: Path, rows: list[dict[str, Any]], *more: str) -> list[dict[str, Any]]:
    source = write(tmp_path / "reviews.json.gz", rows)
    command = ["--input", str(source), *NAMES, "--output", str(tmp_path / "out" / "logs.parquet"), *more]
    assert main(command) == 0
    return pq.read_table(tmp_path / "out" / "logs.parquet").to_pylist()


def test_positives_stay_and_negatives_are_items_that_the_user_never_had(tmp_path: Path, capsys) -> None:
    rows = run(tmp_path, REVIEWS, "--keep", "overall, helpful", "--time", "unixReviewTime", "--per-positive", "3")
    had = {(row["reviewerID"], row["asin"]) for row in REVIEWS}
    columns = ["reviewerID", "asin", "unixReviewTime", "overall", "helpful"]
    positives = [[row[name] for name in columns] for row in rows if row["click"] == 1]
    assert sorted(positives) == sorted([row[name] for name in columns] for row in REVIEWS)
    drawn = [row for row in rows if row["click"] == 0]
    assert len(rows) == len(positives) + len(drawn) == 4 * len(REVIEWS)
    assert not had & {(row["reviewerID"], row["asin"]) for row in drawn}
    assert {row["asin"] for row in drawn} <= {row["asin"] for row in REVIEWS}
    assert {(row["overall"], row["helpful"]) for row in drawn} == {(None, None)}
    times = Counter((row["reviewerID"], row["unixReviewTime"]) for row in drawn)
    assert times == Counter({key: 3 * n for key, n in Counter((r["reviewerID"], r["unixReviewTime"]) for r in REVIEWS).items()})
    assert f"wrote {len(REVIEWS)} positives and {3 * len(REVIEWS):,} negatives to {tmp_path}" in capsys.readouterr().err
    labels = [row["click"] for row in rows[:400]]
    assert 0.15 < np.mean(labels) < 0.35, "negatives must not stand behind the positives"


def test_the_file_does_not_depend_on_the_order_of_the_logs(tmp_path: Path) -> None:
    options = ("--keep", "overall", "--time", "unixReviewTime")
    first = run(tmp_path, REVIEWS, *options)
    written = (tmp_path / "out" / "logs.parquet").read_bytes()
    assert run(tmp_path, random.Random(1).sample(REVIEWS, len(REVIEWS)), *options) == first
    assert (tmp_path / "out" / "logs.parquet").read_bytes() == written
    assert run(tmp_path, REVIEWS, *options, "--seed", "1") != first


def test_draws_are_uniform_among_the_items_that_the_user_never_had() -> None:
    """Against enumeration: chi-square over all free items of users that own none, some, or all but one of them."""
    owned = [[4], [0, 1, 2], [9], [0, 9, 5, 5], [1, 3, 5, 7, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8]]
    users = np.repeat(np.arange(len(owned)), [len(items) for items in owned])
    items = np.array([item for items in owned for item in items])
    drawn = draw_items(users, items, 10, 4000, np.random.default_rng(0))
    assert drawn.shape == (len(items), 4000)
    for user, own in enumerate(owned):
        free = sorted(set(range(10)) - set(own))
        counts = np.bincount(drawn[users == user].ravel(), minlength=10)
        assert counts[sorted(set(own))].sum() == 0
        expected = counts.sum() / len(free)
        # The 99.99 % point of chi-square with 9 degrees of freedom.
        assert ((counts[free] - expected) ** 2 / expected).sum() < 33.7


def test_rows_without_a_user_or_an_item_are_left_out_and_counted(tmp_path: Path, capsys) -> None:
    source = write(tmp_path / "a.json", [*REVIEWS[:50], review("", "x", 1.0, 1), {**REVIEWS[0], "asin": None}])
    with gzip.open(source, "at") as file:
        file.write("no json\n")
    options = ["--input", str(source), *NAMES, "--output", str(tmp_path / "b.parquet"), "--label", "bought"]
    assert main([*options, "--max-bad-fraction", "0.02"]) == 0
    error = capsys.readouterr().err
    assert "2 of 52 rows have no 'reviewerID' or no 'asin' and were left out" in error
    assert "1 of 53 rows cannot be read (1.89%, at most 2.00% may be such), the first is 'no json': a line must be" in error
    table = pq.read_table(tmp_path / "b.parquet")
    assert table.column_names == ["reviewerID", "asin", "bought"] and len(table) == 100
    assert main(options) == 1
    error = capsys.readouterr().err
    assert "error: 1 of 53 rows cannot be read (1.89%, at most 1.00%" in error and "raise --max-bad-fraction" in error


@pytest.mark.parametrize("kept", [["[1, 2]", "[2, 1]", "[]", "null"], ["2", "2.5", "3", "null"], ['" a"', '"a"', '""', "null"]])
def test_rows_that_differ_in_a_kept_column_alone(tmp_path: Path, kept: list[str]) -> None:
    """In files of every order, each of which is a block of a type of its own."""
    written = set()
    for number, order in enumerate(itertools.permutations(kept)):
        (tmp_path / f"{number}").mkdir()
        for place, value in enumerate(order):
            rows = f'{{"u": "a", "i": "x", "k": {value}}}\n{{"u": "b", "i": "y", "k": {kept[0]}}}\n'
            (tmp_path / f"{number}" / f"{place}.json").write_text(rows)
        output = tmp_path / f"{number}.parquet"
        command = ["--input", f"{tmp_path}/{number}/*", "--user", "u", "--item", "i", "--keep", "k", "--output", str(output)]
        assert main(command) == 0
        written.add(output.read_bytes())
    assert len(written) == 1
    found = [json.dumps(row["k"]) for row in pq.read_table(output).to_pylist() if row["click"] and row["u"] == "a"]
    assert sorted(found) == sorted({"2": "2.0", "3": "3.0"}.get(value, value) for value in kept)


def test_rows_that_cannot_be_read_have_no_part_in_what_others_lack(tmp_path: Path, capsys) -> None:
    (tmp_path / "logs").write_text("u,i\na,b,c\n,x\n")
    command = [
        "--input",
        f"{tmp_path}/logs",
        "--user",
        "u",
        "--item",
        "i",
        "--source",
        "{}",
        "--output",
        f"{tmp_path}/x.parquet",
    ]
    assert main(command) == 1
    assert "1 of 2 rows cannot be read (50.00%" in capsys.readouterr().err
    assert main([*command, "--max-bad-fraction", "1"]) == 1
    assert "no row of the 1 that can be read has both a 'u' and an 'i'" in capsys.readouterr().err


def test_any_source(tmp_path: Path, capsys) -> None:
    """Here csv with a long delimiter and users' cities joined."""
    (tmp_path / "ratings.dat").write_text("1::10::5\n1::20::4\n2::10::3\n3::30::1\n")
    (tmp_path / "users.dat").write_text("1::é\n2::b\n", encoding="latin-1")
    join = "{file: users.dat, key: user, columns: [user, city], encoding: latin-1}"
    source = f"{{delimiter: '::', header: false, columns: [user, item, rating], joins: [{join}]}}"
    output = str(tmp_path / "out.parquet")
    columns = ["--user", "user", "--item", "item", "--keep", "city"]
    assert main(["--input", f"{tmp_path}/rat*.dat", *columns, "--source", source, "--output", output]) == 0
    rows = pq.read_table(output).to_pylist()
    assert sorted((row["user"], row["item"], row["city"]) for row in rows if row["click"]) == [
        *(("1", "10", "é"), ("1", "20", "é"), ("2", "10", "b"), ("3", "30", None)),
    ]
    assert f"warning: 1 of 4 rows (25.00%) have no row in {tmp_path}/users.dat; its" in capsys.readouterr().err
    assert [row["item"] for row in rows if row["user"] == "1" and not row["click"]] == ["30", "30"]


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (["--output", "x.csv"], 2, "--output must end in .parquet; received 'x.csv'"),
        (["--keep", "overall,asin"], 2, "the column 'asin' is named twice among"),
        (["--keep", "click"], 2, "the column 'click' is named twice among"),
        (["--keep", "rating"], 1, "has no column 'rating', which is to be read; it has"),
        (["--label", "summary"], 2, "reviews.json.gz has a column 'summary' already; give the one to add another name with"),
        (["--user", "helpful"], 1, "column 'helpful' must hold one value a row, text or a number; received list"),
        (["--input", "nothing*.json"], 1, "no file matches --input"),
        (["--source", "{format: json}"], 2, "--source: format: Input should be 'csv'"),
        (["--source", "{format: parquet}"], 1, "is not a Parquet file"),
        (["--source", "[a"], 2, "--source is not valid YAML"),
        (["--per-positive", "0"], 2, "--per-positive"),
        (["--output", "/proc/nowhere/x.parquet"], 1, "cannot write /proc/nowhere/x.parquet"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, capsys, arguments: list[str], code: int, says: str) -> None:
    source = write(tmp_path / "reviews.json.gz", REVIEWS)
    base = ["--input", str(source)] if "--input" not in arguments else []
    base += NAMES + (["--output", str(tmp_path / "x.parquet")] if "--output" not in arguments else [])
    assert main([*base, *arguments]) == code
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error


def test_a_user_who_has_every_item(tmp_path: Path, capsys) -> None:
    source = write(tmp_path / "all.json", [review("A", "1", 1.0, 1), review("A", "2", 1.0, 1), review("B", "1", 1.0, 1)])
    assert main(["--input", str(source), *NAMES, "--output", str(tmp_path / "x.parquet")]) == 1
    assert "error: a user has every one of the 2 items" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_the_file_is_prepared_in_parts_of_one_type(tmp_path: Path, experiment) -> None:
    """Columns whose blocks differ in type become text, and what was written goes through the pipeline."""
    rows = [review(f"A{number % 7}", f"{number % 31}", 5.0, number) for number in range(60)]
    mixed = [row | {"overall": 2.0 if number % 5 == 0 else "4"} for number, row in enumerate(rows)]
    run(tmp_path, mixed, "--keep", "overall")
    sections = {
        "tasks": [{"name": "click", "column": "click"}, {"name": "like", "column": "overall", "at_least": 4, "given": "click"}],
        "features": [{"name": "user", "column": "reviewerID", "kind": "categorical"}],
        "split": {"by": "hash", "key": ["asin"]},
        "source": {"format": "parquet"},
    }
    data = prepare(experiment(**sections), [f"{tmp_path}/out/logs.parquet"], tmp_path / "data", quiet=True)
    counts = Counter[str]()
    for tags in data.metadata.counts.values():
        counts.update(tags)
    assert counts == {"0x": 60, "11": 48, "10": 12} and not data.metadata.dead_letters
