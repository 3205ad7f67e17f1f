# SPDX-License-Identifier: Apache-2.0
"""Labels exchanged on purpose: how many, of which rows, and that everything in training sees the exchanged ones."""

import logging
from collections import Counter

import numpy as np
import pytest

from tf_crossdistil.data.label_exchange import LabelExchange, as_trained
from tf_crossdistil.data.loaded_split import load_split, loaded_batches
from tf_crossdistil.data.records import concat_rows, label_matrix, split_batches
from tf_crossdistil.data.strata import strata
from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.training.checks import check_trainable

TASKS = ["click", "buy"]
COUNTS = {"00": 60, "0x": 7, "10": 40, "11": 15, "1x": 9, "x0": 20, "x1": 5, "xx": 4}


def with_exchange(experiment, **shares):
    training = experiment.training.model_copy(update={"label_exchange": shares, "seed": 3})
    return experiment.model_copy(update={"training": training})


def labels_by_row(counts):
    """The labels `[rows, tasks]` that tags stand for, tag by tag, as text."""
    return np.array([list(tag) for tag in sorted(counts) for _ in range(counts[tag])])


def before_and_after(exchange, counts):
    """Labels as text, of the same rows: those before, and those that the exchange says, which its counts must say too."""
    rows = sum(counts.values())
    assert sorted(exchange.sources) == list(range(rows)) and sum(exchange.counts.values()) == rows
    before, after = labels_by_row(counts)[exchange.sources], labels_by_row(exchange.counts)
    for task, labels in exchange.labels.items():
        said = after[:, TASKS.index(task)]
        np.testing.assert_array_equal(labels, np.where(said == "x", "nan", said).astype(np.float32))
    return before, after


@pytest.mark.parametrize("share", [0.1, 0.33, 0.5, 0.9, 1.0])
def test_a_share_of_the_positives_and_as_many_negatives_change_sides(share):
    before, after = before_and_after(LabelExchange(TASKS, COUNTS, {"buy": share}, 0), COUNTS)
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    # 20 rows have a purchase, 120 have none.
    assert Counter(zip(before[:, 1], after[:, 1], strict=True)) == Counter(
        {
            ("1", "0"): round(20 * share),
            ("1", "1"): 20 - round(20 * share),
            ("0", "1"): round(20 * share),
            ("0", "0"): 120 - round(20 * share),
            ("x", "x"): 20,
        }
    )


def test_tasks_are_exchanged_apart():
    both = LabelExchange(TASKS, COUNTS, {"buy": 0.5, "click": 0.25}, 0)
    before, after = before_and_after(both, COUNTS)
    for task, changed in (("click", 16), ("buy", 10)):
        column = TASKS.index(task)
        assert [np.sum((before[:, column] == a) & (after[:, column] == b)) for a, b in ("10", "01")] == [changed] * 2
        alone = LabelExchange(TASKS, COUNTS, {task: {"buy": 0.5, "click": 0.25}[task]}, 0)
        assert changed_rows(alone, COUNTS, column) == changed_rows(both, COUNTS, column)


def changed_rows(exchange, counts, column):
    before, after = before_and_after(exchange, counts)
    return set(exchange.sources[before[:, column] != after[:, column]])


def test_every_row_is_as_likely():
    """Over many seeds each of 8 positive and 12 negative rows changes in its share of them; chi-square per side."""
    counts, seeds, changed = {"00": 5, "01": 3, "10": 7, "11": 5}, 1000, np.zeros(20)
    for seed in range(seeds):
        changed[list(changed_rows(LabelExchange(TASKS, counts, {"buy": 0.5}, seed), counts, 1))] += 1
    positive = labels_by_row(counts)[:, 1] == "1"
    for rows, share in ((positive, 4 / 8), (~positive, 4 / 12)):
        assert changed[rows].sum() == 4 * seeds
        # Drawn without putting back: the squares of all deviations add up to n (1 - share) binomial variances.
        square = np.sum((changed[rows] - seeds * share) ** 2) / (seeds * share * (1 - share))
        assert 0.2 < square / (rows.sum() - 1) < 2.5


def test_a_seed_repeats_and_a_larger_share_exchanges_the_same_rows_and_more():
    def rows(share, seed):
        return changed_rows(LabelExchange(TASKS, COUNTS, {"buy": share}, seed), COUNTS, 1)

    assert rows(0.3, 0) == rows(0.3, 0) < rows(0.5, 0)
    assert rows(0.3, 0) != rows(0.3, 1)


def test_too_few_negatives_are_refused(prepared, shared_experiment):
    words = (
        r"\{buy: 0.8\}: 8 of the 10 positive training rows of 'buy' are to be exchanged with as many negative ones, of which "
        r"there are only 7; give a share of at most 0.7$"
    )
    counts = {"00": 7, "01": 10}
    with pytest.raises(CrossDistilError, match=words):
        LabelExchange(TASKS, counts, {"buy": 0.8}, 0)
    assert LabelExchange(TASKS, counts, {"buy": 0.7}, 0).counts == counts
    with pytest.raises(CrossDistilError, match=r"only 0; leave 'buy' out of it$"):
        LabelExchange(TASKS, {"11": 10}, {"buy": 0.8}, 0)
    scarce = prepared.metadata.model_copy(update={"counts": prepared.metadata.counts | {"train": {"00": 2, "11": 10}}})
    with pytest.raises(CrossDistilError, match="there are only 2"):
        as_trained(with_exchange(shared_experiment, like=0.5), scarce)


@pytest.fixture(scope="module")
def exchanged(shared_experiment):
    return with_exchange(shared_experiment, like=0.6)


def rows_of(data, experiment, split):
    """The labels of every row of a split by the row's number."""
    columns = concat_rows(list(split_batches(data, experiment, split, 1024)))
    return dict(zip(columns["row"].numpy().astype(int), map(tuple, label_matrix(experiment, columns).numpy()), strict=True))


def plain_row(columns, number):
    """A row of a batch without its labels; lists without their padding."""
    return tuple(tuple(np.trim_zeros(np.ravel(column[number]), "b")) for _, column in sorted(columns.items()))


def test_batches_hold_the_same_rows_with_exchanged_labels_and_draws_are_of_the_new_strata(prepared, exchanged):
    clean, rows = rows_of(prepared, exchanged, "train"), prepared.rows("train")
    batches = TrainingBatches(prepared, exchanged, with_strata=True)
    natural: dict[int, tuple[float, ...]] = {}
    drawn = []
    tags = strata(as_trained(exchanged, prepared.metadata))
    assert tags == ["00", "01", "10", "11"]
    features = {}
    for batch in batches.epoch(1):
        numbers = batch["features"]["row"].numpy().astype(int)
        columns = {name: column.numpy() for name, column in batch["features"].items()}
        for place, (number, labels) in enumerate(zip(numbers, map(tuple, batch["labels"].numpy()), strict=True)):
            assert natural.setdefault(number, labels) == labels
            features[number] = plain_row(columns, place)
        drawn.append(batch["strata"]["row"].numpy().astype(int).reshape(len(tags), -1))
    assert set(natural) == set(clean)
    changed = Counter((clean[number][1], natural[number][1]) for number in clean)
    positives = sum(labels[1] == 1 for labels in clean.values())
    assert changed[1, 0] == changed[0, 1] == round(0.6 * positives) > 50
    assert all(clean[number][0] == natural[number][0] for number in clean)
    of_tags = Counter("".join(str(int(label)) for label in labels) for labels in natural.values())
    assert of_tags == as_trained(exchanged, prepared.metadata).counts["train"] != prepared.metadata.counts["train"]
    for tag, its in zip(tags, np.concatenate(drawn, axis=1), strict=True):
        assert {natural[number] for number in its} == {(float(tag[0]), float(tag[1]))}
    # Features stay with their rows.
    columns = {
        name: column.numpy() for name, column in concat_rows(list(split_batches(prepared, exchanged, "train", rows))).items()
    }
    own = {name: column for name, column in columns.items() if name not in ("finish", "like")}
    assert {int(number): plain_row(own, place) for place, number in enumerate(columns["row"])} == features


def test_nothing_else_sees_exchanged_labels(prepared, shared_experiment, exchanged):
    """After training has made batches of them: neither validation nor what `evaluate --split train` reads."""
    TrainingBatches(prepared, exchanged, with_strata=True)
    for split in ("train", "validation"):
        read = concat_rows(list(loaded_batches(load_split(prepared, exchanged, split), 1000)))
        np.testing.assert_array_equal(label_matrix(exchanged, read), list(rows_of(prepared, shared_experiment, split).values()))
    plain = with_exchange(shared_experiment)
    assert as_trained(plain, prepared.metadata) is prepared.metadata


def test_thin_strata_are_those_after_the_exchange(prepared, exchanged, monkeypatch, caplog):
    before, after = (each.counts["train"]["11"] for each in (prepared.metadata, as_trained(exchanged, prepared.metadata)))
    assert after != before
    monkeypatch.setattr("tf_crossdistil.data.strata.NEARLY_EMPTY_ROWS", after + 1)
    with caplog.at_level(logging.WARNING):
        TrainingBatches(prepared, exchanged, with_strata=True)
    assert f"11 ({after})" in caplog.text


def test_pairs_weigh_as_many_as_the_new_strata_have(prepared, exchanged, monkeypatch):
    asked = []
    real = CrossDistilModel.__init__.__globals__["pair_weights"]

    def noted(tasks, task, auxiliary, counts, *others):
        asked.append(dict(counts))
        return real(tasks, task, auxiliary, counts, *others)

    monkeypatch.setattr("tf_crossdistil.models.crossdistil.pair_weights", noted)
    CrossDistilModel(exchanged, prepared.metadata)
    assert asked == [as_trained(exchanged, prepared.metadata).counts["train"]] * 2


def test_a_split_too_large_for_memory_is_refused(prepared, shared_experiment, exchanged, monkeypatch):
    monkeypatch.setattr("tf_crossdistil.data.loaded_split.MOST_BYTES", 0)
    words = r"label_exchange is for a training split .* held in memory.* rows take .* GiB; prepare fewer rows, or leave"
    for refuses in (
        lambda: check_trainable(exchanged, prepared),
        lambda: TrainingBatches(prepared, exchanged, with_strata=False),
    ):
        with pytest.raises(CrossDistilError, match=words):
            refuses()
    check_trainable(shared_experiment, prepared)
