# SPDX-License-Identifier: Apache-2.0
"""Training batches: what a batch holds, and that draws are uniform and repeatable."""

import csv
import logging

import numpy as np
import pytest
import tensorflow as tf

from pipelines.preprocess import prepare
from tf_crossdistil.data.input_watch import InputWatch, WatchedBatches
from tf_crossdistil.data.records import concat_rows, label_matrix, split_batches
from tf_crossdistil.data.strata import strata, thin_strata
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.data.training_rows import Shard
from tf_crossdistil.losses.augmented_ranking import augmented_ranking_loss
from tf_crossdistil.tags import pair_weights


def with_training(experiment, **settings):
    return experiment.model_copy(update={"training": experiment.training.model_copy(update=settings)})


@pytest.fixture(params=["in memory", "streamed"])
def rows_from(request, monkeypatch):
    """Where training rows come from."""
    if request.param == "streamed":
        monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", 0)


@pytest.fixture(scope="module")
def tag_by_row(prepared, shared_experiment):
    """The tag of every training row by its number (the raw value of the feature `row`)."""
    tags: dict[int, str] = {}
    for columns in split_batches(prepared, shared_experiment, "train", 1024):
        labels = label_matrix(shared_experiment, columns).numpy().astype(int)
        tags |= {int(row): "".join(map(str, label)) for row, label in zip(columns["row"].numpy(), labels, strict=True)}
    return tags


@pytest.mark.usefixtures("rows_from")
def test_natural_rows_of_an_epoch_are_the_training_split(prepared, shared_experiment, tag_by_row, monkeypatch):
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._BLOCK_ROWS", 700)
    batches = TrainingBatches(prepared, shared_experiment, with_strata=True)
    seen = []
    for batch in batches.epoch(1):
        assert batch["labels"].shape == (512, 2)
        numbers = batch["features"]["row"].numpy().astype(int)
        labels = batch["labels"].numpy().astype(int)
        assert [tag_by_row[number] for number in numbers] == ["".join(map(str, label)) for label in labels]
        seen.extend(numbers)
    assert len(seen) == batches.steps * 512 >= len(tag_by_row)
    assert set(seen[: len(tag_by_row)]) == set(tag_by_row)


def draws_of(batch, data):
    """The numbers of the rows that a batch drew from each tag, `[draws]`."""
    tags = strata(data.metadata)
    return dict(zip(tags, batch["strata"]["row"].numpy().astype(int).reshape(len(tags), -1), strict=True))


@pytest.mark.usefixtures("rows_from")
@pytest.mark.parametrize("draws", [8, 104])
def test_every_draw_is_a_row_of_its_stratum(prepared, shared_experiment, tag_by_row, draws):
    experiment = with_training(shared_experiment, strata_batch_size=draws)
    for batch in TrainingBatches(prepared, experiment, with_strata=True).epoch(1):
        for tag, rows in draws_of(batch, prepared).items():
            assert len(rows) == draws
            assert {tag_by_row[row] for row in rows} == {tag}


@pytest.mark.usefixtures("rows_from")
@pytest.mark.parametrize(("tag", "draws"), [("01", 104), pytest.param("00", 400, marks=pytest.mark.slow)])
def test_draws_are_uniform_within_a_stratum(prepared, shared_experiment, tag_by_row, tag, draws):
    """Chi-square over many epochs: no row of a stratum is preferred."""
    experiment = with_training(shared_experiment, strata_batch_size=draws)
    batches = TrainingBatches(prepared, experiment, with_strata=True)
    counts = {row: 0 for row, its in tag_by_row.items() if its == tag}
    for epoch in range(10 * len(counts) // (draws * batches.steps) + 1):
        for batch in batches.epoch(epoch):
            for row in draws_of(batch, prepared)[tag]:
                counts[row] += 1
    drawn = np.array(list(counts.values()))
    chi_square = np.sum((drawn - drawn.mean()) ** 2 / drawn.mean()) / (len(drawn) - 1)
    assert 0.6 < chi_square < 1.5


@pytest.mark.parametrize("rows_from", ["in memory", pytest.param("streamed", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.usefixtures("rows_from")
def test_same_seed_and_epoch_give_the_same_batches_and_others_do_not(prepared, shared_experiment):
    def rows(experiment, epoch):
        batches = TrainingBatches(prepared, experiment, with_strata=True)
        return np.concatenate([[*b["features"]["row"], *b["strata"]["row"]] for b in batches.epoch(epoch)])

    first = rows(shared_experiment, 1)
    np.testing.assert_array_equal(first, rows(shared_experiment, 1))
    assert np.any(first != rows(shared_experiment, 2))
    assert np.any(first != rows(with_training(shared_experiment, seed=1), 1))


@pytest.mark.slow
def test_strata_too_large_to_be_held_are_rows_of_their_stratum_too(prepared, shared_experiment, tag_by_row, monkeypatch):
    """Common ones are natural rows of the batch, others stream; in time every row is drawn."""
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", 0)
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._HELD_ROWS", 20)
    batches = TrainingBatches(prepared, with_training(shared_experiment, strata_batch_size=104), with_strata=True)
    drawn: dict[str, set[int]] = {tag: set() for tag in strata(prepared.metadata)}
    for batch in (batch for epoch in (1, 2, 3) for batch in batches.epoch(epoch)):
        natural = set(batch["features"]["row"].numpy().astype(int))
        for tag, rows in draws_of(batch, prepared).items():
            assert {tag_by_row[row] for row in rows} == {tag}
            assert set(rows) <= natural or prepared.metadata.counts["train"][tag] * 512 < 64 * len(tag_by_row)
            drawn[tag] |= set(rows)
    for tag in ("01", "11"):
        assert drawn[tag] == {row for row, its in tag_by_row.items() if its == tag}
    assert len(drawn["00"]) > 1000


def same_elements(left, right):
    flat = [list(map(tf.nest.flatten, batches)) for batches in (left, right)]
    assert len(flat[0]) == len(flat[1]) > 0
    for ours, theirs in zip(*flat, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("most_bytes", "held", "block"), [(1 << 30, 0, 0), (0, 20, 700)], ids=str)
def test_an_epoch_from_a_step_on_is_the_rest_of_it(prepared, shared_experiment, monkeypatch, most_bytes, held, block):
    """From memory or from files, in one block or several, with strata held or not."""
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", most_bytes)
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._HELD_ROWS", held)
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._BLOCK_ROWS", block)
    batches = TrainingBatches(prepared, shared_experiment, with_strata=True)
    whole = list(batches.epoch(3))
    same_elements(whole[batches.steps - 1 :], batches.epoch(3, batches.steps - 1))
    # A worker of parameter servers knows its first step when its graph runs.
    same_elements(whole[1:], tf.data.Dataset.range(1, 2).flat_map(lambda first_step: batches.epoch(3, first_step)))


@pytest.mark.parametrize(
    ("most_bytes", "counts", "first_step"),
    [(1 << 30, [4], 0), (1 << 30, [1, 1, 1, 1], 2), (1 << 30, [3, 1], 0), (0, [3, 1], 2)],
    ids=str,
)
def test_the_parts_of_all_replicas_are_the_batches_of_one_device(
    prepared, shared_experiment, monkeypatch, most_bytes, counts, first_step
):
    """Whichever replicas share an input, from memory or from files: parts follow each other replica by replica."""
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", most_bytes)
    experiment = with_training(shared_experiment, strata_batch_size=32)
    whole = TrainingBatches(prepared, experiment, with_strata=True).epoch(2, first_step)
    batches = TrainingBatches(prepared, experiment, with_strata=True, replicas=4)
    firsts = np.cumsum([0, *counts[:-1]])
    parts = [list(batches.epoch(2, first_step, Shard(4, first, count))) for first, count in zip(firsts, counts, strict=True)]
    steps = batches.steps - first_step
    assert [len(elements) for elements in parts] == [count * steps for count in counts]
    for step, batch in enumerate(whole):
        replicas = [part[step * count + n] for part, count in zip(parts, counts, strict=True) for n in range(count)]
        np.testing.assert_array_equal(np.concatenate([r["features"]["row"] for r in replicas]), batch["features"]["row"])
        np.testing.assert_array_equal(np.concatenate([r["labels"] for r in replicas]), batch["labels"])
        for tag, rows in draws_of(batch, prepared).items():
            np.testing.assert_array_equal(np.concatenate([draws_of(r, prepared)[tag] for r in replicas]), rows)


def test_replicas_divide_a_batch_of_all_rows(prepared, shared_experiment):
    """A split smaller than a batch has any number of rows."""
    experiment = with_training(shared_experiment, batch_size=100_000)
    batches = TrainingBatches(prepared, experiment, with_strata=True, replicas=8)
    assert batches.batch_size == prepared.rows("train") // 8 * 8


@pytest.mark.usefixtures("rows_from")
@pytest.mark.parametrize("held", [2_000_000, 20], ids=["held", "streamed strata"])
def test_lists_and_weights_stay_with_their_rows(prepared, shared_experiment, monkeypatch, held):
    """Natural and drawn rows come from batches padded to different lengths."""
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._HELD_ROWS", held)

    def lists(columns):
        return [
            (int(row), ids[ids > 0].tolist(), weights[ids > 0].tolist(), others[others > 0].tolist())
            for row, ids, weights, others in zip(
                *(columns[name].numpy() for name in ("row", "tags", "tags_weights", "others")), strict=True
            )
        ]

    known = {
        entry[0]: entry for columns in split_batches(prepared, shared_experiment, "train", 100) for entry in lists(columns)
    }
    assert {len(ids) for _, ids, *_ in known.values()} == set(range(5))
    for batch in TrainingBatches(prepared, with_training(shared_experiment, strata_batch_size=104), with_strata=True).epoch(1):
        assert all(entry == known[entry[0]] for part in ("features", "strata") for entry in lists(batch[part]))


@pytest.mark.usefixtures("rows_from")
def test_fewer_rows_than_a_batch_make_one_full_batch(prepared, shared_experiment):
    batches = TrainingBatches(prepared, with_training(shared_experiment, batch_size=100_000), with_strata=False)
    (batch,) = batches.epoch(1)
    assert batches.steps == 1 and "strata" not in batch
    assert len(set(batch["features"]["row"].numpy())) == prepared.rows("train") == len(batch["labels"])


def test_thin_strata_and_terms_left_out_are_told(prepared, shared_experiment, monkeypatch, caplog):
    counts = dict(prepared.metadata.counts["train"])
    monkeypatch.setitem(prepared.metadata.counts, "train", {**counts, "01": 0, "11": 5})
    with caplog.at_level(logging.WARNING):
        TrainingBatches(prepared, shared_experiment, with_strata=True)
    assert "fewer than 32 training rows, whose draws repeat the same few: 11 (5)" in caplog.text
    assert "the negatives of 'finish' do not have both labels of 'like'; its ranking loss leaves that term out" in caplog.text
    assert "the positives of 'like' do not have both labels of 'finish'" in caplog.text
    assert len(caplog.records) == 3


def test_of_many_terms_left_out_some_are_told_and_the_others_counted(shared_experiment, prepared):
    names = ["finish", "like", "share", "buy"]
    experiment = shared_experiment.model_copy(
        update={"tasks": [shared_experiment.tasks[0].model_copy(update={"name": name}) for name in names]}
    )
    metadata = prepared.metadata.model_copy(update={"counts": {"train": {"0000": 500, "1111": 500}}})
    told = thin_strata(experiment, metadata)
    # Four tasks with three auxiliary ones each, among positives and among negatives.
    assert len(told) == 9 and told[-1] == "16 more terms of ranking losses are left out for the same reason"


def test_terms_that_given_tasks_never_have_are_no_news(prepared, shared_experiment):
    """Purchases given a click: no row without a click has a purchase label, and no purchase is without a click."""
    click, buy = shared_experiment.tasks
    experiment = shared_experiment.model_copy(update={"tasks": [click, buy.model_copy(update={"given": click.name})]})

    def told(**counts):
        return thin_strata(experiment, prepared.metadata.model_copy(update={"counts": {"train": counts}}))

    assert told(**{"0x": 500, "10": 300, "11": 200}) == []
    (sentence,) = told(**{"0x": 500, "11": 200})
    assert sentence.startswith("the positives of 'finish' do not have both labels of 'like'")


@pytest.fixture(scope="module")
def weighted(tmp_path_factory, shared_experiment, raw_rows):
    """The shared logs with the number of the row as its weight, one label in seven missing, and its prepared data."""
    folder = tmp_path_factory.mktemp("weighted")
    tasks = [shared_experiment.tasks[0], shared_experiment.tasks[1].model_copy(update={"optional": True})]
    experiment = shared_experiment.model_copy(update={"tasks": tasks, "sample_weight": "row"})
    rows = [row | {"like": ""} if number % 7 == 0 else row for number, row in enumerate(raw_rows[1])]
    with (folder / "logs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return experiment, prepare(experiment, [str(folder / "logs.csv")], folder / "data", quiet=True)


def test_sample_weights_are_divided_by_their_mean_over_the_training_split(weighted):
    """So that the unit in which logs hold weights changes neither the step nor the balance with the ranking losses."""
    experiment, data = weighted
    batch = next(iter(TrainingBatches(data, experiment, with_strata=True).epoch(1)))
    numbers = batch["features"]["row"].numpy()
    training = np.concatenate([columns["row"].numpy() for columns in split_batches(data, experiment, "train", 1000)])
    np.testing.assert_allclose(batch["weights"], numbers / training.mean(), rtol=1e-5)


def test_rows_without_a_label_have_strata_of_their_own(weighted):
    experiment, data = weighted
    assert strata(data.metadata) == ["00", "01", "0x", "10", "11", "1x"]
    for batch in TrainingBatches(data, experiment, with_strata=True).epoch(1):
        for tag, rows in draws_of(batch, data).items():
            assert {row % 7 == 0 for row in rows} == {tag.endswith("x")}
    counts = {"train": {"0x": 100, "1x": 100, "xx": 5, "11": 50, "10": 50}}
    assert strata(data.metadata.model_copy(update={"counts": counts})) == ["0x", "10", "11", "1x"], (
        "a row without any label is compared with none"
    )


@pytest.mark.parametrize("held", [2_000_000, 20], ids=["uniform", "natural rows"])
def test_draws_of_a_batch_estimate_eq_4(prepared, shared_experiment, monkeypatch, held):
    """Over many batches the mean is Eq. 4's value, also where large strata are rows of the batch."""
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", 0)
    monkeypatch.setattr("tf_crossdistil.data.streamed_rows._HELD_ROWS", held)
    experiment = with_training(shared_experiment, batch_size=300, strata_batch_size=24)
    columns = concat_rows(list(split_batches(prepared, experiment, "train", 1000)))
    labels, numbers = label_matrix(experiment, columns).numpy(), columns["row"].numpy().astype(int)
    scores = dict(zip(numbers, np.random.default_rng(0).normal(size=len(numbers)).astype(np.float32), strict=True))
    values = np.array([scores[number] for number in numbers])

    def term(above, below):
        return np.log1p(np.exp(values[below][None, :] - values[above][:, None])).mean()

    finish, like = (labels == 1).T
    exact = term(finish, ~finish) + term(finish & like, finish & ~like) + term(~finish & like, ~finish & ~like)
    weights = pair_weights(["finish", "like"], "finish", ["like"], prepared.metadata.counts["train"], 1.0, 1.0)
    loss = tf.function(lambda logits: augmented_ranking_loss(logits, weights))
    batches = TrainingBatches(prepared, experiment, with_strata=True)
    estimates = []
    for batch in (batch for epoch in range(3) for batch in batches.epoch(epoch)):
        rows = draws_of(batch, prepared)
        estimates.append(float(loss(np.array([[scores[row] for row in rows[tag]] for tag in sorted(rows)], np.float32))))
    assert abs(np.mean(estimates) - exact) < 3 * np.std(estimates) / np.sqrt(len(estimates))


@pytest.mark.usefixtures("rows_from")
def test_no_thread_of_a_tuner_outlives_an_epoch(prepared, shared_experiment):
    """TensorFlow's tuner would sometimes hold up the end of an epoch for as long as the epoch took."""
    batches = WatchedBatches(prepared, shared_experiment, True, 1, InputWatch())
    for elements in (batches.epoch(1), split_batches(prepared, shared_experiment, "validation", 64)):
        assert elements.options().autotune.enabled is False
