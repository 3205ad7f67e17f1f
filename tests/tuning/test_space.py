# SPDX-License-Identifier: Apache-2.0
"""What may be searched: which spaces are refused and with which words, and that a space is no part of what is trained."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tf_crossdistil.comparison.settings import value_at
from tf_crossdistil.config_file import load_config, parse_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.tuning.space import Space, with_values


@pytest.mark.parametrize(
    ("space", "fault"),
    [
        ({}, "no tuning.space, so there is nothing to search; write such as tuning: {space:"),
        ({"training.learning_rat": {"low": 0, "high": 1}}, "no 'training.learning_rat'; did you mean 'learning_rate'"),
        ({"trainning.learning_rate": {"low": 0, "high": 1}}, "did you mean 'training'"),
        ({"features.usr.dim": {"low": 1, "high": 4}}, "did you mean 'user'"),
        ({"training.learning_rate.x": {"low": 0, "high": 1}}, "'training.learning_rate' has no keys"),
        ({"training.early_stopping.patience": {"low": 1, "high": 2}}, "'training.early_stopping' has no keys in this"),
        ({"training": {"choices": [{}]}}, "'training' has keys of its own; name one, such as 'training.batch_size'"),
        ({"features.user": {"choices": [{}]}}, "'features.user' has keys of its own; name one, such as 'features.user.name'"),
        (
            {"training.learning_rate": {"low": 0, "high": 1}},
            "tuning.space at training.learning_rate=0: training.learning_rate: ",
        ),
        ({"distillation.alpha": {"low": 0, "high": 2}}, "tuning.space at distillation.alpha=2: distillation.alpha: "),
        ({"model.towers": {"choices": [[8], [0]]}}, "tuning.space at model.towers=[0]: model.towers.0: "),
        ({"training.batch_size": {"low": 1.5, "high": 8}}, "takes whole numbers; received low: 1.5"),
        ({"training.batch_size": {"low": 1, "high": 8, "step": 0.5}}, "takes whole numbers; received step: 0.5"),
        ({"model.towers": {"low": 1, "high": 8}}, "'model.towers' takes no numbers"),
        ({"training.xla": {"low": 0, "high": 1}}, "'training.xla' takes no numbers"),
        (
            {"features.user.min_count": {"low": 3, "high": 8}},
            "'features.user.min_count' cannot be tuned: it changes the prepared data",
        ),
        ({"tasks.like.at_least": {"choices": [2]}}, "cannot be tuned: it changes the prepared data"),
        ({"split.by": {"choices": ["hash"]}}, "'split.by' cannot be tuned: it changes the prepared data"),
        ({"source.format": {"choices": ["csv"]}}, "cannot be tuned: it changes the prepared data"),
        ({"sample_weight": {"choices": ["row"]}}, "cannot be tuned: it changes the prepared data"),
        ({"training.seed": {"choices": [0, 1]}}, "'training.seed' cannot be tuned: all trials share it"),
        ({"tuning.sampler": {"choices": ["tpe"]}}, "cannot be tuned: it changes nothing"),
    ],
)
def test_bad_spaces_are_told_before_the_first_trial(experiment_with, space, fault):
    with pytest.raises(UsageError) as refused:
        Space.of(experiment_with(space))
    assert fault in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tuning", "fault"),
    [
        ({"space": {"x": {"low": 2, "high": 1}}}, "low must be below high"),
        ({"space": {"x": {"low": 0, "high": 1, "log": True}}}, "log: true needs low above 0"),
        ({"space": {"x": {"low": 1, "high": 2, "log": True, "step": 1}}}, "exclude each other"),
        ({"space": {"x": {"low": 0, "high": 1, "step": 0.3}}}, "3.33333 steps lie between"),
        ({"space": {"x": {"low": 0}}}, "space.x: give {low: .., high: ..} or {choices: [..]}; received {'low': 0}"),
        ({"space": {"x": [0.1]}}, "space.x: give {low: .., high: ..} or {choices: [..]}; received [0.1]"),
        ({"space": {"x": {"low": "a", "high": 1}}}, "space.x.low: Input should be a valid number"),
        ({"space": {"x": {"low": 0, "high": 1, "logg": True}}}, "did you mean 'log'"),
        ({"space": {"x": {"choices": []}}}, "at least 1 item"),
        ({"space": {"x": {"choices": [[1], [1]]}}}, "choices has [1] twice"),
        ({"space": {"x": 3}}, "or {choices: [..]}; received 3"),
        ({"metric": "auk"}, "'auc', 'multi_auc', 'log_loss' or 'mse'"),
        ({"metric": "log_loss", "direction": "max"}, "direction: max contradicts metric: log_loss"),
        ({"samplr": "tpe"}, "did you mean 'sampler'"),
    ],
)
def test_a_bad_section_is_told_when_the_file_is_read(shared_experiment, tuning, fault):
    with pytest.raises(UsageError) as refused:
        parse_config(shared_experiment.model_dump(mode="json") | {"tuning": tuning}, "x.yaml")
    assert str(refused.value).startswith("x.yaml: tuning") and fault in str(refused.value)


def test_ranges_are_of_the_numbers_that_the_key_takes(experiment_with):
    space = Space.of(
        experiment_with(
            {
                "distillation.alpha": {"low": 0, "high": 1, "step": 0.25},
                "training.batch_size": {"low": 256, "high": 1024, "step": 256},
                "features.user.dim": {"low": 2, "high": 64, "log": True},
                "model.dropout": {"choices": [0, 0.5]},
            }
        )
    )
    assert space.distributions == {
        "distillation.alpha": FloatDistribution(0, 1, step=0.25),
        "training.batch_size": IntDistribution(256, 1024, step=256),
        "features.user.dim": IntDistribution(2, 64, log=True),
        "model.dropout": CategoricalDistribution(["0", "0.5"]),
    }
    assert [point.distillation.alpha for point in space.points[:2]] == [0, 1]
    assert [point.features[0].dim for point in space.points[4:6]] == [2, 64]
    assert len(space.points) == 8


def test_values_are_set_where_they_belong_and_nowhere_else(shared_experiment):
    changed = with_values(shared_experiment, {"features.author.dim": 7, "tasks.like.weight": 2.5, "model.experts.units": [3]})
    expected = shared_experiment.model_dump(mode="json")
    expected["features"][2]["dim"], expected["tasks"][1]["weight"], expected["model"]["experts"]["units"] = 7, 2.5, [3]
    assert changed.model_dump(mode="json") == expected


def test_the_section_may_come_from_the_command_line(config_file):
    experiment = load_config(config_file, ["tuning.metric=log_loss", "tuning.space={model.dropout: {choices: [0, 0.1]}}"])
    assert list(Space.of(experiment).distributions) == ["model.dropout"] and not experiment.tuning.larger_is_better


def test_how_settings_are_searched_is_no_part_of_what_is_trained(shared_experiment, experiment_with, trained):
    tuned = experiment_with()
    assert tuned.tuning != shared_experiment.tuning and tuned.schema_hash() == shared_experiment.schema_hash()
    assert tuned.model_dump(mode="json") == shared_experiment.model_dump(mode="json")


def test_keys_that_are_not_written_out_can_be_set_and_read(shared_experiment):
    """A configuration is written out without what later versions added to it, where that has its default."""
    assert "mutual" not in shared_experiment.model_dump()["model"]
    assert value_at(shared_experiment, "model.experts.l0_penalty") == 1e-6
    changed = with_values(shared_experiment, {"model.mutual.teachers": True, "model.experts.l0_penalty": 0.001})
    assert changed.model.mutual.teachers and changed.model.mutual.features == "none"
    assert value_at(changed, "model.experts.l0_penalty") == 0.001
    assert value_at(changed, "model.mutual") == {"features": "none", "distillation": "none", "teachers": True}
    assert value_at(changed, "training.early_stopping.patience") is None
