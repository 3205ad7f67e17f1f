# SPDX-License-Identifier: Apache-2.0
"""Names such as `mmoe+ctfm+gkd`: what they train, what tables call it, and what is held against what."""

import pytest

from tests.comparison.fake_training import SMALL, printed
from tf_crossdistil.backbones.registry import BACKBONES
from tf_crossdistil.comparison.comparison_table import Figures, comparison_document
from tf_crossdistil.comparison.method_names import configured, full_names, without_suffixes
from tf_crossdistil.config import Mutual
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.run import Run


def with_mutual(experiment, **values):
    mutual = Mutual.model_validate(values)
    return experiment.model_copy(update={"model": experiment.model.model_copy(update={"mutual": mutual})})


@pytest.mark.parametrize(
    ("text", "backbone", "method", "features", "distillation"),
    [
        ("shared_bottom+ctfm+gkd", "shared_bottom", "none", "ctfm", "gkd"),
        ("crossdistil+ctfm", "ple", "crossdistil", "ctfm", "none"),
        ("mmoe+gkd", "mmoe", "none", "none", "gkd"),
        ("mmoe", "mmoe", "none", "none", "none"),
    ],
)
def test_a_name_is_a_method_and_what_towers_learn(shared_experiment, text, backbone, method, features, distillation):
    experiment = configured(shared_experiment, text, 7)
    assert (experiment.model.backbone, experiment.distillation.method) == (backbone, method)
    assert experiment.model.mutual == Mutual(features=features, distillation=distillation)
    assert experiment.training.seed == 7
    assert experiment.method_name == text
    assert without_suffixes(text) == text.split("+")[0]


def test_a_name_with_suffixes_has_those_only_and_one_without_what_the_configuration_says(shared_experiment):
    experiment = with_mutual(shared_experiment, distillation="gkd", teachers=True)
    texts = ["mmoe", "mmoe+ctfm", "crossdistil", "ple+gkd+ctfm"]
    assert full_names(texts, experiment) == ["mmoe+gkd", "mmoe+ctfm", "crossdistil+gkd", "ple+ctfm+gkd"]
    assert full_names(texts, shared_experiment) == ["mmoe", "mmoe+ctfm", "crossdistil", "ple+ctfm+gkd"]
    # The full name says all of it but the teachers' part, which stays.
    assert configured(experiment, "mmoe+ctfm", 0).model.mutual == Mutual(features="ctfm", teachers=True)
    assert configured(experiment, "mmoe", 0).model.mutual == Mutual(teachers=True)


def test_every_backbone_is_a_name(shared_experiment):
    assert full_names([*BACKBONES], shared_experiment) == [*BACKBONES]
    own = "tf_crossdistil.backbones.shared_bottom:SharedBottom+ctfm"
    assert full_names([own], shared_experiment) == [own]
    assert configured(shared_experiment, own, 0).model.backbone == without_suffixes(own)


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["pel"], "--methods: there is no 'pel'; did you mean 'ple'"),
        (["crosdistil+ctfm"], "there is no 'crosdistil'; did you mean 'crossdistil'"),
        (["mmoe+ctfn"], r"there is no suffix '\+ctfn', as in 'mmoe\+ctfn'; did you mean 'ctfm'"),
        (["mmoe+"], r"there is no suffix '\+', as in 'mmoe\+'; known are ctfm, gkd"),
        (["+ctfm"], "there is no ''"),
        (["mmoe+ctfm+ctfm"], r"'mmoe\+ctfm\+ctfm' has the suffix '\+ctfm' twice"),
        (["none+ctfm"], "instead of 'none', name the backbone"),
        (["ple+gkd+ctfm", "ple+ctfm+gkd"], r"names 'ple\+ctfm\+gkd' twice; the order of suffixes says nothing"),
    ],
)
def test_names_that_cannot_be(shared_experiment, texts, fault):
    with pytest.raises(UsageError, match=fault):
        full_names(texts, shared_experiment)


def test_a_name_twice_by_the_configuration_is_told(shared_experiment):
    with pytest.raises(UsageError, match=r"'mmoe\+gkd' twice; .* has what the configuration's model.mutual has"):
        full_names(["mmoe", "mmoe+gkd"], with_mutual(shared_experiment, distillation="gkd"))


def test_cells_and_results_go_by_the_full_name(fake, run, tmp_path):
    mutual = [*SMALL, "model.mutual.features=ctfm"]
    comparison = run(["mmoe", "ple+gkd"], [0], overrides=mutual)
    assert comparison.methods == ["mmoe+ctfm", "ple+gkd"]
    assert {path.name for path in (tmp_path / "out/cells").iterdir()} == {"mmoe+ctfm", "ple+gkd"}
    trained = Run.open(tmp_path / "out/cells/ple+gkd/default/seed=0").experiment
    assert trained.model.mutual == Mutual(distillation="gkd")
    # Whatever the configuration says now, these are the same models.
    later = run(["mmoe+ctfm", "mmoe"], [0])
    assert [result.method for result in later.results] == ["mmoe+ctfm", "mmoe", "ple+gkd"]
    assert [method for method, *_ in fake.trained] == ["mmoe+ctfm", "ple+gkd", "mmoe"]


def test_what_suffixes_add_is_told_backbone_by_backbone(fake, run):
    comparison = run(["ple", "ple+gkd", "mmoe", "mmoe+ctfm", "mmoe+ctfm+gkd", "taug+ctfm"], [0, 1])
    document = comparison_document(Figures.of(comparison))
    assert document["baseline"] == "ple" and len(document["differences"]) == 5
    added = {method: tasks["finish"]["auc"]["mean"] for method, tasks in document["suffix_differences"].items()}
    assert added == pytest.approx({"ple+gkd": 0.03, "mmoe+ctfm": 0.03, "mmoe+ctfm+gkd": 0.06})
    title = "Differences to the same without suffixes, seed by seed"
    _, table = printed(comparison).split(title)
    # Those of PLE are in the table before.
    assert "mmoe+ctfm+gkd" in table and "+0.0600±0.0000*" in table and "ple" not in table and "taug" not in table
    assert title not in printed(run(["ple", "ple+gkd", "mmoe"], [0, 1], out="other"))


def test_any_method_can_be_the_baseline(fake, run):
    comparison = run(["ple", "mmoe", "mmoe+ctfm"], [0], baseline="mmoe")
    document = comparison_document(Figures.of(comparison))
    assert document["baseline"] == "mmoe"
    assert document["differences"]["mmoe+ctfm"]["finish"]["auc"]["mean"] == pytest.approx(0.03)
    assert "Differences to mmoe, seed by seed" in printed(comparison)
    # By its full name, too, where the configuration gives the suffix.
    overrides = [*SMALL, "model.mutual.features=ctfm"]
    assert run(["ple", "mmoe"], [0], out="other", overrides=overrides, baseline="mmoe").baseline == "mmoe+ctfm"


@pytest.mark.parametrize(
    ("baseline", "fault"),
    [
        ("mmoe", "--baseline is 'mmoe', which is not among --methods; such are ple, taug"),
        ("taugg", "--baseline: there is no 'taugg'; did you mean 'taug'"),
        ("taug+gdk", r"--baseline: there is no suffix '\+gdk'"),
    ],
)
def test_a_baseline_that_is_no_method_is_told_before_anything_is_trained(fake, run, baseline, fault):
    with pytest.raises(UsageError, match=fault):
        run(["ple", "taug"], [0], baseline=baseline)
    assert fake.trained == []
