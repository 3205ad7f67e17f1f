# SPDX-License-Identifier: Apache-2.0
"""The files of checkpoints: how they are named, found, and told from damaged ones."""

import re
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

_INDEX = re.compile(r"ckpt-(\d+)(?:-(\d+))?\.index")
# What reading raises where bytes are missing or others than those that were written.
_DAMAGES = (tf.errors.OpError, ValueError, IndexError)


@dataclass(frozen=True, order=True)
class Position:
    """How far a run is: finished epochs, validation included, and finished steps of the next one."""

    epochs: int = 0
    step: int = 0

    @property
    def name(self) -> str:
        """How a checkpoint of it is called: `ckpt-EPOCHS`, or `ckpt-EPOCHS-STEP` within an epoch."""
        return f"ckpt-{self.epochs}-{self.step}" if self.step else f"ckpt-{self.epochs}"


def find_checkpoints(directory: Path) -> dict[Position, Path]:
    """The checkpoints of a folder by position, oldest first; damaged ones are among them.

    TensorFlow's own list, the file `checkpoint`, may be missing or damaged itself.
    """
    found = {}
    for path in directory.glob("ckpt-*.index"):
        if name := _INDEX.fullmatch(path.name):
            found[Position(int(name[1]), int(name[2] or 0))] = path.with_suffix("")
    return dict(sorted(found.items()))


def is_intact(checkpoint: Path) -> bool:
    """Whether every byte of a checkpoint is as it was written; reads all of it."""
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)
    except _DAMAGES:
        return False
    return True
