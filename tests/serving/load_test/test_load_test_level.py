# SPDX-License-Identifier: Apache-2.0
"""What a level of a load test sums up: percentiles, throughput, errors; and how it is shown."""

import json
import math
from array import array
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from serving.load_test.level import Latency, Level
from serving.load_test.plot import levels_figure, save_plot
from serving.load_test.record import Record
from serving.load_test.table import levels_table, notes


def record(latencies, seconds, errors=None, first_error=None):
    return Record(array("d", latencies), Counter(errors or {}), first_error, seconds)


def by_sorting(values, percent):
    """A percentile by its definition: the place among the sorted values, between two of them on the line through both."""
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@pytest.mark.parametrize("count", [1, 2, 3, 99, 100, 101, 5000])
def test_percentiles_are_those_of_all_latencies(count):
    values = np.random.default_rng(count).lognormal(-5, 1, count)
    latency = Latency.of(values)
    expected = [1000 * by_sorting(values.tolist(), percent) for percent in (50, 90, 99, 100)]
    assert [latency.p50, latency.p90, latency.p99, latency.max] == pytest.approx(expected, rel=1e-12)


def test_percentiles_are_over_all_callers_together():
    slow, fast = [0.4] * 10, [0.1] * 90
    level = Level.of([record(slow, 4), record(fast, 9)], 1, 0.5)
    assert level.latency == Latency(p50=100, p90=1000 * by_sorting(slow + fast, 90), p99=400, max=400)


def test_throughput_is_the_sum_of_what_each_caller_had():
    # The second one waited for one answer only, which says nothing about the first one's ten a second.
    level = Level.of([record([0.1] * 20, 2.0), record([8.0], 8.0)], 64, 0.5)
    assert level.requests_per_second == pytest.approx(10 + 1 / 8)
    assert level.rows_per_second == pytest.approx(64 * (10 + 1 / 8))


def test_errors_are_counted_by_kind_and_the_earliest_is_told():
    records = [
        record([0.1], 1, {"timeout": 2, "unavailable": 1}, (7.0, "later")),
        record([0.1], 1),
        record([], 1, {"timeout": 1}, (5.0, "sooner")),
    ]
    level = Level.of(records, 1, 0.5)
    assert (level.requests, level.failed, level.errors) == (6, 4, {"timeout": 3, "unavailable": 1})
    assert level.first_error == "sooner"
    assert level.requests_per_second == pytest.approx(2)


def test_a_level_where_nothing_succeeded():
    level = Level.of([record([], 1, {"timeout": 1}, (1.0, "too late"))], 1, 0.5)
    assert (level.latency, level.requests_per_second, level.requests) == (None, 0, 1)
    assert json.loads(json.dumps(level.document()))["latency_ms"] is None
    assert notes([level]) == [
        "concurrency 1: 1 of 1 requests failed (1 timeout), with which the test ended; the first: too late"
    ]
    assert cells([level])[0] == ["1", "1", "1", "-", "-", "-", "-", "0.00", "0", "50%"]


def test_the_document_has_every_number():
    level = Level.of([record([0.001, 0.003], 0.5, {"timeout": 1}, (1.0, "too late"))], 8, 0.25)
    document = json.loads(json.dumps(level.document()))
    percentiles = document.pop("latency_ms")
    assert document == {
        "concurrency": 1,
        "requests": 3,
        "errors": {"timeout": 1},
        "first_error": "too late",
        "requests_per_second": 4.0,
        "rows_per_second": 32.0,
        "client_cpu": 0.25,
    }
    assert percentiles == pytest.approx({"p50": 2.0, "p90": 2.8, "p99": 2.98, "max": 3.0})


def cells(levels):
    """The rows of the printed table."""
    console = Console(width=80, no_color=True)
    with console.capture() as shown:
        console.print(levels_table(levels))
    return [words for line in shown.get().splitlines() if (words := line.split()) and words[0].isdigit()]


GOOD = Level.of([record([0.001] * 1500, 1.0)] * 2, 64, 0.5)
BAD = Level.of([record([0.0125] * 3, 1.0, {"timeout": 1}, (1.0, "too late"))] * 4, 64, 0.97)


def test_the_table():
    assert cells([GOOD, BAD]) == [
        ["2", "3,000", "0", "1.00", "1.00", "1.00", "1.00", "3,000", "192,000", "50%"],
        ["4", "16", "4", "12.50", "12.50", "12.50", "12.50", "12.00", "768", "97%"],
    ]


@pytest.mark.parametrize(
    ("errors", "shown"),
    [(100, ["16", "17,600", "1,600", *["1,235"] * 4, "16,000", "512,000", "100%"]), (123_456_789, None)],
)
def test_large_numbers_are_never_cut_off(errors, shown):
    level = Level.of([record([1.23456] * 1000, 1.0, {"UNAVAILABLE": errors}, (1.0, "full"))] * 16, 32, 1.0)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(levels_table([level]))
    assert "…" not in capture.get()
    assert shown is None or cells([level]) == [shown]


def test_notes_tell_errors_and_where_the_client_was_the_limit():
    errors, limit = notes([GOOD, BAD])
    assert errors == "concurrency 4: 4 of 16 requests failed (4 timeout); the first: too late"
    assert "load generator" in limit and "concurrency 4:" in limit
    assert notes([GOOD]) == []


def points(line):
    return np.asarray(line.get_xydata()).tolist()


def test_the_plot_shows_the_numbers_of_the_levels():
    latency, throughput = levels_figure([GOOD, BAD], "a title").axes
    lines = {line.get_label(): points(line) for line in latency.lines}
    assert list(lines) == ["p50", "p90", "p99"]
    assert lines["p50"] == [[2, pytest.approx(1.0)], [4, pytest.approx(12.5)]]
    rates, failing = throughput.lines
    assert points(rates) == [[2, 3000], [4, 12]]
    assert points(failing) == [[4, 12]]
    assert "ms" in latency.get_ylabel() and "requests/s" in throughput.get_ylabel()
    assert [label.get_text() for label in throughput.get_xticklabels()] == ["2", "4"]


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plots_are_images_of_the_suffix(tmp_path, suffix, begins):
    path = tmp_path / f"load.{suffix}"
    save_plot([GOOD], "the model 'a$b$c'", path)
    assert path.read_bytes().startswith(begins)
