# SPDX-License-Identifier: Apache-2.0
"""Distributions of streams, and the bins in which they are compared, against counts in plain Python."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_crossdistil.skew.bins import OovShares, id_bins, length_bins, number_bins
from tf_crossdistil.skew.distributions import IdLists, Ids, Numbers
from tf_crossdistil.skew.sample import UniformSample

NAMES = [str(number) for number in range(2000)]


def names(ids):
    return [NAMES[number] for number in ids]


def ids_of(values, ids=100, requests=None):
    distribution = Ids(ids)
    values = np.array(values, np.int64)
    distribution.add(values, values == 0, requests)
    return distribution


def numbers_of(values):
    distribution = Numbers()
    values = np.array(values, np.float32)
    distribution.add(values, np.isnan(values))
    return distribution


def by_name(bins, side):
    return dict(zip(bins.labels, getattr(bins, side).tolist(), strict=True))


def test_sample_is_all_of_a_short_stream():
    sample = UniformSample(10)
    sample.add(np.array([3, 1], np.float32))
    sample.add(np.array([2], np.float32))
    assert sample.sorted().tolist() == [1, 2, 3]


def test_sample_of_a_long_stream_is_uniform():
    sample = UniformSample(2000)
    for first in range(0, 100_000, 1000):
        sample.add(np.arange(first, first + 1000, dtype=np.float32))
    kept = sample.sorted()
    assert len(kept) == len(set(kept.tolist())) == 2000
    # Of 20 equal parts of the stream each has 100, give or take four deviations.
    parts = np.bincount((kept // 5000).astype(int), minlength=20)
    assert abs(parts - 100).max() < 40


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=20))
def test_rows_of_a_request_that_share_a_value_count_once(requests):
    starts = np.cumsum([0, *map(len, requests[:-1])])
    distribution = ids_of([value for request in requests for value in request], requests=starts)
    assert distribution.independent == sum(1 if len(set(request)) == 1 else len(request) for request in requests)
    assert distribution.rows == sum(map(len, requests))


def test_independent_rows_of_lists_and_numbers():
    lists = IdLists(10, 2)
    values = np.array([[1, 2], [1, 2], [1, 2], [2, 1], [0, 0], [0, 0]])
    lists.add(values, (values == 0).all(axis=1), np.array([0, 2, 4]))
    assert lists.independent == 1 + 2 + 1
    numbers = Numbers()
    values = np.array([np.nan, np.nan, 1, np.nan, 1, 1], np.float32)
    numbers.add(values, np.isnan(values), np.array([0, 2, 4]))
    assert numbers.independent == 1 + 2 + 1


def test_frequent_ids_have_bins_of_their_own():
    generator = np.random.default_rng(0)
    known, found = generator.zipf(1.5, 5000) % 60, generator.zipf(1.3, 3000) % 60
    bins = id_bins(ids_of(known), ids_of(found), OovShares(50, None), names)
    counts = Counter(known[(known > 0) & (known < 50)].tolist())
    frequent = sorted(counts, key=lambda number: (-counts[number], number))[:20]
    frequent = [number for number in frequent if counts[number] * 3000 / 5000 >= 5]
    for side, values in (("expected", known), ("observed", found)):
        shares = by_name(bins, side)
        for number in frequent:
            assert shares.pop(str(number)) == pytest.approx(np.mean(values == number))
        assert shares.pop("missing") == pytest.approx(np.mean(values == 0))
        assert shares.pop("out of vocabulary") == pytest.approx(np.mean(values >= 50))
        rest = [number for number in range(1, 50) if number not in frequent]
        assert sum(shares.values()) == pytest.approx(np.mean(np.isin(values, rest)))


def test_others_are_groups_of_like_frequency():
    """A thousand equally rare values: requests with one of them only do not hide."""
    known = np.repeat(np.arange(1, 1001), 20)
    bins = id_bins(ids_of(known, 1001), ids_of(np.full(1000, 700), 1001), None, names)
    others = [share for name, share in by_name(bins, "expected").items() if name.startswith("other values")]
    assert others == pytest.approx([0.1] * 10)
    assert bins.psi.drift > 1


def test_oov_up_to_that_of_unseen_rows_is_expected():
    known = np.repeat(np.arange(1, 101), 10)
    found = np.append(np.tile(np.arange(1, 101), 9), np.full(100, 101))
    compare = {
        unseen: id_bins(ids_of(known, 102), ids_of(found, 102), OovShares(101, unseen), names)
        for unseen in (None, 0.05, 0.1, 0.3)
    }
    expected = {unseen: by_name(bins, "expected")["out of vocabulary"] for unseen, bins in compare.items()}
    assert expected == pytest.approx({None: 0.0, 0.05: 0.05, 0.1: 0.1, 0.3: 0.1})
    assert all(bins.expected.sum() == pytest.approx(1) for bins in compare.values())
    assert compare[0.1].psi.value == compare[0.3].psi.value == pytest.approx(0, abs=1e-4)
    assert compare[None].psi.drift > 0.25
    same = id_bins(ids_of(known, 102), ids_of(known, 102), OovShares(101, 0.3), names)
    assert same.psi.value == 0


def test_rare_values_give_way_to_the_oov():
    known = [1] * 800 + list(range(2, 202))
    found = [1] * 800 + list(range(2, 102)) + [500] * 100
    bins = id_bins(ids_of(known, 600), ids_of(found, 600), OovShares(202, 0.1), names)
    shares = by_name(bins, "expected")
    assert shares["1"] == pytest.approx(0.8, abs=0.001)
    assert shares["out of vocabulary"] == pytest.approx(0.1)


def test_rare_values_keep_a_part_where_the_oov_is_more_than_theirs():
    """Two fifths of unseen rows are out of vocabulary, a fifth of training is rare: some of these come again all the same."""
    known = [1] * 800 + list(range(2, 202))
    found = [1] * 560 + list(range(2, 202, 5)) + [500] * 400
    bins = id_bins(ids_of(known, 600), ids_of(found, 600), OovShares(202, 0.4), names)
    rare = sum(share for name, share in by_name(bins, "expected").items() if name.startswith("other values"))
    # A quarter of their fifth, next to four fifths less a 201st of what is taken; then both scaled to what is left.
    assert rare == pytest.approx(0.6 * 0.05 / (0.05 + 0.8 - 0.4 / 201))
    assert bins.psi.drift == 0


# Buckets, values, how uneven they are, rows of training and of requests: from hardly any bucket hit to nearly all of them.
HASHED = {
    "ids of their own": (50_000, 10**9, 0.0, 8000, 2000),
    "many buckets, few rows": (50_000, 250_000, 0.8, 8000, 2000),
    "many buckets, many rows": (50_000, 250_000, 0.8, 250_000, 3000),
    "one in two hit": (40_000, 20_000, 0.8, 30_000, 2000),
    "even values": (20_000, 10_000, 0.0, 20_000, 2000),
    "few buckets": (1000, 5000, 0.8, 30_000, 2000),
    "few buckets, few rows": (1000, 5000, 0.8, 3000, 2000),
    "fewer values than buckets": (1000, 300, 1.0, 30_000, 2000),
}


@cache
def hashed_draws(case):
    """Training and held-out rows of one distribution, and rows of training again."""
    buckets, values, uneven, known, found = HASHED[case]
    generator = np.random.default_rng(0)
    if values > 1e8:
        draws = generator.integers(0, buckets, known + found)
    else:
        shares = np.arange(1, values + 1) ** -uneven
        draws = generator.integers(0, buckets, values)[generator.choice(values, known + found, p=shares / shares.sum())]
    return draws[:known], draws[known:], generator.choice(draws[:known], found, replace=False)


def hashed_ids(values, buckets):
    distribution = Ids(buckets)
    distribution.add(values, np.zeros(len(values), bool))
    return distribution


def id_names(ids):
    return [str(number) for number in ids]


@pytest.mark.parametrize("case", HASHED)
def test_held_out_rows_of_hashed_values_do_not_drift(case):
    buckets = HASHED[case][0]
    known, unseen, again = hashed_draws(case)
    training = hashed_ids(known, buckets)
    for found in (unseen, again, np.concatenate([unseen[::2], again[::2]])):
        bins = id_bins(training, hashed_ids(found, buckets), None, id_names)
        assert bins.expected.sum() == pytest.approx(1) == bins.observed.sum()
        assert bins.expected.min() >= 0
        assert by_name(bins, "observed")["values that training lacks"] == pytest.approx(np.mean(~np.isin(found, known)))
        assert bins.psi.drift < 0.04
    same = id_bins(training, training, None, id_names)
    assert same.psi.value == 0


@pytest.mark.parametrize("case", [case for case in HASHED if case != "ids of their own"])
def test_hashed_values_that_did_drift_are_seen(case):
    buckets, _, _, _, rows = HASHED[case]
    known, unseen, _ = hashed_draws(case)
    training = hashed_ids(known, buckets)
    # Half of the rows now have a thousand ids that training did not know, then one and the same.
    empty = np.setdiff1d(np.arange(buckets), known)
    changes = [np.resize(empty, rows // 2), np.full(rows // 2, known[0])]
    for change in changes if len(empty) > 0 and len(empty) < 0.75 * buckets else changes[1:]:
        found = np.concatenate([unseen[: rows // 2], change])
        assert id_bins(training, hashed_ids(found, buckets), None, id_names).psi.drift > 0.25


def test_unseen_ids_of_a_shared_vocabulary_are_no_drift():
    """Another feature put ids 1 to 4999 into the vocabulary."""
    generator = np.random.default_rng(0)
    shares = np.arange(1, 5000) ** -0.8
    known, found = (1 + generator.choice(4999, rows, p=shares / shares.sum()) for rows in (5000, 2000))
    bins = id_bins(ids_of(known, 5001), ids_of(found, 5001), OovShares(5000, 0.0), id_names)
    expected, observed = (by_name(bins, side)["values that training lacks"] for side in ("expected", "observed"))
    assert observed == pytest.approx(np.mean(~np.isin(found, known)))
    assert expected == pytest.approx(observed, abs=0.02)
    assert bins.psi.drift < 0.05


def test_lists_give_each_value_its_part_of_the_row():
    lists = IdLists(8, 3)
    values = np.array([[1, 0, 2], [0, 0, 0], [3, 3, 3], [1, 2, 3]])
    lists.add(values, (values == 0).all(axis=1))
    assert lists.counts.tolist() == pytest.approx([0, 0.5 + 1 / 3, 0.5 + 1 / 3, 1 + 1 / 3, 0, 0, 0, 0])
    assert lists.values.tolist() == [0, 2, 2, 4, 0, 0, 0, 0]
    assert lists.lengths.tolist() == [0, 0, 1, 2]
    assert (lists.missing, lists.mean_length) == (1, 2.0)


def test_lengths_are_compared():
    def lists(lengths):
        distribution = IdLists(8, 4)
        values = np.array([[1] * length + [0] * (4 - length) for length in lengths])
        distribution.add(values, (values == 0).all(axis=1))
        return distribution

    bins = length_bins(lists([0, 1, 2, 2, 4] * 50), lists([0, 1, 1, 1, 1] * 50))
    assert by_name(bins, "expected") == pytest.approx(
        {"length 2": 0.4, "length 1": 0.2, "length 4": 0.2, "lengths that training lacks": 0, "missing": 0.2}
    )
    assert by_name(bins, "observed") == pytest.approx(
        {"length 2": 0, "length 1": 0.8, "length 4": 0, "lengths that training lacks": 0, "missing": 0.2}
    )
    assert bins.labels[bins.largest_change] == "length 1"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-5, 5) | st.floats(-100, 100, width=32) | st.just(np.nan), min_size=1, max_size=80),
    st.lists(st.integers(-8, 8) | st.floats(-200, 200, width=32) | st.just(np.nan), min_size=1, max_size=80),
)
def test_every_number_is_in_one_bin(known, found):
    training, requests = numbers_of(known), numbers_of(found)
    bins = number_bins(training, requests)
    for shares, values in ((bins.expected, known), (bins.observed, found)):
        assert shares.sum() == pytest.approx(1)
        assert shares[-1] == pytest.approx(np.mean(np.isnan(values)))
        for label, share in zip(bins.labels[:-1], shares, strict=False):
            low, high = map(float, label.split(" to ") if " to " in label else [label] * 2)
            # Labels are rounded to six digits.
            room = 1e-4 + 1e-5 * abs(np.array(values))
            inside = (np.array(values) > low - room) & (np.array(values) <= high + room)
            assert share <= np.mean(inside) + 1e-9


def test_deciles_of_many_numbers():
    known = np.random.default_rng(0).permutation(1000)
    bins = number_bins(numbers_of(known), numbers_of(known + 300))
    # Nine deciles and both ends: below 0, (-, 99], ..., (899, 999], above 999.
    assert bins.expected.tolist() == pytest.approx([0, *[0.1] * 10, 0, 0])
    assert bins.observed.tolist() == pytest.approx([0, 0, 0, 0, *[0.1] * 7, 0.3, 0])


def test_a_constant_has_a_bin_of_its_own():
    bins = number_bins(numbers_of([5.0] * 500), numbers_of([4.0] * 500))
    assert sorted(bins.expected.tolist()) == [0, 0, 0, 1]
    assert bins.psi.drift > 1
    assert by_name(bins, "expected")["5"] == by_name(bins, "observed")["-inf to 5"] == 1
    zero = number_bins(numbers_of([0.0] * 500), numbers_of([0.0] * 500))
    assert zero.labels == ["-inf to 0", "0", "0 to inf", "missing"]
    assert number_bins(numbers_of([5.0] * 500), numbers_of([5.0] * 50)).psi.value == 0


def test_missing_numbers_are_taken_out_of_the_default():
    numbers = numbers_of([0.0] * 30 + [1.0] * 70)
    numbers.set_missing(0.0, 20)
    assert (numbers.missing, numbers.sorted().tolist()) == (20, [0.0] * 10 + [1.0] * 70)


def test_missing_text_is_taken_out_of_its_bucket():
    ids = ids_of([3] * 30 + [4] * 70)
    ids.set_missing(3, 20)
    assert (ids.missing, ids.counts[3], ids.counts[4]) == (20, 10, 70)


def test_nothing_but_missing_on_either_side():
    empty, full = numbers_of([np.nan] * 300), numbers_of(np.arange(300))
    for known, found in ((empty, full), (full, empty)):
        bins = number_bins(known, found)
        assert bins.psi.drift > 1
    assert number_bins(empty, empty).psi.value == 0
    assert id_bins(ids_of([0] * 300), ids_of([1] * 300), OovShares(50, 0.0), names).psi.drift > 1
