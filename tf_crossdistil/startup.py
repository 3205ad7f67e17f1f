# SPDX-License-Identifier: Apache-2.0
"""TensorFlow and its models loaded without the noise that it makes on the way."""

import importlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_INFORMATION = rb"I\d{4} |WARNING: All log messages before absl::InitializeLog"
# Says no more than that there is no GPU, where there is none.
_NO_GPU = rb"|E\d{4} .*failed call to cuInit"
_GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Holds back what TensorFlow's libraries say of themselves; warnings and errors appear at the end.

    They write to file descriptor 2 while they are loaded, before they look at TF_CPP_MIN_LOG_LEVEL.
    """
    has_gpu = any(device.exists() for device in _GPU_DEVICES)
    noise = re.compile(_INFORMATION if has_gpu else _INFORMATION + _NO_GPU)
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            held.seek(0)
            for line in held:
                if not noise.match(line):
                    os.write(2, line)


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Hides TensorFlow's advice to use what TF Serving does not use, such as the version-2 loader."""

    def keep(record: logging.LogRecord) -> bool:
        return "deprecated" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, which is when it talks."""
    with quiet_tensorflow():
        import tensorflow as tf

        # Loads the parts of TensorFlow that talk again.
        importlib.import_module("tensorflow_recommenders")
        # Not the logical devices: they would settle what strategies over several hosts must settle themselves.
        tf.config.list_physical_devices()
