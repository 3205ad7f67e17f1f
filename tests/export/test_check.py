# SPDX-License-Identifier: Apache-2.0
"""A version that answers otherwise than the live model is found, and said where."""

from contextlib import nullcontext

import numpy as np
import pytest

from tests.export.mixed_model import LABEL, mixed_model
from tests.models.small_model import small_rows, small_run
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.export import check
from tf_crossdistil.export.check import check_answers
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.score import Score
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.export.version_one import VersionOneModel

SCORE = Score("powers", {"finish": 2.0, "like": 0.5})


FEATURES = [
    {"name": "user", "kind": "categorical", "dim": 3},
    {"name": "duration", "kind": "numeric", "transform": "standardize"},
    {"name": "tags", "kind": "multi_value", "dim": 2, "weights": "w"},
]


class Written:
    """A small model with a score, as a SavedModel, and what the live one says."""

    def __init__(self, folder):
        self.model, self.experiment = mixed_model(features=FEATURES)
        self.run = small_run(folder, self.model, self.experiment)
        self.directory = folder / "1"
        ServedModel(self.model, self.run.vocabularies, SCORE).save(self.directory)

    def live(self, rows):
        return live_answers(self.run, rows, self.model)

    def check(self, live=None):
        return self.check_with(SCORE, live)

    def check_with(self, score, live=None, label=LABEL):
        metadata = self.model.metadata.model_copy(update={"numeric": {"seconds": label}})
        return check_answers(self.directory, live or self.live, self.experiment, metadata, small_rows(), score)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return Written(tmp_path_factory.mktemp("written"))


@pytest.fixture(scope="module")
def loaded(written):
    with VersionOneModel(written.directory) as model:
        yield model


@pytest.fixture
def answering(monkeypatch, loaded):
    """Lets the check find a version that is loaded already, with its answers changed."""

    def answering(change=lambda signature, answers: answers):
        def model(signature, inputs):
            return change(signature, loaded(signature, inputs))

        monkeypatch.setattr(check, "VersionOneModel", lambda directory: nullcontext(model))

    return answering


def test_the_live_model_s_own_export_passes_and_a_row_of_missing_values_is_asked_too(written):
    seen = []

    def live(rows):
        seen.extend(rows)
        return written.live(rows)

    assert 0 <= written.check(live) <= 1e-6
    assert seen[:-1] == small_rows()
    missing = seen[-1]
    assert missing == {"user": "", "duration": 0.0, "tags": [], "tags_weights": []}


@pytest.mark.parametrize(
    ("row", "change", "words"),
    [
        (2, 3e-6, "for row 3 of the sample, serving_default answers .* for 'like' and the live model "),
        (0, np.nan, "for row 1 of the sample, serving_default answers .* for 'like' and the live model nan"),
        (4, -1e-3, "for a row of nothing but missing values, serving_default answers .* for 'like'"),
    ],
)
def test_a_difference_says_task_row_and_signature(written, answering, row, change, words):
    def live(rows):
        answers = {task: values.copy() for task, values in written.live(rows).items()}
        answers["like"][row] += change
        return answers

    answering()
    with pytest.raises(CrossDistilError, match=words):
        written.check(live)


@pytest.mark.parametrize(
    ("signature", "output", "change", "words"),
    [
        ("serving_default", "finish", lambda values: values + 1e-5, "serving_default answers .* for 'finish'"),
        ("serving_default", "score", lambda values: values + 1e-5, "serving_default answers .* for 'score'"),
        ("predict_examples", "like", lambda values: values * np.inf, "predict_examples answers inf for 'like'"),
        ("predict_examples", "score", lambda values: values * np.nan, "predict_examples answers nan for 'score'"),
        ("regress_finish", "outputs", lambda values: values[::-1], "regress_finish answers .* for 'finish'"),
        ("regress_seconds", "outputs", lambda values: values[::-1], "regress_seconds answers .* for 'seconds'"),
        ("classify_like", "scores", lambda values: values[:, ::-1], "classify_like answers .* for 'like'"),
        ("classify_like", "scores", lambda values: values * [2, 1], "classify_like answers .* for 'like'"),
        ("classify_finish", "classes", lambda values: values[:, ::-1], "classify_finish gives other classes than 0, 1"),
    ],
)
def test_every_signature_and_output_is_looked_at(written, answering, signature, output, change, words):
    answering(lambda asked, answers: answers | {output: change(answers[output])} if asked == signature else answers)
    with pytest.raises(CrossDistilError, match=words):
        written.check()


def test_a_signature_that_lacks_an_output_is_found(written, answering):
    answering(lambda _, answers: {name: values for name, values in answers.items() if name != "like"})
    with pytest.raises(
        CrossDistilError, match="serving_default answers finish, score, seconds, expected finish, seconds, like"
    ):
        written.check()


def test_a_version_that_cannot_be_loaded_is_told(written, tmp_path):
    with pytest.raises(CrossDistilError, match="cannot be loaded and asked as TF Serving does"):
        check_answers(tmp_path, written.live, written.experiment, written.model.metadata, small_rows())


def test_a_score_is_held_to_its_own_size(written, answering):
    large = Score("weights", {"finish": 1e6, "like": 1.0})

    def check_score(error):
        factor = np.float32(1 + error)
        answering(lambda _, answers: answers | {"score": large(answers) * factor} if "score" in answers else answers)
        return written.check_with(large)

    assert check_score(0.0) <= 1e-6
    with pytest.raises(CrossDistilError, match="for 'score'"):
        check_score(1e-5)


def changed_seconds(answering, change):
    answering(lambda _, answers: answers | {"seconds": change(answers["seconds"])} if "seconds" in answers else answers)


@pytest.mark.parametrize("scale", ["mean", "deviation"])
def test_values_are_held_to_the_scale_of_their_label(written, answering, scale):
    """Values around 3e5, and sums that end near 0, cannot agree to an absolute 1e-6."""
    label = LABEL.model_copy(update={scale: 1e6})
    changed_seconds(answering, lambda values: values + np.float32(50))
    assert written.check_with(SCORE, label=label) == pytest.approx(5e-5, rel=1e-2)
    changed_seconds(answering, lambda values: values + np.float32(200))
    with pytest.raises(CrossDistilError, match=r"for 'seconds' .* expected a difference of at most 1e\+02; this is a fault"):
        written.check_with(SCORE, label=label)


def test_values_are_held_to_the_largest_of_them_where_that_is_larger(written, answering):
    narrow = LABEL.model_copy(update={"mean": 0.0, "deviation": 1e-3})
    changed_seconds(answering, lambda values: values * np.float32(1 + 5e-5))
    assert written.check_with(SCORE, label=narrow) == pytest.approx(5e-5, rel=1e-2)
    changed_seconds(answering, lambda values: values * np.float32(1 + 2e-4))
    with pytest.raises(CrossDistilError, match="for 'seconds'"):
        written.check_with(SCORE, label=narrow)


def test_a_score_whose_terms_cancel_out_is_held_to_their_size(written, answering):
    answers = written.live(small_rows())
    cancelling = Score("weights", {"seconds": 1.0, "finish": -float(answers["seconds"][0] / answers["finish"][0])})
    assert abs(cancelling(answers)[0]) < 0.01
    answering(lambda _, each: each | {"score": cancelling(each)} if "score" in each else each)
    assert written.check_with(cancelling) <= 1e-6


def test_a_score_that_does_not_suit_the_tasks_is_refused(written):
    with pytest.raises(UsageError, match="no task 'share'"):
        ServedModel(written.model, written.run.vocabularies, Score("weights", {"share": 1.0}))
    with pytest.raises(UsageError, match="'seconds' is a regression task"):
        ServedModel(written.model, written.run.vocabularies, Score("powers", {"seconds": 2.0}))
