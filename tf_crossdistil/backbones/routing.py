# SPDX-License-Identifier: Apache-2.0
"""Experts on the input and levels of nodes above, connected through gates: what MSSM and SNR have in common."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from tf_crossdistil.backbones.base import SHARED, Backbone
from tf_crossdistil.config import Model
from tf_crossdistil.layers.hard_concrete import HardConcreteGates
from tf_crossdistil.layers.perceptron import Perceptron


class RoutingNodes(keras.layers.Layer):
    """Nodes that read the same: each is `sum_i g_i * (W_i x_i)`, W_i without bias, g_i the gates of connection i.

    Gates are one number a cell of the node, or one a connection. They do not depend on the row, so that they scale the
    matrices, and all connections into all nodes are one product.

    Args:
        connections: how many representations each node reads.
        nodes: how many nodes there are.
        units: of a node.
        gates_by_cell: whether each cell has a gate of its own in each connection.
        penalty: the weight of an open gate in the loss.
    """

    def __init__(self, connections: int, nodes: int, units: int, *, gates_by_cell: bool, penalty: float, **kwargs: object):
        super().__init__(**kwargs)
        self._connections, self._nodes, self._units = connections, nodes, units
        self.gates = HardConcreteGates([connections, 1, nodes, units if gates_by_cell else 1], penalty)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the matrices of all connections."""
        width = input_shape[-1] // self._connections
        # Glorot's, of each connection alone.
        limit = (6 / (width + self._units)) ** 0.5
        self.kernel = self.add_weight(
            name="kernel",
            shape=[self._connections, width, self._nodes, self._units],
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Nodes side by side, `[rows, nodes * units]`, of what they read side by side, `[rows, connections * width]`."""
        kernel = self.gates(tf.convert_to_tensor(self.kernel), training=training)
        return tf.matmul(inputs, tf.reshape(kernel, [inputs.shape[-1], self._nodes * self._units]))


class RoutedExperts(Backbone):
    """Experts of `experts.units` on the input, then `experts.levels` of nodes as wide, the last with one node a task.

    Owners are the tasks and `shared`. The levels before the last have as many nodes of an owner as it has experts. A task's
    nodes read what is the task's and what is shared, one level below. Shared nodes read what is shared or a student's: with a
    teacher's among it, what is served would depend on teachers.

    Args:
        students: names of the tasks that are served.
        teachers: names of the augmented tasks; may be empty.
        settings: the `model` section of the configuration.
        per_task: how many experts each task owns; may be 0.
        gates_by_cell: whether each cell of a connection has a gate, or the connection has one.
    """

    def __init__(
        self,
        students: Sequence[str],
        teachers: Sequence[str],
        settings: Model,
        *,
        per_task: int,
        gates_by_cell: bool,
        **kwargs: object,
    ):
        super().__init__(students, teachers, settings, **kwargs)
        experts, tasks = settings.experts, [*students, *teachers]
        sizes = {SHARED: experts.shared} | (dict.fromkeys(tasks, per_task) if per_task else {})
        self._reads = {
            owner: [other for other in owners if other in sizes]
            for owner, owners in [(SHARED, [*students, SHARED]), *((task, [task, SHARED]) for task in tasks)]
        }
        self.experts = {
            owner: [Perceptron(experts.units, settings.dropout) for _ in range(size)] for owner, size in sizes.items()
        }
        self.levels = [
            {
                owner: RoutingNodes(
                    sum(sizes[other] for other in self._reads[owner]),
                    nodes,
                    experts.units[-1],
                    gates_by_cell=gates_by_cell,
                    penalty=experts.l0_penalty,
                )
                for owner, nodes in level.items()
            }
            for level in [*[sizes] * (experts.levels - 1), dict.fromkeys(tasks, 1)]
        ]

    def call(self, inputs: tf.Tensor, tasks: Sequence[str], training: bool = False) -> dict[str, tf.Tensor]:
        """Representations of `tasks`; below the last level, what they read is computed too."""
        needed = [list(tasks)]
        for _ in self.levels:
            needed.insert(0, self._read_by(needed[0]))
        states = {
            owner: tf.concat([expert(inputs, training=training) for expert in self.experts[owner]], axis=1)
            for owner in needed[0]
        }
        for level, owners in zip(self.levels, needed[1:], strict=True):
            states = self._route(level, states, owners, training)
        return states

    def _read_by(self, owners: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(other for owner in owners for other in self._reads[owner]))

    def _route(
        self, level: Mapping[str, RoutingNodes], states: Mapping[str, tf.Tensor], owners: Sequence[str], training: bool
    ) -> dict[str, tf.Tensor]:
        return {
            owner: level[owner](tf.concat([states[other] for other in self._reads[owner]], axis=1), training=training)
            for owner in owners
        }
