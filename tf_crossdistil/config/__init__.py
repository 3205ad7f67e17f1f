# SPDX-License-Identifier: Apache-2.0
"""Configuration: the sections of an experiment's YAML file."""

from tf_crossdistil.config.experiment import SAMPLE_WEIGHT, Experiment
from tf_crossdistil.config.features import (
    CategoricalFeature,
    Feature,
    HashedFeature,
    MultiValueFeature,
    NumericFeature,
    Pretrained,
    VocabularyFeature,
)
from tf_crossdistil.config.logs import SPLITS, HashSplit, Join, NamedSplit, Source, Split, Task, TimeSplit
from tf_crossdistil.config.section import duplicates
from tf_crossdistil.config.training import (
    Checkpoints,
    Distillation,
    EarlyStopping,
    Evaluation,
    Experts,
    Model,
    Mutual,
    Training,
)
from tf_crossdistil.config.tuning import Choices, Range, Tuning

__all__ = [
    "SAMPLE_WEIGHT",
    "SPLITS",
    "CategoricalFeature",
    "Checkpoints",
    "Choices",
    "Distillation",
    "EarlyStopping",
    "Evaluation",
    "Experiment",
    "Experts",
    "Feature",
    "HashSplit",
    "HashedFeature",
    "Join",
    "Model",
    "MultiValueFeature",
    "Mutual",
    "NamedSplit",
    "NumericFeature",
    "Pretrained",
    "Range",
    "Source",
    "Split",
    "Task",
    "TimeSplit",
    "Training",
    "Tuning",
    "VocabularyFeature",
    "duplicates",
]
