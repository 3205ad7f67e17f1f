# SPDX-License-Identifier: Apache-2.0
"""The checkpoint of a former run's best epoch, read tensor by tensor into objects of other sizes."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.models.checkpoint_files import is_intact
from tf_crossdistil.models.run import Run
from tf_crossdistil.training.carried_rows import CarriedRows


class FormerCheckpoint:
    """What a run kept of its best epoch. No more than one tensor of it is in memory at a time.

    Args:
        run: the former run.

    Raises:
        CrossDistilError: no epoch has ended yet, or the files are damaged, which every method tells, too.
    """

    def __init__(self, run: Run):
        self._directory, self._path = run.directory, run.best_checkpoint()
        try:
            self._reader = tf.train.load_checkpoint(str(self._path))
        except (tf.errors.OpError, ValueError) as error:
            raise self._damaged() from error
        graph = self._read("_CHECKPOINTABLE_OBJECT_GRAPH")
        self._nodes = TrackableObjectGraph.FromString(graph).nodes

    def check(self) -> None:
        """Reads everything once."""
        if not is_intact(self._path):
            raise self._damaged()

    def restore(self, parts: dict[str, Any], rows: Mapping[int, CarriedRows]) -> tuple[list[tf.Variable], int]:
        """Gives all variables that the checkpoint has the values they had, with the optimizers' state for them.

        Random state and the optimizers' settings stay as they are.

        Args:
            parts: objects by the name under which they were saved; either side may have more. Optimizers without loss scaling.
            rows: which rows go on, by the `id` of tables; other variables go on as a whole.

        Returns:
            The variables, and for how many of them an optimizer had state.

        Raises:
            UsageError: a variable has another shape.
        """
        found = self._match(parts)
        optimizers = {node: it for node, it in found.items() if isinstance(it, keras.optimizers.legacy.Optimizer)}
        of_optimizers = {child.node_id for node in optimizers for child in self._nodes[node].children}
        # Integers are random state: seeds, and counts of calls.
        variables = {
            node: it for node, it in found.items() if self._key(node) and node not in of_optimizers and it.dtype.is_floating
        }
        for node, variable in variables.items():
            self._put(node, variable.name, _shards(variable), rows.get(id(variable)))
        with_state = sum(self._put_state(node, optimizer, variables, rows) for node, optimizer in optimizers.items())
        return [shard for variable in variables.values() for shard in _shards(variable)], with_state

    def _match(self, parts: dict[str, Any]) -> dict[int, Any]:
        """The objects that the checkpoint has, by node."""
        view = tf.train.CheckpointView(str(self._path))
        optimizer = view.children(0).get("optimizer")
        if optimizer is not None and "base_optimizer" in view.children(optimizer):
            # The former run scaled its losses.
            parts = parts | {"optimizer": tf.train.Checkpoint(base_optimizer=parts["optimizer"])}
        return view.match(tf.train.Checkpoint(**parts))

    def _put_state(
        self, node: int, optimizer: Any, variables: Mapping[int, tf.Variable], rows: Mapping[int, CarriedRows]
    ) -> int:
        for child in self._nodes[node].children:
            if child.local_name == "iter":
                optimizer.iterations.assign(self._read(self._key(child.node_id)))
        known = [(slot, variables.get(slot.original_variable_node_id)) for slot in self._nodes[node].slot_variables]
        trained = [(slot, variable) for slot, variable in known if variable is not None and variable.trainable]
        for slot, variable in trained:
            # Rows that start anew have the state of a first step.
            initializer = keras.initializers.Constant(optimizer.get_config().get("initial_accumulator_value", 0.0))
            shards = [optimizer.add_slot(shard, slot.slot_name, initializer) for shard in _shards(variable)]
            self._put(slot.slot_variable_node_id, variable.name, shards, rows.get(id(variable)))
        return len(trained)

    def _key(self, node: int) -> str:
        """The tensor of a node that is a variable, or nothing."""
        attributes = self._nodes[node].attributes
        return next((attribute.checkpoint_key for attribute in attributes if attribute.name == "VARIABLE_VALUE"), "")

    def _put(self, node: int, name: str, shards: list[tf.Variable], rows: CarriedRows | None) -> None:
        values = self._read(self._key(node))
        self._check_shape(name, values, shards, rows)
        if rows is None and len(shards) == 1:
            shards[0].assign(values)
            return
        first = 0
        for shard in shards:
            size = shard.shape[0]
            if rows is None:
                shard.assign(values[first : first + size])
            else:
                for former, new in rows.blocks(first, size):
                    shard.scatter_update(tf.IndexedSlices(values[former], new))
            first += size

    def _check_shape(self, name: str, values: NDArray[Any], shards: list[tf.Variable], rows: CarriedRows | None) -> None:
        received, expected = list(values.shape), list(shards[0].shape)
        if len(shards) > 1:
            expected[0] = sum(shard.shape[0] for shard in shards)
        if rows is not None:
            # Tables may have other rows, but none of another width.
            received, expected = received[1:], expected[1:]
        if received != expected:
            raise UsageError(
                f"cannot go on from {self._directory}: its weight '{name}' has shape {received}, but the new network needs "
                f"{expected}; use the same network, or train without --warm-start"
            )

    def _read(self, key: str) -> Any:
        try:
            return self._reader.get_tensor(key)
        except (tf.errors.OpError, ValueError) as error:
            raise self._damaged() from error

    def _damaged(self) -> CrossDistilError:
        return CrossDistilError(
            f"the checkpoint {self._path} is damaged, so no run can go on from it; go on from another run, or train without "
            "--warm-start"
        )


def _shards(variable: tf.Variable) -> list[tf.Variable]:
    """The variables that hold the rows of a table which is spread over parameter servers; else the variable itself."""
    return list(getattr(variable, "variables", [variable]))
