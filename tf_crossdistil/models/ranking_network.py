# SPDX-License-Identifier: Apache-2.0
"""The network: features, interaction, backbone, one tower a task; students and teachers alike."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.checking import check_backbone, check_backbone_trains
from tf_crossdistil.backbones.registry import BACKBONES, find_backbone
from tf_crossdistil.config import Experiment, NumericFeature
from tf_crossdistil.data.records import Columns, column_signature, feature_columns
from tf_crossdistil.layers.feature_encoder import FeatureEncoder
from tf_crossdistil.layers.interaction import make_interaction
from tf_crossdistil.layers.numeric import check_numeric_transform
from tf_crossdistil.layers.perceptron import Tower
from tf_crossdistil.layers.precision import computing_in
from tf_crossdistil.models.methods import Method, method_of
from tf_crossdistil.models.mutual_learning import DISTILLATIONS, FEATURES, MutualReading, check_mutual_learning
from tf_crossdistil.schema import Metadata

# No task can be called so.
EVERY_TASK = "(every task)"


def teacher_name(task: str) -> str:
    """The name of a task's augmented task, A+ in the paper."""
    return f"{task}+"


def teacher_names(experiment: Experiment, method: Method) -> list[str]:
    """The names of all augmented tasks, one a binary task; none by a method without teachers."""
    return [teacher_name(task) for task in experiment.binary_names] if method.teachers != "none" else []


def check_network(experiment: Experiment, metadata: Metadata) -> None:
    """Refuses a configuration whose network cannot be made, before a run is started with it.

    Raises:
        UsageError: the method, the backbone, the interaction or a feature's transform does not exist or does not suit, or what
            the backbone gives does not suit `model.mutual`.
    """
    settings = experiment.model
    find_backbone(settings.backbone)
    make_interaction(experiment)
    for feature in experiment.features:
        if isinstance(feature, NumericFeature):
            check_numeric_transform(feature, metadata.numeric[feature.name])
    teachers = teacher_names(experiment, method_of(experiment))
    # Tests try the package's own.
    if settings.backbone not in BACKBONES:
        width = _encoded_width(experiment, metadata)
        check_backbone(settings, experiment.task_names, teachers, width)
        check_backbone_trains(settings, experiment.training, experiment.task_names, teachers, width)
        check_mutual_learning(settings, experiment.task_names, teachers, width)


class RankingNetwork(keras.Model):
    """Columns of ids and numbers `[rows]` to one logit `[rows]` a task.

    Args:
        experiment: the configuration.
        metadata: of the prepared data; vocabularies and statistics size the network.
        method: what teachers there are.
        precision: in which interaction, backbone and towers compute, a Keras policy; all variables and the logits are float32.
        xla: whether interaction, backbone and towers are compiled when called with `training`.
    """

    def __init__(
        self, experiment: Experiment, metadata: Metadata, method: Method, precision: str = "float32", xla: bool = False
    ):
        super().__init__(name="ranking_network")
        settings = experiment.model
        self.students = experiment.task_names
        self.teachers = teacher_names(experiment, method)
        self.precision = precision
        with computing_in(precision):
            self.backbone = find_backbone(settings.backbone)(self.students, self.teachers, settings)
            owners = [EVERY_TASK] if self.backbone.shares_embeddings else [*self.students, *self.teachers]
            self.interactions = {owner: make_interaction(experiment) for owner in owners}
            # Of an order only differences are learned; the calibration has the bias.
            self.towers = {task: Tower(settings.towers, settings.dropout) for task in self.students} | {
                task: Tower(settings.towers, settings.dropout, use_bias=method.teachers == "labels") for task in self.teachers
            }
        self.encoders = {owner: FeatureEncoder(experiment, metadata) for owner in owners}
        # Last, so that what is drawn above is what the plain network draws.
        with computing_in(precision):
            self.features, self.distillation = (
                MutualReading(layer, self.students, self.teachers, settings)
                for layer in (FEATURES[settings.mutual.features], DISTILLATIONS[settings.mutual.distillation])
            )
        self._logits_in_training = tf.function(self._logits, jit_compile=True) if xla else self._logits

    def call(self, inputs: Columns, tasks: Sequence[str] | None = None, training: bool = False) -> dict[str, tf.Tensor]:
        """Logits of `tasks`, by default of all; for others only what these read of them is computed."""
        tasks = [*self.students, *self.teachers] if tasks is None else list(tasks)
        owners = [EVERY_TASK] if self.backbone.shares_embeddings else self.features.reads(self.distillation.reads(tasks))
        vectors = {owner: self.encoders[owner](inputs) for owner in owners}
        logits = self._logits_in_training if training else self._logits
        return logits(vectors, tuple(tasks), training)

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The embedding tables that are trained; their gradients are sparse."""
        return [variable for encoder in self.encoders.values() for variable in encoder.embedding_variables]

    def _logits(self, vectors: dict[str, dict[str, tf.Tensor]], tasks: Sequence[str], training: bool) -> dict[str, tf.Tensor]:
        """The dense part: logits of `tasks` from the features' vectors by owner."""
        read = self.distillation.reads(tasks)
        encoded = {owner: self.interactions[owner](inputs) for owner, inputs in vectors.items()}
        inputs = encoded[EVERY_TASK] if self.backbone.shares_embeddings else encoded
        representations = self.backbone(inputs, self.features.reads(read), training=training)
        tower_inputs = _sums(representations, self.features(representations, read, training=training))
        logits = {}
        hidden = {task: self.towers[task].hidden(tower_inputs[task], training=training) for task in read if task not in tasks}
        for task in tasks:
            hidden[task], logits[task] = self.towers[task](tower_inputs[task], training=training)
        return _sums(logits, self.distillation(hidden, tasks, training=training))


def _sums(values: Mapping[str, tf.Tensor], added: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    # What the user's own backbone gives may be in another precision.
    return {task: value + tf.cast(added[task], value.dtype) if task in added else value for task, value in values.items()}


def _encoded_width(experiment: Experiment, metadata: Metadata) -> int:
    """How wide the rows are that the backbone gets; inside a graph no table takes memory."""
    with tf.Graph().as_default():
        columns = {name: tf.zeros([1] * spec.shape.rank, spec.dtype) for name, spec in column_signature(experiment).items()}
        vectors = FeatureEncoder(experiment, metadata)(feature_columns(experiment, columns))
        return make_interaction(experiment)(vectors).shape[1]
