# SPDX-License-Identifier: Apache-2.0
"""A model small enough to follow by hand, batches for it, and runs that hold it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.layers.perceptron import Perceptron
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import Run, build, weights_checkpoint
from tf_crossdistil.schema import METADATA_FILE, SAMPLE_FILE, Manifest, Metadata, NumericStatistics, PreparedData, Vocabulary
from tf_crossdistil.training.optimizers import composite_optimizer

COUNTS = {"00": 60, "01": 4, "10": 30, "11": 6}
USERS = 7
AUTHORS = 4
TAGS = 5
AGES = [1.5, 4.0]
# Of the labels of regression tasks.
MEAN, DEVIATION = 20.0, 5.0
ROWS, DRAWS = 8, 8
OWN_BACKBONE = "tests.models.small_model:OwnBackbone"


class OwnBackbone(Backbone):
    """A user's backbone: one bottom for all, and a layer of its own for each task."""

    def __init__(self, students, teachers, settings, **kwargs):
        super().__init__(students, teachers, settings, **kwargs)
        self.bottom = Perceptron(settings.experts.units)
        self.heads = {task: keras.layers.Dense(4) for task in [*students, *teachers]}

    def call(self, inputs, tasks, training=False):
        hidden = self.bottom(inputs, training=training)
        return {task: self.heads[task](hidden) for task in tasks}


def small_experiment(**sections) -> Experiment:
    content = {
        "name": "small",
        "tasks": [{"name": "finish", "column": "finish"}, {"name": "like", "column": "like", "weight": 0.5}],
        "features": [
            {"name": "user", "kind": "categorical", "dim": 3},
            {"name": "author", "kind": "hashed", "buckets": AUTHORS, "dim": 2},
            {"name": "duration", "kind": "numeric", "transform": "standardize"},
            {"name": "tags", "kind": "multi_value", "dim": 2, "weights": "w"},
            {"name": "friends", "kind": "multi_value", "share_with": "user", "pooling": "sum"},
            {"name": "age", "kind": "numeric", "transform": "bucketize", "boundaries": AGES, "dim": 2},
        ],
        "split": {"by": "hash", "key": ["user"]},
        "model": {"experts": {"shared": 2, "per_task": 1, "units": [5], "levels": 1}, "towers": [6]},
        "distillation": {
            "alpha": 0.3,
            "beta1": 0.7,
            "beta2": 1.3,
            "margin": 0.2,
            "temperature": 1.5,
            "ranking_weight": 0.8,
        },
        "training": {
            "batch_size": ROWS,
            "strata_batch_size": DRAWS,
            "learning_rate": 0.01,
            "embedding_learning_rate": 0.1,
            "calibration_learning_rate": 0.02,
        },
    }
    return parse_config(content | sections, "small")


def small_metadata(experiment: Experiment, counts: dict[str, int] = COUNTS) -> Metadata:
    numbers = NumericStatistics(count=100, missing=0, mean=2.0, deviation=4.0, minimum=0, maximum=9)
    return Metadata(
        name="small",
        run="r",
        package_version="0",
        schema_hash=experiment.schema_hash(),
        config={},
        rows_in=100,
        rows_out=100,
        dead_letters={},
        counts={"train": counts},
        rates={},
        vocabularies={
            owner: Vocabulary(size=size, ids=ids, sha256=hashlib.sha256(small_vocabulary(owner, size)).hexdigest())
            for owner, size, ids in (("user", 5, USERS), ("tags", 3, TAGS))
        },
        numeric={"duration": numbers, "age": numbers.model_copy(update={"boundaries": AGES})}
        | {
            task: numbers.model_copy(update={"mean": MEAN, "deviation": DEVIATION, "maximum": 40})
            for task in experiment.regression_names
        },
        inputs=[],
    )


def small_vocabulary(owner: str, size: int) -> bytes:
    """The file: u0, u1, ... of users."""
    return "".join(f"{owner[0]}{number}\n" for number in range(size)).encode()


def small_model(
    seed: int = 3, counts: dict[str, int] = COUNTS, eagerly: bool = False, **sections
) -> tuple[CrossDistilModel, Experiment]:
    experiment = small_experiment(**sections)
    keras.utils.set_random_seed(seed)
    model = CrossDistilModel(experiment, small_metadata(experiment, counts))
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training), run_eagerly=eagerly)
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(scale=0.5, size=variable.shape))
    return model, experiment


def small_batch(rows: int = ROWS, draws: int = DRAWS, seed: int = 0, tags: int = 4, tasks: int = 2) -> dict[str, Any]:
    """Natural rows, and `draws` rows of each tag; labels are 0 or 1."""
    generator = np.random.default_rng(seed)
    total = rows + tags * draws
    columns: dict[str, np.ndarray] = {
        "user": generator.integers(0, USERS, total),
        "author": generator.integers(0, AUTHORS, total),
        "duration": generator.normal(3, 4, total).astype(np.float32),
        "tags": padded_ids(generator, TAGS, total, 4),
        "tags_weights": generator.choice([0.0, 0.5, 2.0], (total, 4)).astype(np.float32),
        "friends": padded_ids(generator, USERS, total, 3),
        "age": generator.choice([-1.0, 1.5, 3.0, 4.0, 9.0], total).astype(np.float32),
    }
    labels = generator.integers(0, 2, (rows, tasks)).astype(np.float32)
    features, strata = ({name: values[part] for name, values in columns.items()} for part in (slice(rows), slice(rows, None)))
    return {"features": features, "labels": labels, "strata": strata}


def run_step(model: CrossDistilModel, batch: dict[str, Any]) -> dict[str, Any]:
    """One step of training; what it logs."""
    return model.make_train_function()(iter(tf.data.Dataset.from_tensors(batch)))


def padded_ids(generator: np.random.Generator, ids: int, rows: int, longest: int) -> np.ndarray:
    """Lists of ids `[rows, longest]` from none to all places, some ids twice in a row."""
    lengths = generator.integers(0, longest + 1, rows)
    return np.where(np.arange(longest) < lengths[:, None], generator.integers(1, ids, (rows, longest)), 0)


def small_rows() -> list[dict]:
    """Raw rows with known, unknown and missing values."""
    names = ["u0", "u4", "stranger", ""]
    return [
        {
            "user": name,
            "author": f"author {number}",
            "duration": number - 3.0,
            "tags": ["t0", "t2", "new"][:number],
            "tags_weights": [0.5, 1.0, 2.0][:number],
            "friends": names[number:],
            "age": number + 1.0,
        }
        for number, name in enumerate(names)
    ]


def small_run(directory: Path, model: CrossDistilModel, experiment: Experiment) -> Run:
    """A run whose best epoch is the model."""
    prepared = directory / "prepared"
    (prepared / "vocabulary").mkdir(parents=True)
    (prepared / METADATA_FILE).write_text(model.metadata.model_dump_json(), encoding="utf-8")
    (prepared / SAMPLE_FILE).write_text("".join(json.dumps(row) + "\n" for row in small_rows()), encoding="utf-8")
    for owner, vocabulary in model.metadata.vocabularies.items():
        (prepared / "vocabulary" / f"{owner}.txt").write_bytes(small_vocabulary(owner, vocabulary.size))
    run = Run.create(directory / "run", experiment, PreparedData(prepared, model.metadata, Manifest(files=[])))
    tf.train.CheckpointManager(weights_checkpoint(model), str(run.checkpoints / "best"), max_to_keep=1).save()
    return run


def live_students(model: CrossDistilModel, run: Run) -> dict[str, np.ndarray]:
    """The students' probabilities of `small_rows`, with teachers computed beside them."""
    raw = raw_columns(run.experiment, small_rows())
    logits = model(FeatureLookup(run.experiment, run.vocabularies)(raw))
    return {task: tf.sigmoid(logits[task]).numpy() for task in run.experiment.task_names}
