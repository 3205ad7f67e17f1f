# SPDX-License-Identifier: Apache-2.0
import pytest

from tf_crossdistil.config import VocabularyFeature
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.errors import UsageError

KINDS = ("binary", "regression")
# Of `content`, as data sets that were prepared before tasks had kinds hold it.
SCHEMA_HASH = "d7e012cf1377f241"


def content(**changes):
    experiment = {
        "name": "example",
        "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like"}],
        "features": [
            {"name": "uid", "kind": "categorical", "min_count": 2},
            {"name": "author", "kind": "hashed", "buckets": 100},
            {"name": "duration", "kind": "numeric", "transform": "log1p"},
        ],
        "split": {"by": "hash", "key": ["uid"]},
    }
    return experiment | changes


def test_regression_tasks_have_no_place_in_the_order():
    given = [{"name": "watched", "column": "w", "kind": "regression"}, *content()["tasks"]]
    experiment = parse_config(content(tasks=given, training={"early_stopping": {"metric": "mse"}}), "x.yaml")
    assert experiment.task_names == ["watched", "finish", "like"]
    assert (experiment.binary_names, experiment.regression_names) == (["finish", "like"], ["watched"])
    assert experiment.auxiliary("finish") == ["like"]
    assert experiment.training.early_stopping is not None
    assert not experiment.training.early_stopping.larger_is_better


def test_records_of_a_regression_are_others_than_those_of_a_binary_task():
    binary, regression = (content(tasks=[*content()["tasks"], {"name": "w", "column": "w", "kind": kind}]) for kind in KINDS)
    assert parse_config(binary, "x").schema_hash() != parse_config(regression, "x").schema_hash()


def test_keys_of_later_versions_are_written_out_only_where_they_say_something():
    """Prepared runs, searches and models of earlier versions are known by what was written out."""
    source = {"format": "csv", "encoding": "latin-1", "joins": [{"file": "users.csv", "key": "uid", "columns": ["uid", "age"]}]}
    model = {"experts": {"l0_penalty": 0.5}, "mutual": {"features": "ctfm"}}
    added = [*content()["tasks"], {"name": "w", "column": "w", "kind": "regression"}]
    plain, given = (parse_config(each, "x.yaml") for each in (content(), content(source=source, model=model, tasks=added)))
    written, document = plain.model_dump(mode="json"), given.model_dump(mode="json")
    assert not {"encoding", "joins"} & written["source"].keys() and {"encoding", "joins"} <= document["source"].keys()
    assert "mutual" not in written["model"] and document["model"]["mutual"]["features"] == "ctfm"
    assert "l0_penalty" not in written["model"]["experts"] and document["model"]["experts"]["l0_penalty"] == 0.5
    assert ["kind" in task for task in document["tasks"]] == [False, False, True]
    assert (parse_config(written, "x"), parse_config(document, "x")) == (plain, given)


def test_data_prepared_before_there_were_kinds_still_fit():
    assert parse_config(content(), "x.yaml").schema_hash() == SCHEMA_HASH


def test_auxiliary_tasks_default_to_all_others():
    experiment = parse_config(content(), "x.yaml")
    assert experiment.auxiliary("finish") == ["like"]
    assert experiment.auxiliary("like") == ["finish"]


def test_schema_hash_changes_with_meaning_and_not_with_width():
    original = parse_config(content(), "x.yaml").schema_hash()
    wider = content()
    wider["features"][0]["dim"] = 99
    assert parse_config(wider, "x.yaml").schema_hash() == original
    other = content()
    other["features"][0]["min_count"] = 3
    assert parse_config(other, "x.yaml").schema_hash() != original
    other = content()
    other["tasks"][0]["at_least"] = 1
    assert parse_config(other, "x.yaml").schema_hash() != original
    for meaning in ({"optional": True}, {"given": "like"}):
        other = content()
        other["tasks"][0] |= meaning
        assert parse_config(other, "x.yaml").schema_hash() != original, meaning
    assert parse_config(content(sample_weight="w"), "x.yaml").schema_hash() != original
    for training in ({"tasks": [task | {"weight": 2.0} for task in content()["tasks"]]}, {"training": {"seed": 5}}):
        assert parse_config(content(**training), "x.yaml").schema_hash() == original, training
    pretrained = content()
    pretrained["features"][0] |= {"pretrained": {"file": "table.npy"}}
    assert parse_config(pretrained, "x.yaml").schema_hash() == original


def test_a_shared_vocabulary_has_the_numbers_of_its_owner():
    sharing = {"name": "history", "kind": "multi_value", "share_with": "uid"}
    experiment = parse_config(content(features=[*content()["features"], sharing]), "x.yaml")
    owner, history = experiment.features[0], experiment.features[-1]
    assert isinstance(owner, VocabularyFeature) and isinstance(history, VocabularyFeature)
    assert history.vocabulary == owner.vocabulary == "uid"
    assert experiment.vocabulary_owner(history) is experiment.vocabulary_owner(owner) is owner
    # A run keeps its configuration with every option written out.
    assert parse_config(experiment.model_dump(mode="json"), "x.yaml") == experiment


def test_conditions_may_stand_behind_what_depends_on_them():
    tasks = [{"name": "buy", "column": "b", "given": "click"}, {"name": "click", "column": "c", "given": "view"}]
    experiment = parse_config(content(tasks=[*tasks, {"name": "view", "column": "v", "optional": True}]), "x.yaml")
    assert [(task.given, task.optional) for task in experiment.tasks] == [("click", False), ("view", False), (None, True)]


def tasks(*changes):
    return {"tasks": [{"name": f"t{index}", "column": f"c{index}"} | change for index, change in enumerate(changes)]}


def features(*changes):
    return {"features": [{"name": f"f{index}", "kind": "numeric"} | change for index, change in enumerate(changes)]}


BAD = {
    "share with nothing": (
        features({"kind": "multi_value", "share_with": "g"}),
        "feature 'f0' has share_with: g, which is no categorical or multi_value feature",
    ),
    "share with a sharer": (
        features(
            {"kind": "categorical"}, {"kind": "categorical", "share_with": "f0"}, {"kind": "multi_value", "share_with": "f1"}
        ),
        "feature 'f2' has share_with: f1, which is no categorical or multi_value feature with a vocabulary of its own",
    ),
    "share with a hashed one": (
        features({"kind": "hashed", "buckets": 3}, {"kind": "multi_value", "share_with": "f0"}),
        "'f1' has share_with: f0",
    ),
    "dim of a sharer": (
        features({"kind": "categorical"}, {"kind": "multi_value", "share_with": "f0", "dim": 3}),
        "'dim' is that of 'f0', whose vocabulary 'f1' shares; leave it out",
    ),
    "weights' name": (
        features({"kind": "multi_value", "weights": "w"}, {"name": "f0_weights"}),
        "the name 'f0_weights' is used twice",
    ),
    "weights of a label": (features({"kind": "multi_value", "weights": "like"}), "feature 'f0' reads a label of task 'like'"),
    "no buckets": (features({"transform": "bucketize"}), "give either 'boundaries' or 'buckets'"),
    "two buckets": (
        features({"transform": "bucketize", "boundaries": [1], "buckets": 3}),
        "give either 'boundaries' or 'buckets'",
    ),
    "buckets of what has none": (features({"buckets": 3}), "'buckets' is for transform: bucketize; 'f0' has transform: none"),
    "boundaries of buckets": (features({"transform": "bucketize", "boundaries": [1, 1]}), "boundaries must ascend"),
    "group of lists": (
        features({"kind": "multi_value"}) | {"evaluation": {"group_by": "f0"}},
        "no categorical or hashed feature",
    ),
    "unknown key": ({"trainin": {}}, "unknown key 'trainin'; did you mean 'training'?"),
    "unknown key within": ({"model": {"backbon": "ple"}}, "model: unknown key 'backbon'; did you mean 'backbone'?"),
    "unknown feature key": (
        {"features": [{"name": "uid", "kind": "categorical", "min_cout": 2}]},
        "unknown key 'min_cout'; did you mean 'min_count'?",
    ),
    "unknown kind": ({"features": [{"name": "uid", "kind": "catgorical"}]}, "'catgorical'"),
    "name used twice": ({"features": [{"name": "finish", "kind": "hashed", "buckets": 3}]}, "'finish' is used twice"),
    "label as feature": (
        {"tasks": [{"name": "t", "column": "c"}], "features": [{"name": "c", "kind": "hashed", "buckets": 3}]},
        "labels cannot be features",
    ),
    "fractions": ({"split": {"by": "hash", "key": ["uid"], "fractions": [0.5, 0.1, 0.1]}}, "sum to 1"),
    "boundaries": ({"split": {"by": "time", "column": "t", "boundaries": [3, 2]}}, "must ascend"),
    "auxiliary": ({"distillation": {"auxiliary": {"finish": ["share"]}}}, "'share', which is no binary task"),
    "auxiliary itself": ({"distillation": {"auxiliary": {"finish": ["finish"]}}}, "names 'finish' itself"),
    "auxiliary twice": (
        {"distillation": {"auxiliary": {"finish": ["like", "like"]}}},
        "distillation.auxiliary of 'finish' names 'like' twice",
    ),
    "auxiliary of no task": ({"distillation": {"auxiliary": {"share": ["like"]}}}, "'share', which is no binary task"),
    "given no task": (
        tasks({}, {"given": "t7"}),
        "task 't1' has given: t7, which is no binary task; such are ['t0', 't1']",
    ),
    "given a regression": (
        tasks({"kind": "regression"}, {"given": "t0"}),
        "task 't1' has given: t0, which is no binary task; such are ['t1']",
    ),
    "nothing to rank by": (tasks({"kind": "regression"}), "every task has kind: regression; give at least one binary task"),
    "regression with a value": (
        tasks({}, {"kind": "regression", "positive": 1}),
        "'positive' is for kind: binary; leave it out for kind: regression",
    ),
    "regression with a threshold": (tasks({}, {"kind": "regression", "at_least": 4}), "'at_least' is for kind: binary"),
    "regression with a probability": (tasks({}, {"kind": "regression", "truth": "p"}), "'truth' is for kind: binary"),
    "auxiliary regression": (
        tasks({}, {"kind": "regression"}) | {"distillation": {"auxiliary": {"t0": ["t1"]}}},
        "names 't1', which is no binary task; such are ['t0']: teachers rank",
    ),
    "chosen by no regression": (
        {"training": {"early_stopping": {"metric": "mse"}}},
        "training.early_stopping.metric is mse, and no task has kind: regression",
    ),
    "tuned by no regression": ({"tuning": {"metric": "mse"}}, "tuning.metric is mse, and no task has kind: regression"),
    "mutual features": ({"model": {"mutual": {"features": "ctfn"}}}, "model.mutual.features"),
    "given itself": (tasks({"given": "t0"}), "task 't0' is given itself: t0 -> t0"),
    "given in a circle": (
        tasks({"given": "t1"}, {"given": "t2"}, {"given": "t0"}),
        "task 't0' is given itself: t0 -> t1 -> t2 -> t0",
    ),
    "given a circle": (
        tasks({"given": "t1"}, {"given": "t2"}, {"given": "t1"}),
        "is given itself: t0 -> t1 -> t2 -> t1",
    ),
    "optional no switch": (tasks({"optional": "perhaps"}), "tasks.0.optional"),
    "too many tasks": (tasks(*({} for _ in range(39))), "tasks: List should have at most 38 items"),
    "weight of a label": ({"sample_weight": "like"}, "sample_weight is a label of task 'like'; name a column of its own"),
    "weight of a truth": (
        tasks({"truth": "p"}) | {"sample_weight": "p"},
        "sample_weight is a label of task 't0'; name a column of its own",
    ),
    "weight without a column": ({"sample_weight": ["w"]}, "sample_weight"),
    "weight's name of a feature": (
        features({"name": "sample_weight"}),
        "the name 'sample_weight' is taken; 'column' may be called so",
    ),
    "weight's name of a task": (tasks({"name": "sample_weight"}), "the name 'sample_weight' is taken"),
    "weight's name in capitals": (features({"name": "Sample_Weight"}), "the name 'sample_weight' is taken"),
    "weight's name of weights": (
        features({"name": "sample", "kind": "multi_value", "weights": "w"}, {"name": "sample_weight"}),
        "the name 'sample_weight' is taken",
    ),
    "calibration": (tasks({"name": "calibration"}), "a task cannot be called 'calibration'"),
    "pretrained of a sharer": (
        features({"kind": "categorical"}, {"kind": "categorical", "share_with": "f0", "pretrained": {"file": "x.npy"}}),
        "'pretrained' is that of 'f0', whose vocabulary 'f1' shares; leave it out",
    ),
    "pretrained without a file": (features({"kind": "categorical", "pretrained": {"trainable": True}}), "pretrained.file"),
    "pretrained numbers": (features({"pretrained": {"file": "x.npy"}}), "unknown key 'pretrained'"),
    "method of a number": ({"distillation": {"calibration": 3}}, "distillation.calibration"),
    "interaction": ({"model": {"interaction": "crossed"}}, "model.interaction"),
    "loss weighting": ({"training": {"loss_weighting": "learned"}}, "training.loss_weighting"),
    "value of another key": (
        {"model": {"mutual": {"features": "gkd"}}},
        "model.mutual.features: Input should be 'none' or 'ctfm'; received 'gkd', which model.mutual.distillation could be",
    ),
    "value in place of a section": (
        {"model": {"mutual": "ctfm"}},
        "model.mutual: must be a section with keys features, distillation, teachers; received 'ctfm', which "
        "model.mutual.features could be",
    ),
    "section of a list": ({"tasks": ["click"]}, "tasks.0: must be a section with keys name, "),
    "no section": ({"model": {"mutual": [1]}}, "teachers; received [1]"),
    "alpha below": ({"distillation": {"alpha": -0.1}}, "distillation.alpha: Input should be greater than or equal to 0"),
    "alpha": ({"distillation": {"alpha": 1.5}}, "distillation.alpha: Input should be less than or equal to 1; received 1.5"),
    "no header": ({"source": {"header": False}}, "'columns'"),
    "two rules": ({"tasks": [{"name": "t", "column": "c", "positive": 1, "at_least": 2}]}, "not both"),
    "file name": ({"features": [{"name": "../uid", "kind": "hashed", "buckets": 3}]}, "'../uid' must begin with a letter"),
    "tensor name": ({"features": [{"name": "f-1", "kind": "hashed", "buckets": 3}]}, "'f-1' must begin with a letter"),
    "underscore": ({"tasks": [{"name": "_t", "column": "t"}]}, "'_t' must begin with a letter"),
    "case": (
        {"features": [{"name": "f", "kind": "hashed", "buckets": 3}, {"name": "F", "kind": "hashed", "buckets": 3}]},
        "'f' is used twice",
    ),
    "reserved": ({"tasks": [{"name": "loss", "column": "t"}]}, "a task cannot be called 'loss'"),
    "column of a label": (
        {"features": [{"name": "f", "column": "like", "kind": "hashed", "buckets": 3}]},
        "feature 'f' reads a label of task 'like'",
    ),
    "infinite": ({"training": {"learning_rate": float("inf")}}, "finite number"),
    "seed": ({"training": {"seed": 2**32}}, "less than 4294967296"),
    "group": ({"evaluation": {"group_by": "duration"}}, "no categorical or hashed feature"),
}


@pytest.mark.parametrize("changes, words", BAD.values(), ids=BAD)
def test_bad_content_gets_one_sentence_that_names_the_place(changes, words):
    with pytest.raises(UsageError) as raised:
        parse_config(content(**changes), "x.yaml")
    assert words in str(raised.value)
    assert str(raised.value).startswith("x.yaml: ")
    assert "\n" not in str(raised.value)
