# SPDX-License-Identifier: Apache-2.0
"""One version of an exported model, run as TF Serving runs it: TensorFlow's version-1 loader and a session."""

from collections.abc import Collection, Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

from serving.local_server.signature import RequestError, Signature, invalid
from tf_crossdistil.startup import without_deprecations

GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Servable:
    """A loaded version. `signatures` are those that can be called, `definitions` what the SavedModel says of them.

    Whatever TensorFlow raises over a directory that cannot be loaded comes through.
    """

    def __init__(self, directory: Path) -> None:
        self.version = int(directory.name)
        # The server is for development and tests; without this a machine without a GPU logs a CUDA error.
        self._session = tf.compat.v1.Session(
            graph=tf.Graph(), config=tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
        )
        try:
            with self._session.graph.as_default(), without_deprecations():
                model = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(directory))
        except BaseException:
            self._session.close()
            raise
        # Entries without a method name, such as the initialisation, are no signatures that a request may call.
        self.definitions = {name: definition for name, definition in model.signature_def.items() if definition.method_name}
        self.signatures = {name: Signature(name, definition) for name, definition in self.definitions.items()}

    def signature(self, name: str) -> Signature:
        """The signature `name`; an empty name is `serving_default`.

        Raises:
            RequestError: the model has no such signature.
        """
        name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        if name not in self.signatures:
            message = f"unknown signature '{name}'; the model has {', '.join(sorted(self.signatures))}"
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return self.signatures[name]

    def predict(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], outputs: Collection[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: one of `signatures`.
            inputs: every input of the signature by name, text as objects of type bytes.
            outputs: the names of the wanted outputs; default all.

        Raises:
            RequestError: the inputs are not what the signature takes, or the graph refuses their values.
        """
        signature.check_arrays(inputs)
        fetches = signature.select_outputs(outputs)
        feeds = {signature.inputs[name].tensor: array for name, array in inputs.items()}
        try:
            return self._session.run(fetches, feeds)
        except tf.errors.OpError as error:
            raise RequestError(GRPC_CODES[error.error_code], first_line(error.message)) from error
        except UnicodeDecodeError as error:
            # TensorFlow quotes a value of the request that is no UTF-8, and then fails to hand its own words over.
            raise invalid(first_line(error.object.decode(errors="replace"))) from error

    def close(self) -> None:
        """Frees the model's memory."""
        self._session.close()


def first_line(message: str) -> str:
    """What went wrong, without TensorFlow's headline above it and the places in the graph below it."""
    lines = [line for line in message.splitlines() if line.strip() and line != "Graph execution error:"]
    return lines[0] if lines else "TensorFlow gives no reason"
