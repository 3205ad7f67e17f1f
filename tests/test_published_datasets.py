# SPDX-License-Identifier: Apache-2.0
"""The configurations of published data sets, from files written as those are to a trained model."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.negatives import main as add_negatives
from pipelines.preprocess import prepare
from tf_crossdistil.config_file import load_config
from tf_crossdistil.schema import PreparedData

CONFIGS = Path(__file__).parent.parent / "configs"
USERS = ["1::F::1::10::48067", "2::M::56::16::70072", "3::M::25::15::55117", "4::M::45::7::98107-2117", "5::F::50::9::02460"]
USERS += [f"{user}::{'FM'[user % 2]}::{(18, 25, 35)[user % 3]}::{user % 21}::{10000 + user}" for user in range(6, 61)]
MOVIES = [
    "1::Toy Story (1995)::Animation|Children's|Comedy",
    "73::Misérables, Les (1995)::Drama|Musical",
    "260::Star Wars: Episode IV - A New Hope (1977)::Action|Adventure|Fantasy|Sci-Fi",
    '3280::"Baby", The (1973)::Horror',
    "924::2001: A Space Odyssey (1968)::Drama|Mystery|Sci-Fi|Thriller",
]
MOVIES += [f"{movie}::Film: {movie} (1990)::Drama" for movie in range(1000, 1040)]
BAD = "4::73::5"


def write_movielens(folder: Path) -> list[list[str]]:
    """Ratings by fields. One line of the file, its 100th, is bad; one movie is in no table."""
    rng = random.Random(0)
    movies = [line.split("::")[0] for line in MOVIES] + ["3952"]
    pairs = rng.sample([(user.split("::")[0], movie) for user in USERS for movie in movies], 2000)
    rows = [[user, movie, str(rng.randint(1, 5)), str(978300760 + rng.randrange(10**6))] for user, movie in pairs]
    lines = ["::".join(row) for row in rows]
    lines.insert(99, BAD)
    for name, content in (("ratings", lines), ("users", USERS), ("movies", MOVIES)):
        (folder / f"{name}.dat").write_text("\n".join(content) + "\n", encoding="latin-1")
    return rows


def sample(data: PreparedData) -> list[dict[str, Any]]:
    """Features of the first rows, in the order of the logs."""
    return [json.loads(line) for line in (data.directory / "sample.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def movielens(tmp_path_factory) -> tuple[Path, list[list[str]], PreparedData]:
    folder = tmp_path_factory.mktemp("ml-1m")
    rows = write_movielens(folder)
    config = load_config(CONFIGS / "movielens.yaml")
    return folder, rows, prepare(config, [f"{folder}/ratings.dat"], folder / "data", quiet=True)


def test_movielens(movielens) -> None:
    folder, rows, data = movielens
    users = {line.split("::")[0]: line.split("::")[1:] for line in USERS}
    genres = {line.split("::")[0]: line.split("::")[2].split("|") for line in MOVIES}
    names = ["user_id", "movie_id", "gender", "age", "occupation", "zip_code", "genres"]
    expected = [[user, movie, *users[user], genres.get(movie, [])] for user, movie, *_ in rows]
    found = [[record[name] or [] for name in names] for record in sample(data)]
    assert len(found) > 200 and found == expected[: len(found)]
    metadata = data.metadata
    assert (metadata.rows_in, metadata.rows_out, metadata.dead_letters) == (2001, 2000, {"wrong_field_count": 1})
    (letters,) = data.directory.glob("dead_letter/*.jsonl.gz")
    letter = json.loads(gzip.decompress(letters.read_bytes()))
    assert (letter["file"], letter["row"], letter["raw"]) == (f"{folder}/ratings.dat", 100, BAD)
    counts = Counter({tag: sum(split.get(tag, 0) for split in metadata.counts.values()) for tag in "01"})
    assert counts["1"] == sum(int(row[2]) >= 4 for row in rows) and counts.total() == 2000
    shares = [sum(split.values()) / 2000 for split in metadata.counts.values()]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.05)
    words = (data.directory / "vocabulary" / "genres.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(words) == sorted({genre for kinds in genres.values() for genre in kinds})
    unmatched = sum(row[1] == "3952" for row in rows)
    assert any(
        warning.startswith(f"{unmatched} of 2,001 rows") and "have no row in" in warning and "movies.dat" in warning
        for warning in metadata.warnings
    )


def test_movielens_is_prepared_again_only_when_a_table_changes(movielens) -> None:
    folder, _, data = movielens
    config = load_config(CONFIGS / "movielens.yaml")
    assert prepare(config, [f"{folder}/ratings.dat"], folder / "data", quiet=True).directory == data.directory
    (folder / "users.dat").write_text("\n".join([*USERS, "61::F::1::1::1"]), encoding="latin-1")
    again = prepare(config, [f"{folder}/ratings.dat"], folder / "data", quiet=True)
    assert again.directory != data.directory and again.metadata.counts == data.metadata.counts


@pytest.mark.slow
def test_workers_in_processes_of_their_own_read_the_tables(movielens) -> None:
    folder, _, data = movielens
    (folder / "users.dat").write_text("\n".join(USERS) + "\n", encoding="latin-1")
    config = load_config(CONFIGS / "movielens.yaml")
    runner = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    again = prepare(config, [f"{folder}/ratings.dat"], folder / "again", runner, quiet=True)
    assert again.metadata.counts == data.metadata.counts and sample(again) == sample(data)


def make_review(user: int, item: int, rng: random.Random) -> dict[str, Any]:
    return {
        "reviewerID": f"A{user:013d}",
        "asin": f"B{item:09d}",
        "reviewerName": 'J. "Mc" Döe',
        "helpful": [rng.randrange(3), 3],
        "reviewText": 'It\'s fine.\n"Really": works\\well & plays <b>é</b>',
        "overall": float(rng.randint(1, 5)),
        "summary": "Gift",
        "unixReviewTime": 1252800000 + 86400 * rng.randrange(1000),
        "reviewTime": "09 13, 2009",
    }


@pytest.fixture(scope="module")
def electronics(tmp_path_factory) -> tuple[list[dict[str, Any]], PreparedData]:
    """Reviews of 100 users, and the data prepared from them."""
    folder = tmp_path_factory.mktemp("amazon")
    rng = random.Random(1)
    reviews = [make_review(user, item, rng) for user in range(100) for item in rng.sample(range(80), 10)]
    with gzip.open(folder / "reviews_Electronics_5.json.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(review) + "\n" for review in reviews)
    columns = ["--user", "reviewerID", "--item", "asin", "--keep", "overall", "--time", "unixReviewTime"]
    output = f"{folder}/electronics.parquet"
    assert add_negatives(["--input", f"{folder}/reviews_Electronics_5.json.gz", *columns, "--output", output]) == 0
    assert len(pq.read_table(output)) == 2 * len(reviews)
    config = load_config(CONFIGS / "amazon_electronics.yaml")
    return reviews, prepare(config, [output], folder / "data", quiet=True)


def test_amazon_electronics(electronics) -> None:
    """Negatives have neither a like nor a rating, positives have both."""
    reviews, data = electronics
    counts = Counter[str]()
    for split in data.metadata.counts.values():
        counts.update(split)
    likes = sum(review["overall"] >= 4 for review in reviews)
    assert counts == {"0x": len(reviews), "11": likes, "10": len(reviews) - likes} and not data.metadata.dead_letters
    rated = {split: rates.labelled["rating"] * rows for split, rates, rows in _rates(data)}
    clicked = {split: rates.positive["click"] * rows for split, rates, rows in _rates(data)}
    assert rated == pytest.approx(clicked) and sum(rated.values()) == pytest.approx(len(reviews))
    rating = sum(rates.mean["rating"] * rated[split] for split, rates, _ in _rates(data)) / len(reviews)
    assert rating == pytest.approx(sum(review["overall"] for review in reviews) / len(reviews))
    assert data.metadata.vocabularies["item"].size == len({review["asin"] for review in reviews})


def _rates(data: PreparedData) -> list[tuple[str, Any, int]]:
    return [(split, rates, sum(data.metadata.counts[split].values())) for split, rates in data.metadata.rates.items()]


@pytest.mark.slow
@pytest.mark.parametrize("name, tasks", [("movielens", {"like", "rating"}), ("electronics", {"click", "like", "rating"})])
def test_training(name: str, tasks: set[str], request: pytest.FixtureRequest, tmp_path: Path, quiet_console) -> None:
    """Two epochs with the configuration as it is shipped, and the metrics of every task."""
    from tf_crossdistil.evaluation.evaluate import evaluate
    from tf_crossdistil.training.trainer import train

    data = request.getfixturevalue(name)[-1]
    config = load_config(CONFIGS / f"{data.metadata.name}.yaml", ["training.epochs=2"])
    summary = evaluate(train(config, data, tmp_path / "run", quiet_console), data, "test").summary
    assert list(summary["tasks"]) == config.task_names and not summary["teachers"]
    # Labels are random numbers from 1 to 5: their variance is 2.
    assert 1 < summary["tasks"]["rating"]["mse"] < 4 and 0 <= summary["tasks"]["like"]["auc"] <= 1
