"""What every backbone is, and where the known ones are registered."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.config import Model
from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean


class Backbone(keras.layers.Layer):
    """Encoded features `[rows, width]` to one representation `[rows, units]` a task.

    Implement `call`. Teachers are tasks like students, with one rule: what `call` computes for students must not depend
    on variables that belong to a teacher, since only students are exported.

    Args:
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        settings: the `model` section of the configuration.
    """

    registry: ClassVar[dict[str, type["Backbone"]]] = {}

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(**kwargs)
        self.students = list(students)
        self.teachers = list(teachers)
        self.settings = settings

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Representations of `tasks` only; nothing is computed for others."""
        raise NotImplementedError(f"{type(self).__name__} must implement call")


def register(name: str) -> Callable[[type[Backbone]], type[Backbone]]:
    """Makes a backbone known under the name that configurations use."""

    def decorate(backbone: type[Backbone]) -> type[Backbone]:
        Backbone.registry[name] = backbone
        return backbone

    return decorate


def find_backbone(name: str) -> type[Backbone]:
    """The backbone of that name.

    Raises:
        UsageError: there is none; the nearest names are given.
    """
    if name not in Backbone.registry:
        raise UsageError(f"model.backbone: there is no backbone '{name}'; {did_you_mean(name, Backbone.registry)}")
    return Backbone.registry[name]
