import itertools

import numpy as np
import pytest

from tf_crossdistil.tags import all_tags, multipartite_classes, pair_weights, positive_rate, tag_codes, tag_labels


def test_codes_number_the_tags():
    labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert [all_tags(2)[code] for code in tag_codes(labels)] == ["00", "01", "10", "11"]
    assert [tag_labels(tag) for tag in all_tags(2)] == [tuple(row) for row in labels]


def test_order_of_two_tasks_is_the_papers():
    by_tag = dict(zip(all_tags(2), multipartite_classes(["a", "b"], "a", ["b"]), strict=True))
    assert sorted(by_tag, key=by_tag.__getitem__, reverse=True) == ["11", "10", "01", "00"]
    by_tag = dict(zip(all_tags(2), multipartite_classes(["a", "b"], "b", ["a"]), strict=True))
    assert sorted(by_tag, key=by_tag.__getitem__, reverse=True) == ["11", "01", "10", "00"]


def test_tags_that_auxiliary_tasks_do_not_tell_apart_share_a_class():
    classes = dict(zip(all_tags(3), multipartite_classes(["a", "b", "c"], "a", ["b"]), strict=True))
    assert classes["110"] == classes["111"] > classes["100"] > classes["011"]


@pytest.mark.parametrize("tasks", [2, 3])
def test_weighted_pairs_of_tags_are_the_expectations_of_the_loss(tasks):
    """Against Eq. 4 written out row by row: every pair of rows with its probability."""
    generator = np.random.default_rng(tasks)
    names = ["a", "b", "c"][:tasks]
    labels = generator.integers(0, 2, (60, tasks))
    scores = generator.normal(size=60)
    codes = tag_codes(labels)
    counts = {tag: int((codes == code).sum()) for code, tag in enumerate(all_tags(tasks))}
    beta1, beta2 = 0.7, 1.9

    def mean_pair_loss(above, below):
        pairs = itertools.product(np.flatnonzero(above), np.flatnonzero(below))
        return np.mean([np.log1p(np.exp(scores[j] - scores[i])) for i, j in pairs])

    own = labels[:, 0] == 1
    expected = mean_pair_loss(own, ~own)
    for other in range(1, tasks):
        aux = labels[:, other] == 1
        expected += beta1 * mean_pair_loss(own & aux, own & ~aux) + beta2 * mean_pair_loss(~own & aux, ~own & ~aux)

    weights = pair_weights(names, "a", names[1:], counts, beta1, beta2)
    loss = sum(weights[a, b] * mean_pair_loss(codes == a, codes == b) for a, b in np.argwhere(weights > 0))
    assert loss == pytest.approx(expected, rel=1e-6)


def test_a_term_with_an_empty_side_is_left_out():
    nested = {"00": 5, "10": 3, "11": 2}
    weights = pair_weights(["click", "buy"], "click", ["buy"], nested, 1.0, 1.0)
    tags = all_tags(2)
    assert weights[tags.index("01")].sum() == weights[:, tags.index("01")].sum() == 0
    assert weights[tags.index("11"), tags.index("10")] > 0
    assert np.isfinite(weights).all()


def test_positive_rates_are_never_certain():
    assert positive_rate({"00": 50, "10": 30, "11": 18}, 0) == pytest.approx(49 / 100)
    assert 0 < positive_rate({"00": 5}, 1) < positive_rate({"01": 5}, 1) < 1
