# SPDX-License-Identifier: Apache-2.0
"""What an experiment is: the typed, validated content of one YAML file (see `config_file` for reading it)."""

import hashlib
import json
import re

from pydantic import Field, model_validator
from typing_extensions import Self

from tf_crossdistil.config.features import Feature, MultiValueFeature, NumericFeature, VocabularyFeature
from tf_crossdistil.config.logs import Source, Split, Task
from tf_crossdistil.config.section import Section, duplicates
from tf_crossdistil.config.training import Distillation, Evaluation, Model, Training
from tf_crossdistil.config.tuning import Tuning

# The field of a record that holds the row's weight.
SAMPLE_WEIGHT = "sample_weight"


def _in_the_model(feature: Feature) -> set[str]:
    """What a feature's records do not depend on."""
    kept_raw = isinstance(feature, NumericFeature) and feature.transform != "bucketize"
    return {"dim", "pretrained", "pooling", *(["transform"] if kept_raw else [])}


class Experiment(Section):
    """One configuration file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="What the experiment is called.")
    # Tags of so many tasks, with the split, are still numbered in 64 bits.
    tasks: list[Task] = Field(min_length=1, max_length=38, description="What to predict; at least one task is binary.")
    features: list[Feature] = Field(min_length=1, description="From what.")
    source: Source = Field(Source(), description="The logs, and tables to join to them.")
    split: Split = Field(description="What trains, validates and tests.")
    sample_weight: str | None = Field(
        None, description="A column of numbers from 0, how much each row counts in losses and metrics."
    )
    model: Model = Field(Model(), description="The network.")
    distillation: Distillation = Field(Distillation(), description="The method.")
    training: Training = Field(Training(), description="How it is trained.")
    evaluation: Evaluation = Field(Evaluation(), description="What is measured beside the usual metrics.")
    # Not written out with a run, which has the settings that were found.
    tuning: Tuning = Field(
        Tuning(),
        exclude=True,
        description="What `crossdistil tune` searches; no part of what is trained: a run resumes when only this has changed.",
    )

    @property
    def task_names(self) -> list[str]:
        """The tasks' names, in order."""
        return [task.name for task in self.tasks]

    @property
    def binary_names(self) -> list[str]:
        """The names of the binary tasks, whose labels make a row's tag, in tag order."""
        return [task.name for task in self.tasks if task.kind == "binary"]

    @property
    def regression_names(self) -> list[str]:
        """The names of the regression tasks, in order."""
        return [task.name for task in self.tasks if task.kind == "regression"]

    @property
    def method_name(self) -> str:
        """What tables call the trained method, or without one the backbone; with `model.mutual` such as `crossdistil+gkd`."""
        method = self.model.backbone if self.distillation.method == "none" else self.distillation.method
        return "+".join([method, *self.model.mutual.parts])

    def auxiliary(self, task: str) -> list[str]:
        """The ordered auxiliary tasks of a binary task; default all other binary ones."""
        others = [name for name in self.binary_names if name != task]
        return self.distillation.auxiliary.get(task, others)

    def schema_hash(self) -> str:
        """Sixteen hex digits over everything that fixes what a record means, without the widths of embeddings."""
        schema = {
            "tasks": [task.model_dump(mode="json", exclude={"truth", "weight"}) for task in self.tasks],
            "features": [feature.model_dump(mode="json", exclude=_in_the_model(feature)) for feature in self.features],
            "sample_weight": self.sample_weight,
        }
        return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]

    def vocabulary_owner(self, feature: VocabularyFeature) -> VocabularyFeature:
        """The feature whose numbers the vocabulary and the embeddings of `feature` have: itself, or that it shares with."""
        return next(f for f in self.features if isinstance(f, VocabularyFeature) and f.name == feature.vocabulary)

    @model_validator(mode="after")
    def _names_of_tensors(self) -> Self:
        names = self.task_names + [feature.name for feature in self.features]
        weights = [
            feature.weights_name for feature in self.features if isinstance(feature, MultiValueFeature) and feature.weights
        ]
        # Names become tensors' names, whose case does not count.
        if twice := duplicates([name.casefold() for name in names + weights]):
            raise ValueError(f"the name '{twice[0]}' is used twice among tasks and features")
        if reserved := {"loss", "calibration", "regularisation"} & set(self.task_names):
            raise ValueError(f"a task cannot be called '{min(reserved)}', since a logged loss is")
        if SAMPLE_WEIGHT in [name.casefold() for name in names + weights]:
            raise ValueError(f"the name '{SAMPLE_WEIGHT}' is taken; 'column' may be called so")
        for name in names:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(
                    f"the name '{name}' must begin with a letter and go on with letters, digits and '_'; "
                    "write another one and give the logs' column beside it, such as {name: user_id, column: User ID}"
                )
        return self

    @model_validator(mode="after")
    def _labels_are_no_features(self) -> Self:
        labels = {column: task.name for task in self.tasks for column in (task.column, task.truth) if column}
        if self.sample_weight in labels:
            raise ValueError(f"sample_weight is a label of task '{labels[self.sample_weight]}'; name a column of its own")
        for feature in self.features:
            for column in (feature.source_column, getattr(feature, "weights", None)):
                if column in labels:
                    raise ValueError(
                        f"feature '{feature.name}' reads a label of task '{labels[column]}': labels cannot be features"
                    )
        return self

    @model_validator(mode="after")
    def _some_binary_task(self) -> Self:
        if not self.binary_names:
            raise ValueError("every task has kind: regression; give at least one binary task, since rows are ranked by such")
        return self

    @model_validator(mode="after")
    def _given_tasks(self) -> Self:
        given = {task.name: task.given for task in self.tasks}
        for task in self.tasks:
            if task.given is not None and task.given not in self.binary_names:
                raise ValueError(
                    f"task '{task.name}' has given: {task.given}, which is no binary task; such are {self.binary_names}"
                )
            seen = [task.name]
            while (condition := given[seen[-1]]) is not None:
                if condition in seen:
                    raise ValueError(f"task '{task.name}' is given itself: {' -> '.join([*seen, condition])}")
                seen.append(condition)
        return self

    @model_validator(mode="after")
    def _shared_vocabularies(self) -> Self:
        owners = [f.name for f in self.features if isinstance(f, VocabularyFeature) and f.share_with is None]
        for feature in self.features:
            if isinstance(feature, VocabularyFeature) and feature.vocabulary not in owners:
                raise ValueError(
                    f"feature '{feature.name}' has share_with: {feature.share_with}, which is no categorical or multi_value "
                    f"feature with a vocabulary of its own; such are {owners}"
                )
        return self

    @model_validator(mode="after")
    def _exchanged_tasks(self) -> Self:
        for name in self.training.label_exchange:
            if name not in self.binary_names:
                raise ValueError(
                    f"training.label_exchange names '{name}', which is no binary task; such are {self.binary_names}"
                )
        return self

    @model_validator(mode="after")
    def _auxiliary_tasks(self) -> Self:
        for target, others in self.distillation.auxiliary.items():
            for name in (target, *others):
                if name not in self.binary_names:
                    raise ValueError(
                        f"distillation.auxiliary names '{name}', which is no binary task; such are {self.binary_names}: "
                        "teachers rank, so that regression tasks have none"
                    )
            if target in others:
                raise ValueError(f"distillation.auxiliary of '{target}' names '{target}' itself; name other tasks")
            if twice := duplicates(others):
                raise ValueError(f"distillation.auxiliary of '{target}' names '{twice[0]}' twice; leave one out")
        return self

    @model_validator(mode="after")
    def _chosen_by_a_metric_of_some_task(self) -> Self:
        for place, selection in (("training.early_stopping", self.training.early_stopping), ("tuning", self.tuning)):
            if selection is not None and selection.metric == "mse" and not self.regression_names:
                raise ValueError(f"{place}.metric is mse, and no task has kind: regression; take auc, multi_auc or log_loss")
        return self

    @model_validator(mode="after")
    def _groups(self) -> Self:
        groups = [feature.name for feature in self.features if feature.kind in ("categorical", "hashed")]
        if self.evaluation.group_by not in (None, *groups):
            raise ValueError(
                f"evaluation.group_by names '{self.evaluation.group_by}', which is no categorical or hashed feature"
            )
        return self
