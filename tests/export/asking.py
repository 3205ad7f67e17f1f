# SPDX-License-Identifier: Apache-2.0
"""Raw rows as the inputs of each signature, and exported versions as functions and by their variables."""

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_crossdistil.data.raw_features import raw_columns
from tf_crossdistil.export.warm_up import serialize_example


def raw_inputs(experiment, rows):
    """The inputs of `serving_default`."""
    return {name: values.numpy() for name, values in raw_columns(experiment, rows).items()}


def example_inputs(experiment, rows, name="examples"):
    """The one input of every other signature."""
    return {name: np.array([serialize_example(experiment, row) for row in rows], object)}


def load_signature(directory, name="serving_default"):
    """A signature of an exported version as a function of tensors, through the version-2 loader."""
    loaded = tf.saved_model.load(str(directory))
    signature = loaded.signatures[name]
    signature.keep_alive = loaded
    return signature


def variables_of(model):
    """Every variable that a loaded version has in its graph, read by none of its names."""
    handles = [operation for operation in model.session.graph.get_operations() if operation.type == "VarHandleOp"]
    with model.session.graph.as_default():
        reads = [tf.raw_ops.ReadVariableOp(resource=each.outputs[0], dtype=each.get_attr("dtype")) for each in handles]
    # Those of text are the assets' paths.
    return model.session.run([read for read in reads if read.dtype != tf.string])


def fingerprint(arrays):
    """What two lists of arrays have in common exactly when they hold the same arrays, in any order."""
    return sorted((array.shape, array.tobytes()) for array in arrays)


def operations_of(directory):
    """The kinds of all operations of an exported version, those of its functions too."""
    (graph,) = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes()).meta_graphs
    nodes = [*graph.graph_def.node, *(node for each in graph.graph_def.library.function for node in each.node_def)]
    return {node.op for node in nodes}
