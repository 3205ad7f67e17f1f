# SPDX-License-Identifier: Apache-2.0
"""Cross-Task Feature Mining: what towers read of the other tasks' representations, by attention."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.errors import UsageError
from tf_crossdistil.layers.dropout import Dropout

# Of the tasks' own vectors at first, as in the authors' code.
_DEVIATION = 0.01


class CrossTaskFeatures(keras.layers.Layer):
    """CTFM: what attention over the sources adds to the tower inputs of the readers (Ren et al., arXiv 2309.10357).

    Of representations `h_t` `[rows, width]`, with a learned vector `e_t` a task and `x_t = h_t + e_t`, reader t gets
    `dropout(softmax(q_t K' / sqrt(width)) V)`, where `q_t = relu(W_q x_t + b_q)` and the rows of K and V are
    `relu(W stop_gradient(x_s) + b)` of all sources s. So no loss of a reader moves what another task's tower gets.
    The cost of the three projections is linear in tasks; only that of the attention matrix is quadratic.

    Args:
        readers: names of the tasks that read.
        sources: names of the tasks that are read, the readers among them.
        dropout: the rate on what is added.

    Raises:
        UsageError: when built, if the sources do not have one width.
    """

    def __init__(self, readers: Sequence[str], sources: Sequence[str], dropout: float = 0.0, **kwargs: object):
        super().__init__(**kwargs)
        self.readers, self.sources = list(readers), list(sources)
        self._dropout = Dropout(dropout)

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Makes the projections and the tasks' vectors for the width of the sources."""
        width = _common_width({task: input_shape[task][-1] for task in self.sources})
        start = keras.initializers.RandomNormal(stddev=_DEVIATION)
        self.vectors = self.add_weight(name="tasks", shape=[len(self.sources), width], initializer=start)
        self.query, self.key, self.value = (
            keras.layers.Dense(width, activation="relu", dtype=self.dtype_policy) for _ in range(3)
        )

    def call(self, inputs: Mapping[str, tf.Tensor], tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """What is added `[rows, width]` to the tower inputs of `tasks`, readers; `inputs` by task, of all sources."""
        every = tf.stack([inputs[task] for task in self.sources], axis=1) + self.vectors
        places = [self.sources.index(task) for task in tasks]
        own = every if list(tasks) == self.sources else tf.gather(every, places, axis=1)
        known = tf.stop_gradient(every)
        # Divided first, since float16 overflows sooner.
        queries = self.query(own) / every.shape[2] ** 0.5
        similarities = tf.matmul(queries, self.key(known), transpose_b=True)
        attention = tf.cast(tf.nn.softmax(tf.cast(similarities, tf.float32)), every.dtype)
        mined = self._dropout(tf.matmul(attention, self.value(known)), training=training)
        return dict(zip(tasks, tf.unstack(mined, num=len(tasks), axis=1), strict=True))


def _common_width(widths: Mapping[str, int]) -> int:
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{task} {width}" for task, width in widths.items())
        raise UsageError(
            f"model.mutual.features: ctfm needs representations of one width from the backbone; received the widths: {found}; "
            "have the backbone give all tasks one width, or set model.mutual.features: none"
        )
    return next(iter(widths.values()))
