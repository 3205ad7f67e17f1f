# SPDX-License-Identifier: Apache-2.0
"""The file of a command's `--json`."""

import json
from pathlib import Path
from typing import Any

from tf_crossdistil.errors import CrossDistilError, UsageError


def check_json_file(path: Path | None) -> None:
    """Refuses a path whose folder does not exist, before a command works for what it could not write.

    Raises:
        UsageError: the folder does not exist.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist; give another --json")


def write_json_file(path: Path | None, content: dict[str, Any]) -> None:
    """Writes what a command found; nothing where no file was asked for.

    Raises:
        CrossDistilError: the file cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CrossDistilError(f"cannot write {path}: {error.strerror}; give another --json") from error
