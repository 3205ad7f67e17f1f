"""What an experiment is: the typed, validated content of one YAML file (see `config_file` for reading it)."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from tf_crossdistil.suggest import did_you_mean

SPLITS = ("train", "validation", "test")


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors that name the nearest known key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"unknown key '{key}'; {did_you_mean(str(key), cls.model_fields)}")
        return data


class Task(Section):
    """A binary task and the column that labels it.

    Without `positive` and `at_least` the column must hold 0 or 1. `truth` names a column with the true probability, which
    only synthetic logs have; evaluation then reports the best reachable metrics. `weight` scales the student's losses.
    """

    name: str
    column: str
    positive: str | int | float | bool | None = None
    at_least: float | None = None
    truth: str | None = None
    weight: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.positive is not None and self.at_least is not None:
            raise ValueError("give either 'positive' or 'at_least', not both")
        return self


class ReadFeature(Section):
    """What every feature has: a name, and the log's column when that has another one."""

    name: str
    column: str | None = None

    @property
    def source_column(self) -> str:
        """The column of the logs that holds the feature."""
        return self.column or self.name


class CategoricalFeature(ReadFeature):
    """A value looked up in the training split's vocabulary; id 0 is missing, then the vocabulary, then `oov_buckets` ids.

    `min_count`: rows of the training split that a value needs. `max_size`: the most frequent values kept (default all).
    """

    kind: Literal["categorical"]
    min_count: int = Field(1, ge=1)
    max_size: int | None = Field(None, ge=1)
    oov_buckets: int = Field(1, ge=1)
    dim: int = Field(16, ge=1)


class HashedFeature(ReadFeature):
    """A value whose id is `tf.strings.to_hash_bucket_fast(value, buckets)`; no vocabulary is kept."""

    kind: Literal["hashed"]
    buckets: int = Field(ge=1)
    dim: int = Field(16, ge=1)


class NumericFeature(ReadFeature):
    """A number; `log1p` is `sign(x) ln(1 + |x|)`, `standardize` uses mean and deviation of the training split.

    `default`: the raw value that stands for a missing one.
    """

    kind: Literal["numeric"]
    transform: Literal["none", "log1p", "standardize"] = "none"
    default: float = 0.0


Feature = Annotated[CategoricalFeature | HashedFeature | NumericFeature, Field(discriminator="kind")]


class Source(Section):
    """How the logs are written. `columns` names the columns of a file without a header; gzip is recognised by itself."""

    format: Literal["csv", "parquet"] = "csv"
    delimiter: str = Field(",", min_length=1, max_length=1)
    header: bool = True
    columns: list[str] | None = None

    @model_validator(mode="after")
    def _named_columns(self) -> Self:
        if self.format == "csv" and self.header == (self.columns is not None):
            raise ValueError("give 'columns' exactly when 'header' is false")
        if self.columns is not None and (twice := duplicates(self.columns)):
            raise ValueError(f"column '{twice[0]}' is listed twice")
        return self


class HashSplit(Section):
    """Rows go by the hash of `key`; `fractions` of train, validation and test. A row keeps its split when data grows."""

    by: Literal["hash"]
    key: list[str] = Field(min_length=1)
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9 or fractions[0] == 0:
            raise ValueError(f"fractions must be positive and sum to 1, received {list(fractions)}")
        return fractions


class TimeSplit(Section):
    """Rows below `boundaries[0]` of a numeric `column` train, below `boundaries[1]` validate, the others test."""

    by: Literal["time"]
    column: str
    boundaries: tuple[float, float]

    @field_validator("boundaries")
    @classmethod
    def _ascending(cls, boundaries: tuple[float, float]) -> tuple[float, float]:
        if boundaries[0] > boundaries[1]:
            raise ValueError(f"boundaries must ascend, received {list(boundaries)}")
        return boundaries


Split = Annotated[HashSplit | TimeSplit, Field(discriminator="by")]


class Experts(Section):
    """Experts of a backbone: how many are shared, how many each task owns, their hidden `units`, extraction `levels`."""

    shared: int = Field(2, ge=1)
    per_task: int = Field(1, ge=1)
    units: list[Annotated[int, Field(ge=1)]] = Field([64], min_length=1)
    levels: int = Field(1, ge=1)


class Model(Section):
    """The network: feature `interaction` ahead of the `backbone`, then one tower a task with these hidden units."""

    backbone: str = "ple"
    experts: Experts = Experts()
    towers: list[Annotated[int, Field(ge=1)]] = [32]
    dropout: float = Field(0.0, ge=0, lt=1)
    interaction: Literal["none", "cross"] = "none"


class Distillation(Section):
    """The method and its numbers (DESIGN names follow the paper).

    `alpha` mixes hard and soft labels (Eq. 7), `beta1` and `beta2` weigh the finer order (Eq. 4), `margin` is m of the error
    correction (Eq. 10), `temperature` is tau (Eq. 6). `ranking_weight` is the pull of one stratum row on the parameters,
    relative to a row of the natural batch, so that it keeps its meaning when batch or stratum sizes change.
    `auxiliary`: for each target task, the ordered tasks whose labels refine its order; default all others.
    """

    method: str = "crossdistil"
    alpha: float = Field(0.2, ge=0, le=1)
    beta1: float = Field(1.0, ge=0)
    beta2: float = Field(1.0, ge=0)
    margin: float = 0.0
    temperature: float = Field(1.0, gt=0)
    ranking_weight: float = Field(1.0, ge=0)
    auxiliary: dict[str, list[str]] = {}


class EarlyStopping(Section):
    """Stop when the mean of `metric` over the tasks, on the validation split, has not improved for `patience` epochs."""

    metric: Literal["auc", "multi_auc", "log_loss"] = "auc"
    patience: int = Field(2, ge=0)


class Training(Section):
    """How to train. `batch_size` counts natural rows, `strata_batch_size` rows drawn from each label combination."""

    batch_size: int = Field(4096, ge=1)
    strata_batch_size: int = Field(128, ge=1)
    epochs: int = Field(10, ge=1)
    learning_rate: float = Field(0.001, gt=0)
    embedding_learning_rate: float = Field(0.05, gt=0)
    calibration_learning_rate: float = Field(0.01, gt=0)
    early_stopping: EarlyStopping | None = EarlyStopping()
    strategy: Literal["none"] = "none"
    seed: int = Field(0, ge=0, lt=2**32)


class Evaluation(Section):
    """`group_by`: the categorical or hashed feature within whose values GAUC ranks, usually the user id."""

    group_by: str | None = None


class Experiment(Section):
    """One configuration file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    tasks: list[Task] = Field(min_length=1)
    features: list[Feature] = Field(min_length=1)
    source: Source = Source()
    split: Split
    model: Model = Model()
    distillation: Distillation = Distillation()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @property
    def task_names(self) -> list[str]:
        """The tasks' names, in tag order."""
        return [task.name for task in self.tasks]

    @property
    def method_name(self) -> str:
        """What tables call the trained method: that of the distillation, or the backbone where there is none."""
        return self.model.backbone if self.distillation.method == "none" else self.distillation.method

    def auxiliary(self, task: str) -> list[str]:
        """The ordered auxiliary tasks of `task`; default all others."""
        others = [name for name in self.task_names if name != task]
        return self.distillation.auxiliary.get(task, others)

    def schema_hash(self) -> str:
        """Sixteen hex digits over everything that fixes what a record means: tasks and features, without widths."""
        schema = {
            "tasks": [task.model_dump(mode="json", exclude={"truth", "weight"}) for task in self.tasks],
            "features": [feature.model_dump(mode="json", exclude={"dim"}) for feature in self.features],
        }
        return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _consistent_names(self) -> Self:
        features = {feature.name: feature for feature in self.features}
        names = self.task_names + [feature.name for feature in self.features]
        # Names become tensors' names, whose case does not count.
        if twice := duplicates([name.casefold() for name in names]):
            raise ValueError(f"the name '{twice[0]}' is used twice among tasks and features")
        if reserved := {"loss", "calibration"} & set(self.task_names):
            raise ValueError(f"a task cannot be called '{min(reserved)}', since a logged loss is")
        for name in names:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(f"the name '{name}' must be a letter, then letters, digits and '_'; 'column' may differ")
        for task in self.tasks:
            for feature in self.features:
                if feature.source_column in (task.column, task.truth):
                    raise ValueError(f"feature '{feature.name}' reads a label of task '{task.name}': labels cannot be features")
        for target, others in self.distillation.auxiliary.items():
            for name in (target, *others):
                if name not in self.task_names:
                    raise ValueError(f"distillation.auxiliary names '{name}', which is no task; tasks are {self.task_names}")
            if target in others or duplicates(others):
                raise ValueError(f"distillation.auxiliary of '{target}' must list each other task at most once")
        group_by = self.evaluation.group_by
        if group_by is not None and getattr(features.get(group_by), "kind", "numeric") == "numeric":
            raise ValueError(f"evaluation.group_by names '{group_by}', which is no categorical or hashed feature")
        return self


def duplicates(names: list[str]) -> list[str]:
    """The names that occur more than once, in order."""
    return [name for position, name in enumerate(names) if name in names[:position]]
