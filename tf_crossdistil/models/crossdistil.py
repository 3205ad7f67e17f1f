"""CrossDistil: students and teachers trained together by one overridden `train_step`."""

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.records import Columns
from tf_crossdistil.losses.augmented_ranking import augmented_ranking_loss
from tf_crossdistil.losses.distillation import correct_errors, soft_label_loss
from tf_crossdistil.models.calibration import Calibration
from tf_crossdistil.models.methods import find_method
from tf_crossdistil.models.ranking_network import RankingNetwork, teacher_name
from tf_crossdistil.schema import Metadata
from tf_crossdistil.tags import pair_weights, positive_rate


class CrossDistilModel(tfrs.models.Model):
    """Multi-task ranking with cross-task distillation (Yang et al., AAAI 2022).

    A step runs the network once over natural rows and strata together, updates the network on the sum of all losses, and
    updates the calibration on its own loss with the network held fixed (Algorithm 1). With T tasks the losses are, for
    task k: `(1 - alpha) CE(y, r)` and `alpha CE(sigmoid(r~ / tau), r / tau)` for the student (Eq. 7), both means over the
    natural rows and scaled by the task's `weight`, and Eq. 4 for the teacher. A stratum row pulls as hard as
    `ranking_weight` natural rows: the mean over draws is scaled by `draws / batch`.

    Args:
        experiment: the configuration.
        metadata: of the prepared data.
    """

    def __init__(self, experiment: Experiment, metadata: Metadata):
        super().__init__()
        self.method = find_method(experiment.distillation.method)
        self._distillation = experiment.distillation
        self._tasks = experiment.task_names
        self._weights = {task.name: task.weight for task in experiment.tasks}
        self.network = RankingNetwork(experiment, metadata, with_teachers=self.method.teachers)
        counts = metadata.counts.get("train", {})
        rates = [positive_rate(counts, index) for index in range(len(self._tasks))]
        self.calibration = Calibration(rates, experiment.training.calibration_learning_rate)
        # The losses are means over rows, so that their gradient does not depend on how Keras would reduce them.
        per_row = keras.losses.BinaryCrossentropy(from_logits=True, reduction=keras.losses.Reduction.NONE)
        self._ranking_tasks = {task: tfrs.tasks.Ranking(loss=per_row) for task in self._tasks}
        self._pair_weights = {
            task: tf.constant(
                pair_weights(
                    self._tasks,
                    task,
                    experiment.auxiliary(task),
                    counts,
                    self._distillation.beta1,
                    self._distillation.beta2,
                )
            )
            for task in self._tasks
        }
        self._logged = {name: keras.metrics.Mean(name=name) for name in self._loss_names()}

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
        """The teachers' logits `[rows, tasks]` out of all."""
        return tf.stack([logits[teacher_name(task)] for task in self._tasks], axis=1)

    def losses_by_name(self, batch: dict[str, Any], logits: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Every term of the model's loss, weighted, as scalars; their sum is what the network minimises.

        Args:
            batch: an element of `TrainingBatches`.
            logits: of all rows of the batch, by task.
        """
        labels = batch["labels"]
        rows = labels.shape[0] or tf.shape(labels)[0]
        natural = {task: values[:rows] for task, values in logits.items()}
        alpha = self._distillation.alpha if self.method.distillation else 0.0
        losses = {}
        for index, task in enumerate(self._tasks):
            hard = self._ranking_tasks[task](labels[:, index : index + 1], natural[task][:, tf.newaxis], compute_metrics=False)
            losses[task] = self._weights[task] * (1.0 - alpha) * tf.reduce_mean(hard)
        if self.method.distillation:
            calibrated = self.calibration(self.teacher_logits(natural))
            corrected = correct_errors(calibrated, labels, self._distillation.margin)
            for index, task in enumerate(self._tasks):
                soft = soft_label_loss(natural[task], corrected[:, index], self._distillation.temperature)
                losses[f"{task}/distillation"] = self._weights[task] * alpha * soft
        if self.method.teachers:
            strata = batch["strata"]
            weight = self._distillation.ranking_weight * tf.cast(tf.shape(strata)[1] / rows, tf.float32)
            for task in self._tasks:
                drawn = tf.gather(logits[teacher_name(task)], strata)
                losses[teacher_name(task)] = weight * augmented_ranking_loss(drawn, self._pair_weights[task])
        return losses

    def compute_loss(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """The sum of all losses of a batch, a scalar."""
        logits = self(inputs["features"], training=training)
        return tf.add_n([*self.losses_by_name(inputs, logits).values(), *self.losses])

    def train_step(self, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """One step of Algorithm 1 on one batch; returns the running means of all losses by name."""
        with tf.GradientTape() as tape:
            logits = self(inputs["features"], training=True)
            losses = self.losses_by_name(inputs, logits)
            # Layers may add regularisation of their own.
            losses["loss"] = tf.add_n([*losses.values(), *self.losses])
            # Gradients are summed over replicas.
            share = losses["loss"] / self.distribute_strategy.num_replicas_in_sync
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(share, variables), variables, strict=True))
        if self.method.teachers:
            natural = self.teacher_logits(logits)[: tf.shape(inputs["labels"])[0]]
            losses["calibration"] = self.calibration.update(natural, inputs["labels"])
        return self._log(losses)

    def _loss_names(self) -> list[str]:
        names = ["loss", *self._tasks]
        if self.method.distillation:
            names += [f"{task}/distillation" for task in self._tasks]
        if self.method.teachers:
            names += [*map(teacher_name, self._tasks), "calibration"]
        return names

    def _log(self, losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, loss in losses.items():
            self._logged[name].update_state(loss)
        return {name: metric.result() for name, metric in self._logged.items()}
