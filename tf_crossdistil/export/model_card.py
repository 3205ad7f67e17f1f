# SPDX-License-Identifier: Apache-2.0
"""The model card: what an exported version is, what it was made of and how good it is; `model_card.json` in its folder."""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras
from pydantic import BaseModel, ConfigDict
from tensorflow.core.protobuf import saved_model_pb2

import tf_crossdistil
from tf_crossdistil.config import Experiment, MultiValueFeature, Mutual, NumericFeature, Task, VocabularyFeature
from tf_crossdistil.data.raw_features import raw_fields
from tf_crossdistil.errors import UsageError
from tf_crossdistil.evaluation.record import Evaluation
from tf_crossdistil.export.examples import Examples, write_examples
from tf_crossdistil.export.limitations import find_limitations
from tf_crossdistil.export.score import Score
from tf_crossdistil.models.run import BestEpoch, Run
from tf_crossdistil.schema import Metadata

JSON_FILE = "model_card.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class SplitFacts(_Part):
    """A split of the prepared data; rates and means are over the rows that have the task's label."""

    rows: int
    positive_rates: dict[str, float]
    label_means: dict[str, float]


class DataFacts(_Part):
    """The prepared data that the model was trained on."""

    run: str
    schema_hash: str
    splits: dict[str, SplitFacts]


class TaskFacts(_Part):
    """A task: what makes a row positive of a binary one; of a regression what its value is, in the units of the logs, and the
    label's mean and deviation in the training split.
    """

    name: str
    kind: str
    positive: str | None = None
    value: str | None = None
    mean: float | None = None
    deviation: float | None = None


class TestFacts(_Part):
    """Metrics of the exported weights on the test split, by task and name; null where the rows do not define one."""

    data_run: str
    rows: int
    tasks: dict[str, dict[str, int | float | None]]


class InputFacts(_Part):
    """An input of a request. `default` stands for a missing value, 1 of a list of weights for each value's.

    `missing_rate` and `oov_rate` are shares of the training split's values, and `vocabulary_size` those it knows.
    """

    name: str
    kind: str
    type: str
    shape: list[int]
    default: str | float | list[str]
    vocabulary_size: int | None = None
    oov_buckets: int | None = None
    hash_buckets: int | None = None
    missing_rate: float | None = None
    oov_rate: float | None = None


class TensorFacts(_Part):
    """A tensor of a signature; -1 stands for any size."""

    type: str
    shape: list[int]


class SignatureFacts(_Part):
    """A way to call the model."""

    method_name: str
    inputs: dict[str, TensorFacts]
    outputs: dict[str, TensorFacts]


class ModelCard(_Part):
    """Everything that the card says; `test` is null where the exported weights were not measured on the test split.

    `validation` has the metrics of the exported epoch as training measured them. `mutual` is null where towers learn nothing
    from each other.
    """

    name: str
    version: int
    created: datetime
    run_directory: str
    configuration_hash: str
    backbone: str
    mutual: dict[str, str] | None
    method: str
    best_epoch: int
    checkpoint: str
    score: dict[str, Any] | None
    data: DataFacts
    tasks: list[TaskFacts]
    test: TestFacts | None
    validation: dict[str, float | None]
    inputs: list[InputFacts]
    signatures: dict[str, SignatureFacts]
    packages: dict[str, str]
    limitations: list[str]
    examples: Examples


def describe(
    run: Run,
    epoch: BestEpoch,
    evaluation: Evaluation | None,
    score: Score | None,
    rows: Sequence[dict[str, Any]],
    directory: Path,
    name: str,
    version: int,
) -> ModelCard:
    """The card of a version that is written, but not yet published.

    Args:
        run: the training run.
        epoch: the exported one.
        evaluation: of that epoch on the test split, where there is one.
        score: the fused output, where there is one.
        rows: real raw rows.
        directory: where the SavedModel is now.
        name: the model's name.
        version: its number.

    Raises:
        UsageError: SOURCE_DATE_EPOCH is set, and is no time.
    """
    experiment, metadata = run.experiment, run.metadata
    configuration = json.dumps(experiment.model_dump(mode="json"), sort_keys=True)
    return ModelCard(
        name=name,
        version=version,
        created=_now(),
        run_directory=str(run.directory.absolute()),
        configuration_hash=hashlib.sha256(configuration.encode()).hexdigest()[:16],
        backbone=experiment.model.backbone,
        mutual=_mutual(experiment.model.mutual),
        method=experiment.distillation.method,
        best_epoch=epoch.number,
        checkpoint=epoch.digest,
        score=None if score is None else {"kind": score.kind, "weights": score.weights},
        data=_data(metadata),
        tasks=[_task(task, metadata) for task in experiment.tasks],
        test=None if evaluation is None else _test(evaluation),
        validation=_validation(run, epoch),
        inputs=_inputs(experiment, metadata),
        signatures=read_signatures(directory),
        packages={
            "tf_crossdistil": tf_crossdistil.__version__,
            "tensorflow": tf.__version__,
            "tf_keras": keras.__version__,
            "tensorflow-recommenders": tfrs.__version__.removeprefix("v"),
            "python": platform.python_version(),
        },
        limitations=find_limitations(experiment, metadata, evaluation),
        examples=write_examples(experiment, name, rows),
    )


def _now() -> datetime:
    """The time in whole seconds, or the one that reproducible builds are to take for it."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.now(timezone.utc) if given is None else datetime.fromtimestamp(int(given), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH must be seconds since 1970; received '{given}'; unset it") from error
    return now.replace(microsecond=0)


def _data(metadata: Metadata) -> DataFacts:
    splits = {
        split: SplitFacts(rows=sum(counts.values()), positive_rates=rates.positive, label_means=rates.mean)
        for split, counts in metadata.counts.items()
        if (rates := metadata.rates.get(split)) is not None
    }
    return DataFacts(run=metadata.run, schema_hash=metadata.schema_hash, splits=splits)


def _mutual(mutual: Mutual) -> dict[str, str] | None:
    kinds = {"features": mutual.features, "distillation": mutual.distillation}
    return {part: kind for part, kind in kinds.items() if kind != "none"} or None


def _task(task: Task, metadata: Metadata) -> TaskFacts:
    given = "" if task.given is None else f", asked of rows that are positive in {task.given}"
    if task.kind == "regression":
        label = metadata.numeric[task.name]
        value = f"{task.column}{given}"
        return TaskFacts(name=task.name, kind=task.kind, value=value, mean=label.mean, deviation=label.deviation)
    if task.at_least is not None:
        rule = f"{task.column} is at least {task.at_least:g}"
    else:
        rule = f"{task.column} is {1 if task.positive is None else repr(task.positive)}"
    return TaskFacts(name=task.name, kind=task.kind, positive=f"{rule}{given}")


def _test(evaluation: Evaluation) -> TestFacts:
    means = {task: dict(values) for task, values in evaluation.means.items()}
    tasks = {task: metrics | means.get(task, {}) for task, metrics in evaluation.summary["tasks"].items()}
    return TestFacts(data_run=evaluation.data_run, rows=evaluation.summary["rows"], tasks=tasks)


def _validation(run: Run, epoch: BestEpoch) -> dict[str, float | None]:
    prefix = "validation_"
    entries = [entry for entry in run.history() if entry["epoch"] == epoch.number]
    return {name.removeprefix(prefix): value for entry in entries for name, value in entry.items() if name.startswith(prefix)}


def _inputs(experiment: Experiment, metadata: Metadata) -> list[InputFacts]:
    fields, rates = raw_fields(experiment), metadata.rates.get("train")
    inputs = []
    for feature in experiment.features:
        field = fields[feature.name]
        facts: dict[str, Any] = {}
        if isinstance(feature, NumericFeature):
            facts["default"] = feature.default
        else:
            facts["default"] = [] if field.is_list else ""
        if isinstance(feature, VocabularyFeature):
            facts["vocabulary_size"] = metadata.vocabularies[feature.vocabulary].size
            facts["oov_buckets"] = experiment.vocabulary_owner(feature).oov_buckets
        elif feature.kind == "hashed":
            facts["hash_buckets"] = feature.buckets
        if rates is not None:
            facts["missing_rate"], facts["oov_rate"] = rates.missing.get(feature.name), rates.oov.get(feature.name)
        inputs.append(_input(feature.name, feature.kind, field.dtype, field.is_list, **facts))
        if isinstance(feature, MultiValueFeature) and feature.weights:
            inputs.append(_input(feature.weights_name, "weights", tf.float32, True, default=1.0))
    return inputs


def _input(name: str, kind: str, dtype: tf.DType, is_list: bool, **facts: Any) -> InputFacts:
    return InputFacts(name=name, kind=kind, type=dtype.name, shape=[-1, -1] if is_list else [-1], **facts)


def read_signatures(directory: Path) -> dict[str, SignatureFacts]:
    """What a written SavedModel itself says of its signatures, by name.

    Raises:
        OSError, google.protobuf.message.DecodeError: there is no SavedModel, or it is damaged.
    """
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    return {
        name: SignatureFacts(
            method_name=definitions[name].method_name,
            inputs=_tensors(definitions[name].inputs),
            outputs=_tensors(definitions[name].outputs),
        )
        # The others are TensorFlow's own.
        for name in sorted(definitions)
        if not name.startswith("__")
    }


def _tensors(infos: Any) -> dict[str, TensorFacts]:
    return {
        name: TensorFacts(
            type=tf.dtypes.as_dtype(infos[name].dtype).name, shape=[dim.size for dim in infos[name].tensor_shape.dim]
        )
        for name in sorted(infos)
    }
