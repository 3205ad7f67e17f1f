"""CrossDistil: students and teachers trained together by one overridden `train_step`."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from tf_crossdistil.calibrators.registry import find_calibrator
from tf_crossdistil.config import Experiment
from tf_crossdistil.data.groups import group_feature, group_ids
from tf_crossdistil.data.records import Columns, column_signature, feature_columns
from tf_crossdistil.data.strata import strata
from tf_crossdistil.layers.precision import computing_in
from tf_crossdistil.losses.augmented_ranking import augmented_ranking_loss
from tf_crossdistil.losses.distillation import correct_errors, soft_label_loss
from tf_crossdistil.losses.student_losses import cross_entropy, find_student_loss
from tf_crossdistil.metrics.ranking_metrics import RankingMetrics
from tf_crossdistil.models.calibration import Calibration
from tf_crossdistil.models.loss_weighting import LOSS_WEIGHTINGS
from tf_crossdistil.models.methods import method_of
from tf_crossdistil.models.ranking_network import RankingNetwork, teacher_name
from tf_crossdistil.schema import Metadata
from tf_crossdistil.tags import observed_tags, pair_weights, positive_rate


class CrossDistilModel(tfrs.models.Model):
    """Multi-task ranking with cross-task distillation (Yang et al., AAAI 2022).

    A step runs the network over the natural rows, and its teachers over the rows of the strata, which alone give them
    gradients; it updates the network on the sum of all losses, and the calibration on its own loss with the network held fixed
    (Algorithm 1). With T tasks the losses are, for
    task k: `(1 - alpha) CE(y, r)` and `alpha CE(sigmoid(r~ / tau), r / tau)` for the student (Eq. 7), both means over the
    natural rows and scaled by the task's `weight`, and `ranking_weight` times Eq. 4 for the teacher. A row without a task's
    label counts nothing in the losses of that task's student.

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
        self._auxiliary = [[self._tasks.index(name) for name in experiment.auxiliary(task)] for task in self._tasks]
        self._student_loss = find_student_loss(experiment.training.loss)
        self.loss_weighting = LOSS_WEIGHTINGS[experiment.training.loss_weighting]([task.weight for task in experiment.tasks])
        self.network = RankingNetwork(experiment, metadata, self.method, precision, xla)
        counts = metadata.counts["train"]
        rates = [positive_rate(counts, index) for index in range(len(self._tasks))]
        calibrator = find_calibrator(experiment.distillation.calibration)(rates)
        self.calibration = Calibration(calibrator, experiment.training.calibration_learning_rate)
        beta1, beta2 = (self._distillation.beta1, self._distillation.beta2) if self.method.auxiliary_ranking else (0.0, 0.0)
        # Tags are many with many tasks; only a method that compares rows has their pairs.
        tags = strata(metadata) if self.method.teachers == "ranking" else []
        self._pair_weights = [
            pair_weights(self._tasks, task, experiment.auxiliary(task), counts, beta1, beta2, tags) for task in self._tasks
        ]
        self._teacher_losses: dict[str, Callable[[dict[str, Any], dict[str, tf.Tensor], bool], list[tf.Tensor]]] = {
            "ranking": self._ranking_losses,
            "labels": self._label_losses,
            "none": lambda batch, logits, training: [],
        }
        self.metadata = metadata
        self._groups = group_feature(experiment)
        self._orders = {task: experiment.auxiliary(task) for task in self._tasks}
        self._ranking_metrics: RankingMetrics | None = None
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
        """Logits `[rows]` of all students and teachers."""
        return self.network(features, training=training)

    def teacher_logits(self, logits: dict[str, tf.Tensor]) -> tf.Tensor:
        """The teachers' logits `[rows, tasks]` out of all, as their towers give them."""
        return tf.stack([logits[teacher_name(task)] for task in self._tasks], axis=1)

    def calibrated(self, logits: tf.Tensor) -> tf.Tensor:
        """Teachers' logits `[rows, tasks]` as those of probabilities; unchanged by a method without calibration."""
        return self.calibration(logits) if self.method.calibration else logits

    def losses_by_name(
        self, batch: dict[str, Any], logits: dict[str, tf.Tensor], training: bool = False
    ) -> dict[str, tf.Tensor]:
        """Every term of the model's loss, weighted, as scalars; their sum is what the network minimises.

        Args:
            batch: an element of `TrainingBatches`.
            logits: of its natural rows, by task.
            training: whether the teachers see the strata as in training, with dropout.
        """
        labels, weights = labels_and_weights(batch)
        distils = self.method.soft_labels != "none"
        alpha = self._distillation.alpha if distils else 0.0

        def weighted(per_row: tf.Tensor, index: int) -> tf.Tensor:
            return self.loss_weighting(tf.reduce_mean(weights[:, index] * per_row), task=index)

        losses = {}
        for index, task in enumerate(self._tasks):
            losses[task] = (1.0 - alpha) * weighted(self._student_loss(labels[:, index], logits[task]), index)
        if distils:
            soft_labels = self._soft_labels(self.teacher_logits(logits), labels)
            for index, task in enumerate(self._tasks):
                soft = soft_label_loss(logits[task], soft_labels[index], self._distillation.temperature)
                losses[f"{task}/distillation"] = alpha * weighted(soft, index)
        teacher_losses = self._teacher_losses[self.method.teachers](batch, logits, training)
        return losses | dict(zip(self.network.teachers, teacher_losses, strict=True))

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
        labels, weights = labels_and_weights(batch)
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
        if self._calibrates:
            labels, weights = labels_and_weights(inputs)
            losses["calibration"] = self.calibration.update(self.teacher_logits(logits), labels, weights)
        return self._log(losses)

    def test_step(self, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Adds a batch to the streaming metrics of students and calibrated teachers, by name such as `finish/auc`.

        Their values are NaN until the last batch: reading all histograms takes longer than a batch. `evaluate` returns
        them, and `get_metrics_result` at any time.

        Args:
            inputs: `features`, `labels` and, with a sample weight, `weights`, as `evaluation_batches` gives them.
        """
        features = inputs["features"]
        logits = self(features, training=False)
        if self.method.teachers != "none":
            calibrated = tf.unstack(self.calibrated(self.teacher_logits(logits)), axis=1)
            logits |= dict(zip(map(teacher_name, self._tasks), calibrated, strict=True))
        groups = None if self._groups is None else group_ids(self._groups, self.metadata, features)
        assert self._ranking_metrics is not None
        self._ranking_metrics.update_state(inputs["labels"], logits, inputs.get("weights"), groups)
        return {metric.name: tf.constant(float("nan"), tf.float64) for metric in self._ranking_metrics.metrics}

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """What Keras reports in place of the last step's answer, if the names agree; it asks after the last batch."""
        return self._ranking_metrics.result() if self._ranking_metrics else super().get_metrics_result()

    def make_test_function(self, force: bool = False) -> Callable[..., Any]:
        """What `evaluate` runs; only then are the streaming metrics made, since their histograms take megabytes."""
        if self._ranking_metrics is None:
            scores = {task: task for task in self._tasks}
            if self.method.teachers != "none":
                scores |= {teacher_name(task): task for task in self._tasks}
            tags = sorted({tag for counts in self.metadata.counts.values() for tag in observed_tags(counts)})
            groups = None if self._groups is None else self.metadata.embedding_rows(self._groups)
            self._ranking_metrics = RankingMetrics(self._tasks, scores, self._orders, tags, groups)
        return super().make_test_function(force)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets between epochs and evaluations."""
        return [*self._logged.values(), *(self._ranking_metrics.metrics if self._ranking_metrics else [])]

    @property
    def _calibrates(self) -> bool:
        return self.method.teachers != "none" and self.method.calibration

    def _total(self, losses: dict[str, tf.Tensor]) -> tf.Tensor:
        # Layers may add regularisation of their own.
        return tf.add_n([*losses.values(), *self.loss_weighting.regularisation(), *self.losses])

    def _loss_names(self) -> list[str]:
        names = ["loss", *self._tasks]
        if self.method.soft_labels != "none":
            names += [f"{task}/distillation" for task in self._tasks]
        if self.method.teachers != "none":
            names += map(teacher_name, self._tasks)
        return [*names, "calibration"] if self._calibrates else names

    def _log(self, losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, loss in losses.items():
            self._logged[name].update_state(loss)
        return {name: metric.result() for name, metric in self._logged.items()}


def build(model: CrossDistilModel, experiment: Experiment) -> None:
    """Creates all variables of a model by one call on a row of zeros."""
    signature = column_signature(experiment)
    row = {name: tf.zeros([1] * column.shape.rank, column.dtype) for name, column in signature.items()}
    # Layers may make others when they are called first; replicas' threads would share a policy that they set.
    with computing_in(model.network.precision):
        model(feature_columns(experiment, row))


def labels_and_weights(batch: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """The natural rows' labels `[rows, tasks]`, 0 where one is missing, and how much each counts, 0 there."""
    labels = batch["labels"]
    missing = tf.math.is_nan(labels)
    weights = batch["weights"][:, tf.newaxis] if "weights" in batch else tf.ones([1, 1])
    return tf.where(missing, 0.0, labels), tf.where(missing, 0.0, weights)
