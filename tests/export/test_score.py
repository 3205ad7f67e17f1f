# SPDX-License-Identifier: Apache-2.0
"""One number out of several answers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.errors import UsageError
from tf_crossdistil.export.score import Score

TASKS = ["finish", "like", "share"]
PROBABILITIES = {"finish": [0.5, 0.25, 0.0], "like": [0.1, 1.0, 0.3], "share": [0.9, 0.9, 0.9]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weights:finish=1,like=0.5", [0.55, 0.75, 0.15]),
        ("weights: like = -2 , finish = 1e1", [4.8, 0.5, -0.6]),
        ("powers:finish=2,like=1", [0.025, 0.0625, 0.0]),
        ("powers:finish=0.5", [np.sqrt(0.5), 0.5, 0.0]),
        ("powers:finish=0,like=1", [0.1, 1.0, 0.3]),
    ],
)
@pytest.mark.parametrize("as_tensors", [False, True])
def test_score_is_the_weighted_sum_or_product(text, expected, as_tensors):
    kind = tf.constant if as_tensors else np.array
    values = Score.parse(text, TASKS)({task: kind(values, np.float32) for task, values in PROBABILITIES.items()})
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
    assert values.dtype == np.float32


def test_score_says_what_it_is():
    score = Score.parse("powers:finish=1,like=0.5", TASKS)
    assert dataclasses.asdict(score) == {"kind": "powers", "weights": {"finish": 1.0, "like": 0.5}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finish=1", "has no ':'.*weights:finish=1"),
        ("", "has no ':'"),
        ("weight:finish=1", "no kind 'weight'; did you mean 'weights'"),
        ("weights:", "'' is not TASK=NUMBER"),
        ("weights:finish", "'finish' is not TASK=NUMBER"),
        ("weights:finish=much", "'finish=much' is not TASK=NUMBER"),
        ("weights:finish=1,", "'' is not TASK=NUMBER"),
        ("weights:finsh=1", "no task 'finsh'; did you mean 'finish'"),
        ("weights:finish=1,finish=2", "'finish' is there twice"),
        ("weights:finish=nan", "'finish' is nan, expected a finite number"),
        ("powers:finish=inf", "'finish' is inf, expected a finite number"),
        ("powers:finish=-1", "power of 'finish' is -1.0, expected 0 or more"),
        ("weights:finish=0,like=0", "every weight is 0"),
    ],
)
def test_what_is_no_score_is_told(text, words):
    with pytest.raises(UsageError, match=words):
        Score.parse(text, TASKS)


def test_a_task_of_the_same_name_is_refused():
    with pytest.raises(UsageError, match="a task is called 'score'"):
        Score.parse("weights:like=1", ["like", "score"])


def test_its_size_is_that_of_its_terms_without_their_signs():
    sizes = {"finish": 1.0, "seconds": 3e5}
    assert Score("weights", {"finish": 2.0, "seconds": -0.5}).size(sizes) == 2 + 1.5e5
    assert Score("powers", {"finish": 2.0}).size(sizes) == 1
