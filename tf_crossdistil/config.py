"""What an experiment is: the typed, validated content of one YAML file."""

import difflib
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from tf_crossdistil.errors import UsageError

SPLITS = ("train", "validation", "test")


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors that name the nearest known key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                nearest = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.5)
                hint = f"did you mean '{nearest[0]}'?" if nearest else f"known keys are {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown key '{key}'; {hint}")
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


class CategoricalFeature(Section):
    """A value looked up in the training split's vocabulary; id 0 is missing, then the vocabulary, then `oov_buckets` ids.

    `min_count`: rows of the training split that a value needs. `max_size`: the most frequent values kept (default all).
    """

    kind: Literal["categorical"]
    name: str
    min_count: int = Field(1, ge=1)
    max_size: int | None = Field(None, ge=1)
    oov_buckets: int = Field(1, ge=1)
    dim: int = Field(16, ge=1)


class HashedFeature(Section):
    """A value whose id is `tf.strings.to_hash_bucket_fast(value, buckets)`; no vocabulary is kept."""

    kind: Literal["hashed"]
    name: str
    buckets: int = Field(ge=1)
    dim: int = Field(16, ge=1)


class NumericFeature(Section):
    """A number; `log1p` is `sign(x) ln(1 + |x|)`, `standardize` uses mean and deviation of the training split.

    `default`: the raw value that stands for a missing one.
    """

    kind: Literal["numeric"]
    name: str
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
    seed: int = Field(0, ge=0)


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
        if twice := duplicates(names):
            raise ValueError(f"the name '{twice[0]}' is used twice among tasks and features")
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
                raise ValueError(
                    f"the name '{name}' must be of letters, digits, '_', '.' and '-', since it names files and tensors"
                )
        for task in self.tasks:
            for column in (task.column, task.truth):
                if column in features:
                    raise ValueError(f"feature '{column}' is a label column of task '{task.name}': labels cannot be features")
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


def load_config(path: str | Path, overrides: list[str] | None = None) -> Experiment:
    """Reads a configuration file, with overrides such as `training.epochs=3` whose values are YAML.

    Raises:
        UsageError: the file is missing, is not YAML, or does not describe an experiment.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}; give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold keys such as name, tasks and features; received {type(content).__name__}")
    for override in overrides or []:
        _apply_override(content, override)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], origin: str) -> Experiment:
    """Validates the content of a configuration; `origin` is named in the error."""
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "configuration"
        message = first["msg"].removeprefix("Value error, ")
        received = "" if first["type"] == "value_error" else f"; received {first['input']!r}"
        raise UsageError(f"{origin}: {where}: {message}{received}") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set needs KEY=VALUE such as training.epochs=3; received '{override}'")
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise UsageError(f"--set {override}: '{parent}' is not a section with keys")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not valid YAML") from error
