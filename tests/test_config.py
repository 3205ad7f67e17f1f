import pytest
import yaml

from tf_crossdistil.config import VocabularyFeature
from tf_crossdistil.config_file import load_config, parse_config
from tf_crossdistil.errors import UsageError


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


def test_a_shared_vocabulary_has_the_numbers_of_its_owner():
    sharing = {"name": "history", "kind": "multi_value", "share_with": "uid"}
    experiment = parse_config(content(features=[*content()["features"], sharing]), "x.yaml")
    owner, history = experiment.features[0], experiment.features[-1]
    assert isinstance(owner, VocabularyFeature) and isinstance(history, VocabularyFeature)
    assert history.vocabulary == owner.vocabulary == "uid"
    assert experiment.vocabulary_owner(history) is experiment.vocabulary_owner(owner) is owner
    # A run keeps its configuration with every option written out.
    assert parse_config(experiment.model_dump(mode="json"), "x.yaml") == experiment


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
    "auxiliary": ({"distillation": {"auxiliary": {"finish": ["share"]}}}, "'share', which is no task"),
    "auxiliary itself": ({"distillation": {"auxiliary": {"finish": ["finish"]}}}, "at most once"),
    "alpha": ({"distillation": {"alpha": 1.5}}, "distillation.alpha: Input should be less than or equal to 1; received 1.5"),
    "no header": ({"source": {"header": False}}, "'columns'"),
    "two rules": ({"tasks": [{"name": "t", "column": "c", "positive": 1, "at_least": 2}]}, "not both"),
    "file name": ({"features": [{"name": "../uid", "kind": "hashed", "buckets": 3}]}, "'../uid' must be a letter, then"),
    "tensor name": ({"features": [{"name": "f-1", "kind": "hashed", "buckets": 3}]}, "'f-1' must be a letter, then"),
    "underscore": ({"tasks": [{"name": "_t", "column": "t"}]}, "'_t' must be a letter, then"),
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


def test_overrides_replace_single_values(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(content()))
    experiment = load_config(path, ["training.epochs=3", "model.towers=[8, 4]"])
    assert experiment.training.epochs == 3
    assert experiment.model.towers == [8, 4]


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "cannot read"),
        ("a: [", "not valid YAML"),
        ("name: 2020-13-45", "not valid YAML"),
        ("- 1", "received list"),
        ("", "received NoneType"),
    ],
)
def test_bad_files_are_usage_errors(tmp_path, text, words):
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(path)


@pytest.mark.parametrize(
    "override",
    ["training.epochs", "=3", "training..epochs=3", "name=2020-13-45", "name.x=1", "training.epochs=[", "training.epoch=3"],
)
def test_bad_overrides_are_usage_errors(tmp_path, override):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(content()))
    with pytest.raises(UsageError):
        load_config(path, [override])
