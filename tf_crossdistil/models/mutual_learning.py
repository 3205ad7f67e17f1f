# SPDX-License-Identifier: Apache-2.0
"""Deep Mutual Learning between towers (Ren et al., ORSUM at RecSys 2023): who reads whom."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.registry import find_backbone
from tf_crossdistil.config import Model
from tf_crossdistil.layers.cross_task_features import CrossTaskFeatures
from tf_crossdistil.layers.global_knowledge import GlobalKnowledge

# The names are those of `config.training.Mutual`, which imports no TensorFlow; None lets every task stand alone.
FEATURES: dict[str, type[CrossTaskFeatures] | None] = {"none": None, "ctfm": CrossTaskFeatures}
DISTILLATIONS: dict[str, type[GlobalKnowledge] | None] = {"none": None, "gkd": GlobalKnowledge}


class MutualReading(keras.layers.Layer):
    """What tasks add to each other, each group of tasks by variables of its own.

    Students read students. Teachers, where `model.mutual.teachers` lets them take part, read students and teachers, so that
    no student depends on a teacher; else they read nobody, as nobody does without a layer.

    Args:
        layer: made for each group as `layer(readers, sources, dropout)`; None for no groups.
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        settings: the `model` section of the configuration.
    """

    def __init__(
        self,
        layer: type[CrossTaskFeatures] | type[GlobalKnowledge] | None,
        students: Sequence[str],
        teachers: Sequence[str],
        settings: Model,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        groups = {"students": (students, students)}
        if settings.mutual.teachers and teachers:
            groups["teachers"] = (teachers, [*students, *teachers])
        self.groups = {} if layer is None else {name: layer(*group, settings.dropout) for name, group in groups.items()}

    def reads(self, tasks: Sequence[str]) -> list[str]:
        """The tasks that `call` must be given for `tasks`: they themselves, and those that they read."""
        sources = [source for name in self._asked(tasks) for source in self.groups[name].sources]
        return list(dict.fromkeys([*sources, *tasks]))

    def call(self, inputs: Mapping[str, tf.Tensor], tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """What the layer adds to those of `tasks` that read; `inputs` by task, of all that `reads` names."""
        added: dict[str, tf.Tensor] = {}
        for name, asked in self._asked(tasks).items():
            layer = self.groups[name]
            added |= layer({task: inputs[task] for task in layer.sources}, asked, training=training)
        return added

    def _asked(self, tasks: Sequence[str]) -> dict[str, list[str]]:
        """Those of `tasks` in each group, where there are any."""
        asked = {name: [task for task in layer.readers if task in tasks] for name, layer in self.groups.items()}
        return {name: readers for name, readers in asked.items() if readers}


def check_mutual_learning(settings: Model, students: Sequence[str], teachers: Sequence[str], width: int) -> None:
    """Tries what the backbone gives with the layer that reads it, since the user's own may give any widths.

    Args:
        settings: the `model` section of the configuration.
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        width: of the encoded features.

    Raises:
        UsageError: the representations do not suit `model.mutual.features`.
    """
    tasks = [*students, *teachers]
    backbone = find_backbone(settings.backbone)(students, teachers, settings)
    rows = tf.zeros([1, width])
    representations = backbone(rows if backbone.shares_embeddings else dict.fromkeys(tasks, rows), tasks, training=False)
    features = MutualReading(FEATURES[settings.mutual.features], students, teachers, settings)
    for layer in features.groups.values():
        layer.build({task: output.shape for task, output in representations.items()})
