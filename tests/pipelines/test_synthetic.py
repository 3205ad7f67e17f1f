# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pipelines import synthetic
from pipelines.synthetic import BLOCK_ROWS, LOG_COLUMNS, TASKS, TRUTH_COLUMNS, generate, write_logs, zipf_ranks
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.metrics.exact import auc


def columns(rows, seed, truth=False):
    table = pa.Table.from_batches(generate(rows, seed, truth))
    return {name: table[name].to_numpy() for name in table.column_names}


def logit(probabilities):
    exact = probabilities.astype(np.float64)
    return np.log(exact) - np.log1p(-exact)


@pytest.fixture(scope="module")
def logs():
    return columns(200_000, seed=1, truth=True)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rows", [20_000, 100_000])
def test_rates_are_within_five_percent(rows, seed):
    drawn = columns(rows, seed)
    assert drawn["finish"].mean() == pytest.approx(0.380, rel=0.05)
    assert drawn["like"].mean() == pytest.approx(0.011, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_every_label_combination_occurs(seed):
    drawn = columns(4000, seed)
    assert (np.bincount(2 * drawn["finish"] + drawn["like"], minlength=4) > 0).all()


@pytest.mark.parametrize("task", TASKS)
def test_labels_follow_the_true_probabilities(logs, task):
    probabilities = logs[f"{task}_probability"].astype(np.float64)
    for rows in np.array_split(np.argsort(probabilities), 20):
        expected = probabilities[rows].mean()
        deviation = np.sqrt((probabilities[rows] * (1 - probabilities[rows])).sum()) / rows.size
        assert logs[task][rows].mean() == pytest.approx(expected, abs=4 * deviation)


def test_labels_of_the_tasks_are_independent_given_the_probabilities(logs):
    residuals = [logs[task] - logs[f"{task}_probability"] for task in TASKS]
    assert abs(np.corrcoef(residuals)[0, 1]) < 4 / np.sqrt(logs["finish"].size)


@pytest.mark.parametrize("seed", range(3))
def test_true_logits_correlate_by_a_half_and_tell_labels_apart(seed):
    drawn = columns(100_000, seed, truth=True)
    finish, like = (logit(drawn[name]) for name in TRUTH_COLUMNS)
    assert np.corrcoef(finish, like)[0, 1] == pytest.approx(0.5, abs=0.1)
    assert 0.75 < auc(drawn["finish"], finish) < 0.85
    assert 0.75 < auc(drawn["like"], like) < 0.85


def test_short_videos_are_finished_more(logs):
    quarters = np.array_split(np.argsort(logs["video_duration"], kind="stable"), 4)
    rates = [logs["finish"][rows].mean() for rows in quarters]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1] + 0.1


@pytest.mark.parametrize("column", ["user_city", "author_id", "item_city"])
def test_common_columns_say_something_about_rare_ids(logs, column):
    # Variance of the column's mean logits, beyond what ids drawn at random into the same groups would have.
    first = np.unique(logs["uid" if column == "user_city" else "item_id"], return_index=True)[1]
    values, groups = logit(logs["like_probability"])[first], logs[column][first]
    kept = np.bincount(groups[groups >= 0])[groups] >= 10

    def variance_between(numbers):
        codes = np.unique(groups[kept], return_inverse=True)[1]
        return np.var((np.bincount(codes, numbers) / np.bincount(codes))[codes])

    shuffled = np.random.default_rng(0).permutation(values[kept])
    assert variance_between(values[kept]) > 1.5 * variance_between(shuffled)


def test_ids_have_a_head_and_a_long_tail(logs):
    users, items = (np.sort(np.bincount(logs[name]))[::-1] for name in ("uid", "item_id"))
    assert users[users >= 36].sum() > 0.5 * users.sum()
    assert items[: items.size // 10].sum() > 0.4 * items.sum()
    assert (items <= 2).mean() > 0.1
    # The head is popular, but no id stands for a large part of the rows.
    assert items[0] < 0.03 * items.sum()


def test_zipf_ranks_have_the_probabilities_of_the_law():
    exponent, offset, size = 1.2, 3.0, 50
    ranks = zipf_ranks((np.arange(1_000_000) + 0.5) / 1_000_000, size, exponent, offset)
    powers = (np.arange(size + 1) + offset) ** (1 - exponent)
    expected = (powers[:-1] - powers[1:]) / (powers[0] - powers[-1])
    assert np.bincount(ranks, minlength=size) / 1_000_000 == pytest.approx(expected, abs=2e-6)


def test_rows_look_like_the_real_logs(logs):
    assert tuple(logs) == (*LOG_COLUMNS, *TRUTH_COLUMNS)
    assert (np.diff(logs["create_time"]) >= 0).all()
    for name in ("user_city", "item_city", "music_id"):
        assert 0 < (logs[name] == -1).mean() < 0.5
    for name in set(LOG_COLUMNS) - {"user_city", "item_city", "music_id"}:
        assert logs[name].min() >= 0
    assert logs["video_duration"].min() >= 2
    items = {name: logs[name] for name in ("author_id", "item_city", "channel", "music_id", "video_duration")}
    combinations = np.unique(np.stack([logs["item_id"], *items.values()]), axis=1)
    assert combinations.shape[1] == np.unique(logs["item_id"]).size


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in ("first", "again", "other")]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        write_logs(path, BLOCK_ROWS + 500, seed, truth=True)
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pyarrow.csv.read_csv), (".parquet", pyarrow.parquet.read_table)])
@pytest.mark.parametrize("truth", [False, True])
def test_files_hold_the_generated_rows(tmp_path, suffix, read, truth):
    path = tmp_path / "new folder" / f"logs{suffix}"
    seen: list[int] = []
    write_logs(path, BLOCK_ROWS + 10, seed=0, truth=truth, progress=seen.append)
    table = read(path)
    expected = pa.Table.from_batches(generate(BLOCK_ROWS + 10, 0, truth))
    assert table.column_names == expected.column_names == [*LOG_COLUMNS, *TRUTH_COLUMNS * truth]
    for name in LOG_COLUMNS:
        assert table[name].to_pylist() == expected[name].to_pylist()
    assert seen == [BLOCK_ROWS, 10]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_truth_does_not_change_the_rows():
    with_truth, without = columns(5000, 7, truth=True), columns(5000, 7)
    assert all((with_truth[name] == without[name]).all() for name in LOG_COLUMNS)


def test_blocks_are_drawn_independently_of_each_other():
    table = pa.Table.from_batches(generate(2 * BLOCK_ROWS, 0))
    first, second = (table.slice(start, BLOCK_ROWS)["uid"].to_numpy() for start in (0, BLOCK_ROWS))
    assert (first == second).mean() < 0.01


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_few_rows_work(rows):
    drawn = columns(rows, 0, truth=True)
    assert drawn["uid"].size == rows
    assert all(((drawn[name] > 0) & (drawn[name] < 1)).all() for name in TRUTH_COLUMNS)


def test_wrong_use_says_what_to_give(tmp_path):
    with pytest.raises(UsageError, match=r"\.csv or \.parquet, received .*logs\.json"):
        write_logs(tmp_path / "logs.json", 10, 0)
    with pytest.raises(UsageError, match="at least 1, received 0"):
        generate(0, 0)
    with pytest.raises(UsageError, match="0 or more, received -1"):
        generate(10, -1)
    (tmp_path / "file").touch()
    with pytest.raises(CrossDistilError, match="cannot write"):
        write_logs(tmp_path / "file" / "logs.csv", 10, 0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"logs{suffix}"
    path.write_text("old")

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_logs(path, 10, 0, progress=interrupt)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_import_loads_no_tensorflow():
    code = f"import sys, {synthetic.__name__}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
