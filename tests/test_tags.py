# SPDX-License-Identifier: Apache-2.0
"""Tags, the order of classes and the weights of pairs of tags, held to their definitions row by row."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tf_crossdistil.tags import (
    class_order,
    label_classes,
    observed_tags,
    pair_weights,
    positive_rate,
    ranked_classes,
    tag_codes,
    tag_labels,
    tag_of,
)

NAN = math.nan


def spelled(labels: np.ndarray) -> list[str]:
    return ["".join("x" if math.isnan(label) else str(int(label)) for label in row) for row in labels.tolist()]


def random_labels(generator: np.random.Generator, rows: int, tasks: int, missing: float = 0.3) -> np.ndarray:
    labels = generator.integers(0, 2, (rows, tasks)).astype(np.float32)
    labels[generator.random(labels.shape) < missing] = np.nan
    return labels


def counted(labels: np.ndarray) -> dict[str, int]:
    tags, counts = np.unique(spelled(labels), return_counts=True)
    return dict(zip(tags.tolist(), counts.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 38).flatmap(lambda tasks: arrays(np.float32, (5, tasks), elements=st.sampled_from([0.0, 1.0, NAN]))))
def test_a_tag_is_numbered_and_spelled_again(labels: np.ndarray) -> None:
    tasks = labels.shape[1]
    for given_labels in (labels, np.asfortranarray(labels), labels.astype(np.float64)):
        codes = tag_codes(given_labels)
        assert codes.dtype == np.int64 and codes.min() >= 0 and int(codes.max()) < 3**tasks
        assert [tag_of(code, tasks) for code in codes.tolist()] == spelled(labels)
    for row, tag in zip(labels, spelled(labels), strict=True):
        np.testing.assert_array_equal(tag_labels(tag), row)


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_every_code_has_a_tag_of_its_own(tasks: int) -> None:
    tags = [tag_of(code, tasks) for code in range(3**tasks)]
    assert tags == ["".join(digits) for digits in itertools.product("01x", repeat=tasks)]
    np.testing.assert_array_equal(tag_codes(np.array([tag_labels(tag) for tag in tags])), np.arange(3**tasks))


def test_whole_labels_keep_their_numbers_in_order() -> None:
    labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert spelled(labels) == ["00", "01", "10", "11"]
    assert np.all(np.diff(tag_codes(labels)) > 0)


def test_only_tags_with_rows_are_observed() -> None:
    assert observed_tags({"1x": 2, "11": 0, "00": 1, "x1": 4}) == ["00", "1x", "x1"]
    assert observed_tags({}) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_first_label_that_differs_decides(length: int) -> None:
    """Two rows compared label by label, as a person would."""

    def above(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
        if math.isnan(left[0]):
            return False
        for mine, other in zip(left, right, strict=True):
            if math.isnan(mine) != math.isnan(other):
                return False
            if mine != other and not math.isnan(mine):
                return mine > other
        return False

    rows = list(itertools.product([0.0, 1.0, NAN], repeat=length))
    classes = tag_codes(np.array(rows))
    order = class_order(length)
    assert order.shape == (3**length, 3**length)
    for (left, a), (right, b) in itertools.product(zip(rows, classes, strict=True), repeat=2):
        assert order[a, b] == above(left, right), (left, right)
    some = np.array([0, 3**length - 1, 3 ** (length - 1)])
    np.testing.assert_array_equal(class_order(length, some), order[np.ix_(some, some)])
    assert not (order & order.T).any()
    assert not (order.astype(int) @ order.astype(int) > 0)[~order].any(), "what ranks above ranks above all below that"


@pytest.mark.parametrize(
    "order, ranked",
    [(["a", "b"], ["11", "10", "01", "00"]), (["b", "a"], ["11", "01", "10", "00"])],
)
def test_order_of_two_tasks_is_the_papers(order: list[str], ranked: list[str]) -> None:
    labels = np.array([tag_labels(tag) for tag in ranked])
    classes = label_classes(labels, ["a", "b"], order)
    np.testing.assert_array_equal(class_order(2)[np.ix_(classes, classes)], np.triu(np.ones((4, 4), bool), 1))


def test_ranked_classes_number_the_classes_that_rows_have() -> None:
    labels = np.array([tag_labels(tag) for tag in ("110", "0x1", "110", "001")])
    classes, above = ranked_classes(labels, ["a", "b", "c"], ["c", "a"])
    assert classes.tolist() == [0, 1, 0, 1], "c, then a; b does not matter"
    np.testing.assert_array_equal(above, [[False, False], [True, False]])
    many = [f"t{index}" for index in range(12)]
    classes, above = ranked_classes(np.eye(12)[:3], many, many)
    assert above.shape == (3, 3) and above[np.ix_(classes, classes)][0, 1], "the cost is that of the classes that occur"


def test_classes_see_the_named_tasks_alone() -> None:
    labels = np.array([tag_labels(tag) for tag in ("110", "111", "100", "011", "1x0", "x10")])
    classes = label_classes(labels, ["a", "b", "c"], ["a", "b"])
    assert classes[0] == classes[1]
    above = class_order(2)[np.ix_(classes, classes)]
    assert above[0, 2] and above[2, 3] and above[4, 3], "a decides where it differs, b else"
    assert not above[4, [0, 2]].any() and not above[[0, 2], 4].any(), "where b is missing in one row it tells nothing"
    assert not above[5].any() and not above[:, 5].any(), "without its own label a row ranks nowhere"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.sampled_from([0.0, 0.3, 0.8]), st.data())
def test_weighted_pairs_of_tags_are_the_expectations_of_the_loss(
    seed: int, tasks: int, missing: float, data: st.DataObject
) -> None:
    """Against Eq. 4 written out row by row, every pair of rows with its probability; labels that are missing take no part."""
    generator = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"][:tasks]
    task = data.draw(st.sampled_from(names))
    auxiliary = data.draw(st.permutations([name for name in names if name != task]))[: data.draw(st.integers(0, tasks - 1))]
    labels = random_labels(generator, 30, tasks, missing)
    scores = generator.normal(size=30)
    beta1, beta2 = 0.7, 1.9

    def mean_pair_loss(above: np.ndarray, below: np.ndarray) -> float:
        pairs = list(itertools.product(np.flatnonzero(above), np.flatnonzero(below)))
        return float(np.mean([np.log1p(np.exp(scores[j] - scores[i])) for i, j in pairs])) if pairs else 0.0

    own = labels[:, names.index(task)]
    expected = mean_pair_loss(own == 1, own == 0)
    for name in auxiliary:
        other = labels[:, names.index(name)]
        expected += beta1 * mean_pair_loss((own == 1) & (other == 1), (own == 1) & (other == 0))
        expected += beta2 * mean_pair_loss((own == 0) & (other == 1), (own == 0) & (other == 0))

    counts = counted(labels)
    weights = pair_weights(names, task, auxiliary, counts, beta1, beta2)
    tags, rows = observed_tags(counts), np.array(spelled(labels))
    assert weights.shape == (len(tags), len(tags)) and weights.dtype == np.float32
    assert (weights >= 0).all()
    loss = sum(weights[a, b] * mean_pair_loss(rows == tags[a], rows == tags[b]) for a, b in np.argwhere(weights > 0))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_tag_without_the_tasks_own_label_weighs_nothing() -> None:
    counts = {"11": 3, "10": 4, "01": 5, "00": 6, "x1": 7, "x0": 8, "1x": 9, "0x": 10}
    tags, weights = observed_tags(counts), pair_weights(["a", "b"], "a", ["b"], counts, 1.0, 1.0)
    for tag in ("x0", "x1"):
        assert not weights[tags.index(tag)].any() and not weights[:, tags.index(tag)].any()
    # The term of a alone: 9 of 16 positives times 10 of 21 negatives.
    assert weights[tags.index("1x"), tags.index("0x")] == pytest.approx(9 / 16 * 10 / 21)
    assert not weights[tags.index("1x"), tags.index("10")]


def test_a_term_with_an_empty_side_is_left_out() -> None:
    nested = {"00": 5, "10": 3, "11": 2, "01": 0}
    tags, weights = observed_tags(nested), pair_weights(["click", "buy"], "click", ["buy"], nested, 1.0, 2.0)
    assert tags == ["00", "10", "11"]
    expected = np.zeros((3, 3))
    expected[1, 0], expected[2, 0], expected[2, 1] = 0.6, 0.4, 1.0
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert pair_weights(["a"], "a", [], {}, 1.0, 1.0).shape == (0, 0)
    assert not pair_weights(["a"], "a", [], {"1": 5}, 1.0, 1.0).any()


def test_positive_rates_are_never_certain() -> None:
    assert positive_rate({"00": 50, "10": 30, "11": 18}, 0) == pytest.approx(49 / 100)
    assert 0 < positive_rate({"00": 5}, 1) < positive_rate({"01": 5}, 1) < 1


def test_positive_rates_are_among_rows_with_the_label() -> None:
    counts = {"0x": 60, "10": 28, "11": 10, "x1": 4}
    assert positive_rate(counts, 0) == pytest.approx(39 / 100)
    assert positive_rate(counts, 1) == pytest.approx(15 / 44)
    assert positive_rate({"x1": 9}, 0) == 0.5
