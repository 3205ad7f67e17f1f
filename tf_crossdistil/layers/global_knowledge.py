# SPDX-License-Identifier: Apache-2.0
"""Global Knowledge Distillation: what all towers' last hidden layers add to each logit."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.layers.dropout import Dropout


class GlobalKnowledge(keras.layers.Layer):
    """GKD: what the towers of the sources add to the logits of the readers (Ren et al., arXiv 2309.10357).

    Of last hidden layers `z_t` `[rows, units]`, with `g = stop_gradient(concat of all sources' z)`, reader t gets
    `v_t (w_t * info_t)`, where `info_t = dropout(relu(W_t g + b_t))` has as many units as `z_t` and
    `w_t = sigmoid(U_t [z_t, info_t] + c_t)`. So no loss of a reader moves another task's tower.
    `W_t` reads all towers: a reader's cost is linear in the sources, so that of all readers together is quadratic.

    Args:
        readers: names of the tasks that read.
        sources: names of the tasks that are read, the readers among them.
        dropout: the rate on `info_t`.
    """

    def __init__(self, readers: Sequence[str], sources: Sequence[str], dropout: float = 0.0, **kwargs: object):
        super().__init__(**kwargs)
        self.readers, self.sources = list(readers), list(sources)
        self._dropout = Dropout(dropout)
        # In float32 in every precision, like the logit that it is added to.
        self.output_of = {task: keras.layers.Dense(1, use_bias=False, dtype="float32") for task in readers}

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Makes each reader's layers for the width of its own last hidden layer."""
        units = {task: input_shape[task][-1] for task in self.readers}
        self.info_of, self.gate_of = (
            {task: keras.layers.Dense(size, activation=activation, dtype=self.dtype_policy) for task, size in units.items()}
            for activation in ("relu", "sigmoid")
        )

    def call(self, inputs: Mapping[str, tf.Tensor], tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """What is added `[rows]` to the logits of `tasks`, readers; `inputs` are last hidden layers, of all sources."""
        known = tf.stop_gradient(tf.concat([inputs[task] for task in self.sources], axis=1))
        added = {}
        # One product a reader: on CPU those of 16 readers in one took at least twice as long.
        for task in tasks:
            info = self._dropout(self.info_of[task](known), training=training)
            gate = self.gate_of[task](tf.concat([inputs[task], info], axis=1))
            added[task] = tf.squeeze(self.output_of[task](gate * info), axis=1)
        return added
