# SPDX-License-Identifier: Apache-2.0
"""What each distillation method trains, beside one step of the whole method (`test_train_step`)."""

import numpy as np
import pytest

from tests.models import numpy_oracle as oracle
from tests.models.small_model import run_step, small_batch, small_model
from tf_crossdistil.errors import UsageError


def test_plain_backbone_has_no_teacher_and_needs_no_strata():
    model, _ = small_model(distillation={"method": "none"})
    batch = small_batch()
    del batch["strata"]
    logged = run_step(model, batch)
    assert set(logged) == {"loss", "finish", "like"}
    assert not [name for name in oracle.parameters_of(model) if "+" in name]


def test_taug_trains_teachers_without_distillation():
    model, _ = small_model(distillation={"method": "taug", "alpha": 0.9})
    logged = run_step(model, small_batch())
    assert set(logged) == {"loss", "finish", "like", "finish+", "like+", "calibration"}
    labels = small_batch()["labels"]
    logits = small_model(distillation={"method": "taug", "alpha": 0.9})[0](small_batch()["features"])["finish"]
    expected = np.mean(oracle.cross_entropy(labels[:, 0], logits.numpy()))
    assert float(logged["finish"]) == pytest.approx(expected, abs=1e-5)


def terms_of(method, **distillation):
    model, _ = small_model(distillation={"method": method, "alpha": 0.3, "margin": 0.2, "temperature": 1.5, **distillation})
    model.calibration.calibrator.free_scale.assign([0.3, 1.2])
    batch = small_batch()
    logits = model(batch["features"])
    natural = {task: values.numpy() for task, values in logits.items()}
    return model.losses_by_name(batch, logits), natural, batch["labels"], model


@pytest.mark.parametrize(
    ("method", "calibrated", "corrected", "teacher_of"),
    [
        ("crossdistil", True, True, {"finish": "finish+", "like": "like+"}),
        ("without_auxiliary_ranking", True, True, {"finish": "finish+", "like": "like+"}),
        ("without_calibration", False, True, {"finish": "finish+", "like": "like+"}),
        ("without_correction", True, False, {"finish": "finish+", "like": "like+"}),
        ("kd_same_task", False, False, {"finish": "finish+", "like": "like+"}),
        ("kd_cross_task", False, False, {"finish": "like+", "like": "finish+"}),
    ],
)
def test_each_method_distils_what_the_paper_says(method, calibrated, corrected, teacher_of):
    terms, logits, labels, model = terms_of(method)
    for index, (task, weight) in enumerate({"finish": 1.0, "like": 0.5}.items()):
        teacher = logits[teacher_of[task]]
        if calibrated:
            scaling = model.calibration.calibrator
            teacher = scaling.scale[index].numpy() * teacher + scaling.offset[index].numpy()
        if corrected:
            sign = 2 * labels[:, index] - 1
            teacher = sign * np.maximum(sign * teacher, 0.2)
        expected = oracle.cross_entropy(oracle.sigmoid(teacher / 1.5), logits[task] / 1.5).mean()
        assert float(terms[f"{task}/distillation"]) == pytest.approx(weight * 0.3 * expected, rel=1e-5)


@pytest.mark.parametrize("method", ["kd_same_task", "kd_cross_task"])
def test_teachers_of_plain_distillation_learn_the_labels_of_their_own_task(method):
    terms, logits, labels, _ = terms_of(method)
    for index, task in enumerate(["finish", "like"]):
        expected = oracle.cross_entropy(labels[:, index], logits[f"{task}+"]).mean()
        assert float(terms[f"{task}+"]) == pytest.approx(expected, rel=1e-5)


def test_without_auxiliary_ranking_only_the_bipartite_term_is_left():
    reduced, *_ = terms_of("without_auxiliary_ranking", beta1=0.7, beta2=1.3)
    bipartite, *_ = terms_of("crossdistil", beta1=0, beta2=0)
    whole, *_ = terms_of("crossdistil", beta1=0.7, beta2=1.3)
    for task in ("finish+", "like+"):
        assert float(reduced[task]) == pytest.approx(float(bipartite[task]), rel=1e-6)
        assert float(reduced[task]) < float(whole[task])


def test_tasks_without_auxiliary_ones_cannot_learn_from_other_tasks():
    with pytest.raises(UsageError, match="'like' has none"):
        small_model(distillation={"method": "kd_cross_task", "auxiliary": {"like": []}})
