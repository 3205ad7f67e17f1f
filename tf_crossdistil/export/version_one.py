# SPDX-License-Identifier: Apache-2.0
"""A written SavedModel, loaded and run as TF Serving does: TensorFlow's version-1 loader and a session."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from tf_crossdistil.startup import without_deprecations


class VersionOneModel:
    """A loaded version; `definitions` has what the SavedModel says of its signatures.

    Raises:
        tensorflow.errors.OpError, OSError: the directory cannot be loaded.
    """

    def __init__(self, directory: Path) -> None:
        # A GPU may round products to fewer bits, and would be taken from the live model.
        config = tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with self.session.graph.as_default(), without_deprecations():
            model = tf.compat.v1.saved_model.load(self.session, [tf.saved_model.SERVING], str(directory))
        # Entries without a method name, such as the initialisation, are no signatures that a request may call.
        self.definitions = {name: definition for name, definition in model.signature_def.items() if definition.method_name}

    def __call__(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """The outputs of a signature by name, from all its inputs by name."""
        definition = self.definitions[signature]
        feeds = {definition.inputs[name].name: values for name, values in inputs.items()}
        return self.session.run({name: output.name for name, output in definition.outputs.items()}, feeds)

    def __enter__(self) -> "VersionOneModel":
        return self

    def __exit__(self, *error: object) -> None:
        self.session.close()
