# SPDX-License-Identifier: Apache-2.0
"""Files on this machine that appear whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_crossdistil.errors import CrossDistilError


@contextmanager
def appears_whole(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which becomes `path` when the block ends, and is removed where it fails.

    Each process has a path of its own, so that several may write the same file.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CrossDistilError(
            f"cannot write {path}: {error.strerror or error}; give a path in a folder you may write"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, without numbers that it does not have, into a file that appears whole.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    with appears_whole(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
