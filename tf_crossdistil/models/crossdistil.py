# SPDX-License-Identifier: Apache-2.0
"""CrossDistil: students and teachers trained together by one overridden `train_step`."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from tf_crossdistil.calibrators.registry import find_calibrator
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.groups import group_feature, group_ids
from tf_crossdistil.data.label_exchange import as_trained
from tf_crossdistil.data.records import Columns, column_signature, feature_columns
from tf_crossdistil.data.strata import strata
from tf_crossdistil.layers.precision import computing_in
from tf_crossdistil.losses.augmented_ranking import augmented_ranking_loss
from tf_crossdistil.losses.distillation import correct_errors, soft_label_loss
from tf_crossdistil.losses.student_losses import cross_entropy, student_losses
from tf_crossdistil.metrics.ranking_metrics import RankingMetrics
from tf_crossdistil.metrics.regression_metrics import RegressionMetrics
from tf_crossdistil.models.calibration import Calibration
from tf_crossdistil.models.loss_weighting import LOSS_WEIGHTINGS
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.ranking_network import RankingNetwork, teacher_name
from tf_crossdistil.models.task_outputs import TaskOutputs
from tf_crossdistil.schema import Metadata
from tf_crossdistil.tags import observed_tags, pair_weights, positive_rate

# What the losses that layers add of their own are logged as.
_REGULARISATION = "regularisation"


class CrossDistilModel(tfrs.models.Model):
    """Multi-task ranking with cross-task distillation (Yang et al., AAAI 2022).

    A step runs the network over the natural rows, and its teachers over the rows of the strata, which alone give them
    gradients; it updates the network on the sum of all losses, and the calibration on its own loss with the network held fixed
    (Algorithm 1). The losses are, for a binary task: `(1 - alpha) CE(y, r)` and `alpha CE(sigmoid(r~ / tau), r / tau)` for the
    student (Eq. 7), both means over the natural rows and scaled by the task's `weight`, and `ranking_weight` times Eq. 4 for
    the teacher. A regression task has only a student, and that the squared error of the standardised label. A row without a
    task's label counts nothing in the losses of that task's student.

    Args:
        experiment: the configuration.
        metadata: of the prepared data.
        precision: in which the dense layers compute, one of `training.precision`; a model that is not trained has float32.
        xla: whether they are compiled.

    Raises:
        UsageError: the configuration names a method, backbone, calibrator or loss that does not exist.
    """

    def __init__(self, experiment: Experiment, metadata: Metadata, precision: str = "float32", xla: bool = False):
        super().__init__()
        self.experiment = experiment
        self.method = method_of(experiment)
        self._distillation = experiment.distillation
        self._tasks = experiment.task_names
        self._binary, self._regressions = experiment.binary_names, experiment.regression_names
        self._auxiliary = [[self._binary.index(name) for name in experiment.auxiliary(task)] for task in self._binary]
        self._student_losses = student_losses(experiment)
        self.task_outputs = TaskOutputs(experiment, metadata)
        self.loss_weighting = LOSS_WEIGHTINGS[experiment.training.loss_weighting](experiment.tasks)
        self.network = RankingNetwork(experiment, metadata, self.method, precision, xla)
        trained = as_trained(experiment, metadata)
        counts = trained.counts["train"]
        rates = [positive_rate(counts, index) for index in range(len(self._binary))]
        calibrator = find_calibrator(experiment.distillation.calibration)(rates)
        self.calibration = Calibration(calibrator, experiment.training.calibration_learning_rate)
        beta1, beta2 = (self._distillation.beta1, self._distillation.beta2) if self.method.auxiliary_ranking else (0.0, 0.0)
        # Tags are many with many tasks; only a method that compares rows has their pairs.
        tags = strata(trained) if self.method.teachers == "ranking" else []
        self._pair_weights = [
            pair_weights(self._binary, task, experiment.auxiliary(task), counts, beta1, beta2, tags) for task in self._binary
        ]
        self._teacher_losses: dict[str, Callable[[dict[str, Any], dict[str, tf.Tensor], bool], list[tf.Tensor]]] = {
            "ranking": self._ranking_losses,
            "labels": self._label_losses,
            "none": lambda batch, logits, training: [],
        }
        self.metadata = metadata
        self._groups = group_feature(experiment)
        self._orders = {task: experiment.auxiliary(task) for task in self._binary}
        self._ranking_metrics: RankingMetrics | None = None
        self._regression_metrics: RegressionMetrics | None = None
        self._logged = {name: keras.metrics.Mean(name=name) for name in self._loss_names()}

    def get_config(self) -> dict[str, Any]:
        """The configuration and the data's metadata as JSON-able dicts, which make a model of the same variables."""
        return {"experiment": self.experiment.model_dump(mode="json"), "metadata": self.metadata.model_dump(mode="json")}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "CrossDistilModel":
        """An untrained model of what `get_config` gave, with all its variables; so `keras.models.clone_model` works.

        `set_weights` then takes the weights of the other model, without the calibration, which is none of a model's weights.
        """
        model = cls(Experiment.model_validate(config["experiment"]), Metadata.model_validate(config["metadata"]))
        build(model, model.experiment)
        return model

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The embedding tables, whose gradients are sparse."""
        return self.network.embedding_variables

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """Every trainable variable but the embedding tables."""
        tables = {variable.ref() for variable in self.embedding_variables}
        return [variable for variable in self.trainable_variables if variable.ref() not in tables]

    def call(self, features: Columns, training: bool = False) -> dict[str, tf.Tensor]:
        """What the towers of all students and teachers give, `[rows]`: logits, or a regression's standardised number."""
        return self.network(features, training=training)

    def teacher_logits(self, logits: dict[str, tf.Tensor]) -> tf.Tensor:
        """The teachers' logits `[rows, binary tasks]` out of all, as their towers give them."""
        return tf.stack([logits[teacher_name(task)] for task in self._binary], axis=1)

    def calibrated(self, logits: tf.Tensor) -> tf.Tensor:
        """Teachers' logits `[rows, binary tasks]` as those of probabilities; unchanged by a method without calibration."""
        return self.calibration(logits) if self.method.calibration else logits

    def losses_by_name(
        self, batch: dict[str, Any], logits: dict[str, tf.Tensor], training: bool = False
    ) -> dict[str, tf.Tensor]:
        """Every term of the model's loss, weighted, as scalars; with that of the loss weighting, their sum is minimised.

        Args:
            batch: an element of `TrainingBatches`.
            logits: of its natural rows, by task; nothing else was computed since.
            training: whether the teachers see the strata as in training, with dropout.
        """
        # What layers add of their own is that of their last call, and the strata are another.
        penalties = self.losses
        targets, weights = self._targets_and_weights(batch)
        distils = self.method.soft_labels != "none"
        alpha = self._distillation.alpha if distils else 0.0

        def weighted(per_row: tf.Tensor, task: str) -> tf.Tensor:
            index = self._tasks.index(task)
            return self.loss_weighting(tf.reduce_mean(weights[:, index] * per_row), task=index)

        losses = {}
        for task, target, loss in zip(self._tasks, tf.unstack(targets, axis=1), self._student_losses, strict=True):
            share = 1.0 - alpha if task in self._binary else 1.0
            losses[task] = share * weighted(loss(target, logits[task]), task)
        if distils:
            soft_labels = self._soft_labels(self.teacher_logits(logits), self._columns(targets, self._binary))
            for task, soft_label in zip(self._binary, soft_labels, strict=True):
                soft = soft_label_loss(logits[task], soft_label, self._distillation.temperature)
                losses[f"{task}/distillation"] = alpha * weighted(soft, task)
        teacher_losses = self._teacher_losses[self.method.teachers](batch, logits, training)
        losses |= zip(self.network.teachers, teacher_losses, strict=True)
        # Layers of a lower precision give penalties in it.
        return losses | (
            {_REGULARISATION: tf.add_n([tf.cast(penalty, tf.float32) for penalty in penalties])} if penalties else {}
        )

    def _soft_labels(self, teachers: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        """What the student of each task learns from, `[rows]`."""
        calibrated = self.calibrated(teachers)
        if self.method.correction:
            calibrated = correct_errors(calibrated, labels, self._distillation.margin)
        probabilities = tf.unstack(tf.sigmoid(calibrated / self._distillation.temperature), axis=1)
        if self.method.soft_labels == "own":
            return probabilities
        return [tf.add_n([probabilities[other] for other in others]) / len(others) for others in self._auxiliary]

    def _ranking_losses(self, batch: dict[str, Any], logits: dict[str, tf.Tensor], training: bool) -> list[tf.Tensor]:
        # The natural rows' teacher logits are soft labels only, without gradient: their backward pass is never made.
        drawn = self.network(batch["strata"], self.network.teachers, training=training)
        shape = [len(self._pair_weights[0]), self.experiment.training.strata_batch_size]
        shape[1] //= tf.distribute.get_strategy().num_replicas_in_sync
        return [
            self._distillation.ranking_weight * augmented_ranking_loss(tf.reshape(drawn[name], shape), weights)
            for name, weights in zip(self.network.teachers, self._pair_weights, strict=True)
        ]

    def _label_losses(self, batch: dict[str, Any], logits: dict[str, tf.Tensor], training: bool) -> list[tf.Tensor]:
        labels, weights = (self._columns(values, self._binary) for values in self._targets_and_weights(batch))
        return [
            tf.reduce_mean(weights[:, index] * cross_entropy(labels[:, index], logits[name]))
            for index, name in enumerate(self.network.teachers)
        ]

    def compute_loss(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """The sum of all losses of a batch, a scalar."""
        return self._total(self.losses_by_name(inputs, self(inputs["features"], training=training), training))

    def train_step(self, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """One step of Algorithm 1 on one batch; returns the running means of all losses by name."""
        with tf.GradientTape() as tape:
            logits = self(inputs["features"], training=True)
            losses = self.losses_by_name(inputs, logits, training=True)
            losses["loss"] = self._total(losses)
            # Gradients are summed over replicas.
            share = losses["loss"] / self.distribute_strategy.num_replicas_in_sync
        # Not `apply_gradients`: `minimize` is what scales losses of float16.
        self.optimizer.minimize(share, self.trainable_variables, tape=tape)
        if self.method.trains_calibration:
            labels, weights = (self._columns(values, self._binary) for values in self._targets_and_weights(inputs))
            losses["calibration"] = self.calibration.update(self.teacher_logits(logits), labels, weights)
        return self._log(losses)

    def test_step(self, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Adds a batch to the streaming metrics of students and calibrated teachers, by name such as `finish/auc`.

        Their values are NaN until the last batch: reading all histograms takes longer than a batch. `evaluate` returns
        them, and `get_metrics_result` at any time.

        Args:
            inputs: `features`, `labels` and, with a sample weight, `weights`, as `evaluation_batches` gives them.
        """
        features, labels, weights = inputs["features"], inputs["labels"], inputs.get("weights")
        logits = self(features, training=False)
        if self.method.teachers != "none":
            calibrated = tf.unstack(self.calibrated(self.teacher_logits(logits)), axis=1)
            logits |= dict(zip(map(teacher_name, self._binary), calibrated, strict=True))
        groups = None if self._groups is None else group_ids(self._groups, self.metadata, features)
        assert self._ranking_metrics is not None and self._regression_metrics is not None
        self._ranking_metrics.update_state(self._columns(labels, self._binary), logits, weights, groups)
        values = {task: self.task_outputs.answer(task, logits[task]) for task in self._regressions}
        self._regression_metrics.update_state(self._columns(labels, self._regressions), values, weights)
        return {metric.name: tf.constant(float("nan"), tf.float64) for metric in self._streaming_metrics}

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """What Keras reports in place of the last step's answer, if the names agree; it asks after the last batch."""
        if self._ranking_metrics is None or self._regression_metrics is None:
            return super().get_metrics_result()
        return self._ranking_metrics.result() | self._regression_metrics.result()

    def make_test_function(self, force: bool = False) -> Callable[..., Any]:
        """What `evaluate` runs; only then are the streaming metrics made, since their histograms take megabytes."""
        if self._ranking_metrics is None:
            scores = {task: task for task in self._binary}
            if self.method.teachers != "none":
                scores |= {teacher_name(task): task for task in self._binary}
            tags = sorted({tag for counts in self.metadata.counts.values() for tag in observed_tags(counts)})
            groups = None if self._groups is None else self.metadata.embedding_rows(self._groups)
            self._ranking_metrics = RankingMetrics(self._binary, scores, self._orders, tags, groups)
            means = {task: self.metadata.numeric[task].mean for task in self._regressions}
            self._regression_metrics = RegressionMetrics(self._regressions, means)
        return super().make_test_function(force)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets between epochs and evaluations."""
        return [*self._logged.values(), *self._streaming_metrics]

    @property
    def _streaming_metrics(self) -> list[keras.metrics.Metric]:
        made = [metrics for metrics in (self._ranking_metrics, self._regression_metrics) if metrics is not None]
        return [metric for metrics in made for metric in metrics.metrics]

    def _total(self, losses: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.add_n([*losses.values(), *self.loss_weighting.regularisation()])

    def _targets_and_weights(self, batch: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """What the towers should give for the natural rows `[rows, tasks]`, and how much each counts; 0 without a label."""
        labels = batch["labels"]
        columns = zip(self._tasks, tf.unstack(labels, axis=1), strict=True)
        targets = tf.stack([self.task_outputs.target(task, column) for task, column in columns], axis=1)
        missing = tf.math.is_nan(labels)
        weights = batch["weights"][:, tf.newaxis] if "weights" in batch else tf.ones([1, 1])
        return tf.where(missing, 0.0, targets), tf.where(missing, 0.0, weights)

    def _columns(self, values: tf.Tensor, tasks: Sequence[str]) -> tf.Tensor:
        """The columns of some tasks out of `[rows, tasks]`."""
        return tf.gather(values, tf.constant([self._tasks.index(task) for task in tasks], tf.int32), axis=1)

    def _loss_names(self) -> list[str]:
        names = ["loss", *self._tasks, _REGULARISATION]
        if self.method.soft_labels != "none":
            names += [f"{task}/distillation" for task in self._binary]
        if self.method.teachers != "none":
            names += map(teacher_name, self._binary)
        return [*names, "calibration"] if self.method.trains_calibration else names

    def _log(self, losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, loss in losses.items():
            self._logged[name].update_state(loss)
        return {name: metric.result() for name, metric in self._logged.items() if name in losses}


def build(model: CrossDistilModel, experiment: Experiment) -> None:
    """Creates all variables of a model by one call on a row of zeros."""
    signature = column_signature(experiment)
    row = {name: tf.zeros([1] * column.shape.rank, column.dtype) for name, column in signature.items()}
    # Layers may make others when they are called first; replicas' threads would share a policy that they set.
    with computing_in(model.network.precision):
        model(feature_columns(experiment, row))
