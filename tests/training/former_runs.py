# SPDX-License-Identifier: Apache-2.0
"""Runs of yesterday, the data of today, and where their tables are."""

import hashlib

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tests.models.small_model import AGES, small_batch, small_experiment, small_metadata
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.models.run import Run, build
from tf_crossdistil.schema import METADATA_FILE, SAMPLE_FILE, Manifest, PreparedData, Vocabulary
from tf_crossdistil.training.optimizers import composite_optimizer

YESTERDAY = {"user": ["u0", "u1", "日本", "u3", "u4"], "tags": ["a", "b", "c"]}
TODAY = {"user": ["new", "u4", "日本", "u0", "newer", "u1"], "tags": ["c", "d", "a", "e"]}
FRESH_ACCUMULATOR = np.float32(1e-5)


def prepared_data(folder, experiment, vocabularies, boundaries=AGES):
    """What a run needs of a prepared data set, with these values in its vocabularies."""
    (folder / "vocabulary").mkdir(parents=True)
    oov = {feature.name: getattr(feature, "oov_buckets", 0) for feature in experiment.features}
    known = {}
    for owner, values in vocabularies.items():
        text = "".join(f"{value}\n" for value in values).encode()
        (folder / "vocabulary" / f"{owner}.txt").write_bytes(text)
        digest = hashlib.sha256(text).hexdigest()
        known[owner] = Vocabulary(size=len(values), ids=1 + len(values) + oov.get(owner, 0), sha256=digest)
    metadata = small_metadata(experiment)
    numeric = metadata.numeric | {"age": metadata.numeric["age"].model_copy(update={"boundaries": boundaries})}
    metadata = metadata.model_copy(update={"vocabularies": known, "numeric": numeric})
    (folder / METADATA_FILE).write_text(metadata.model_dump_json(), encoding="utf-8")
    (folder / SAMPLE_FILE).write_text("", encoding="utf-8")
    return PreparedData(folder, metadata, Manifest(files=[]))


def fresh_model(experiment, data, seed):
    keras.utils.set_random_seed(seed)
    model = CrossDistilModel(experiment, data.metadata)
    build(model, experiment)
    model.compile(optimizer=composite_optimizer(model, experiment.training))
    return model


def former_run(folder, experiment=None, steps=1):
    """A run whose best epoch is a model of a few steps, with everything that a checkpoint holds."""
    experiment = experiment or small_experiment()
    data = prepared_data(folder / "yesterday", experiment, YESTERDAY)
    model = fresh_model(experiment, data, seed=1)
    for step in range(steps):
        model.train_step(batch_for(experiment, step))
    run = Run.create(folder / "former", experiment, data)
    objects = tf.train.Checkpoint(
        network=model.network,
        calibration=model.calibration.calibrator,
        loss_weighting=model.loss_weighting,
        optimizer=model.optimizer,
        calibration_optimizer=model.calibration.optimizer,
    )
    tf.train.CheckpointManager(objects, str(run.checkpoints / "best"), max_to_keep=1).save()
    return run, model, data


def batch_for(experiment, seed):
    batch = small_batch(seed=seed)
    return {key: batch[key] for key in ("features", "labels")} if experiment.distillation.method == "none" else batch


def optimizers_of(model):
    """Adagrad of the tables, and Adam of everything else."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return inner.optimizers


def tables_of(model, name):
    for encoder in model.network.encoders.values():
        yield (encoder.encoders["age"].table if name == "age" else encoder.tables[name]).embeddings


def accumulator(model, table):
    return optimizers_of(model)[0].get_slot(table, "accumulator").numpy()


def expected_rows(name, former_table, fresh_table, oov_buckets=1):
    """The rows of today's table, joined by what is written in both vocabularies."""
    was = {value: row for row, value in enumerate(["", *YESTERDAY[name]])}
    expected = np.array(fresh_table)
    for row, value in enumerate(["", *TODAY[name]]):
        if value in was:
            expected[row] = former_table[was[value]]
    if oov_buckets:
        expected[-oov_buckets:] = former_table[-oov_buckets:]
    return expected


def changed(name, **settings):
    """The small experiment with one feature changed."""
    features = [feature.model_dump(mode="json") for feature in small_experiment().features]
    return small_experiment(features=[feature | (settings if feature["name"] == name else {}) for feature in features])
