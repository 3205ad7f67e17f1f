# SPDX-License-Identifier: Apache-2.0
"""Tries a backbone before a run is started with it, since the user's own may do anything."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tf_crossdistil.backbones.registry import find_backbone
from tf_crossdistil.config import Model, Training
from tf_crossdistil.errors import UsageError
from tf_crossdistil.layers.precision import computing_in

Result = TypeVar("Result")

_ROWS = 3


def check_backbone(settings: Model, students: Sequence[str], teachers: Sequence[str], width: int) -> None:
    """Makes the backbone that `settings` name and asks it for all tasks, and for the students alone, as exports do.

    Args:
        settings: the `model` section of the configuration.
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        width: of the encoded features.

    Raises:
        UsageError: there is no such backbone, it fails, gives anything but `[rows, units]` a task, or computes students from
            variables of teachers.
    """
    encoded = tf.random.stateless_normal([_ROWS, width], seed=[0, 0])
    served = _try(settings, students, teachers, encoded)
    if not teachers:
        return
    alone = _try(settings, students, [], encoded)
    if served != alone:
        raise UsageError(
            f"model.backbone: '{settings.backbone}' must not compute students from variables that belong to teachers, since "
            f"only students are exported; for the students it reads {served.total()} variables where there are teachers, and "
            f"{alone.total()} where there are none: only with teachers {_shapes(served - alone)}, only without "
            f"{_shapes(alone - served)}"
        )


def check_backbone_trains(
    settings: Model, training: Training, students: Sequence[str], teachers: Sequence[str], width: int
) -> None:
    """Makes the backbone that `settings` name in the precision of training and takes gradients, compiled if training is.

    Args:
        settings: the `model` section of the configuration.
        training: the `training` section.
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        width: of the encoded features.

    Raises:
        UsageError: it fails.
    """
    with computing_in(training.precision):
        backbone = find_backbone(settings.backbone)(students, teachers, settings)
        tasks = [*students, *teachers]
        rows = tf.random.stateless_normal([_ROWS, width], seed=[0, 0])
        encoded = rows if backbone.shares_embeddings else dict.fromkeys(tasks, rows)

        def compute() -> dict[str, tf.Tensor]:
            return backbone(encoded, tasks, training=True)

        computed = tf.function(compute, jit_compile=True) if training.xla else compute

        # As a step of training does it, penalties of the backbone are read outside of what is compiled.
        @tf.function
        def differentiate() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                outputs = computed()
                summands = [*outputs.values(), *backbone.losses]
                total = tf.add_n([tf.reduce_sum(tf.cast(summand, tf.float32)) for summand in summands])
            return [gradient for gradient in tape.gradient(total, backbone.trainable_variables) if gradient is not None]

        def attempt() -> None:
            backbone(encoded, tasks, training=False)
            differentiate()

        _told(
            f"model.backbone: '{settings.backbone}' fails in training with training.precision: {training.precision} and "
            f"training.xla: {str(training.xla).lower()}",
            attempt,
        )


def _try(
    settings: Model, students: Sequence[str], teachers: Sequence[str], encoded: tf.Tensor
) -> Counter[tuple[int | None, ...]]:
    """The shapes of all variables that a backbone with these teachers reads for its students."""
    place = f"model.backbone: '{settings.backbone}'"
    backbone_class = find_backbone(settings.backbone)
    every = [*students, *teachers]
    made = f"Class(students={students}, teachers={teachers}, settings)"
    backbone = _told(f"{place} cannot be made as {made}", lambda: backbone_class(students, teachers, settings))

    def encodings(tasks: Sequence[str]) -> Any:
        return encoded if backbone.shares_embeddings else {task: encoded + float(every.index(task)) for task in tasks}

    def ask(tasks: Sequence[str]) -> dict[str, tf.Tensor]:
        asked = f"{place}, made as {made}, called with inputs "
        asked += f"[rows, width]{'' if backbone.shares_embeddings else ' by task'} and tasks={tasks},"
        outputs = _told(f"{asked} fails", lambda: backbone(encodings(tasks), tasks, training=False))
        _check_form(f"{asked} must give a dict of tensors [rows, units] by task", outputs, tasks)
        return outputs

    together, alone = ask(every), ask(students)
    for task in students:
        if not np.allclose(together[task], alone[task], rtol=1e-4, atol=1e-5):
            raise UsageError(
                f"{place} must give a student the same, whatever other tasks it is asked for; received other numbers for "
                f"'{task}' among {every} than among {students}"
            )
    # Exports hold what such a trace captures.
    traced = tf.function(lambda rows: backbone(rows, students, training=False))
    specs = tf.nest.map_structure(lambda rows: tf.TensorSpec([None, rows.shape[1]], rows.dtype), encodings(students))
    function = _told(
        f"{place} fails inside a tf.function, as it is trained and exported", lambda: traced.get_concrete_function(specs)
    )
    return Counter(tuple(variable.shape) for variable in function.variables)


def _check_form(expected: str, outputs: object, tasks: Sequence[str]) -> None:
    if not isinstance(outputs, Mapping):
        raise UsageError(f"{expected}; received {_described(outputs)}")
    missing = [task for task in tasks if task not in outputs]
    if missing:
        raise UsageError(f"{expected}; received none for {missing}")
    for task in tasks:
        output = outputs[task]
        fits = tf.is_tensor(output) and output.dtype.is_floating and output.shape.rank == 2
        if not fits or output.shape[0] != _ROWS:
            raise UsageError(f"{expected}; received {_described(output)} for '{task}', where there are {_ROWS} rows")


def _described(value: Any) -> str:
    return f"a tensor {value.shape} of {value.dtype.name}" if tf.is_tensor(value) else f"a {type(value).__name__}"


def _shapes(shapes: Counter[tuple[int | None, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes.elements()) or "none"


def _told(what: str, action: Callable[[], Result]) -> Result:
    try:
        return action()
    except Exception as error:
        # The user's own code may fail in any way.
        raise UsageError(f"{what}: {type(error).__name__}: {_message(error)}; mend it") from error


def _message(error: Exception) -> str:
    """One line, without what Keras and AutoGraph put around it."""
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    lines = [line.strip() for line in text.partition("Call arguments received")[0].splitlines() if line.strip()]
    if "in user code:" in lines:
        return lines[-1].removeprefix(f"{type(error).__name__}: ")
    return next((line for line in lines if not line.startswith("Exception encountered when calling")), "")
