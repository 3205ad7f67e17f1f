# SPDX-License-Identifier: Apache-2.0
"""What a run wrote, to be compared."""

import hashlib
from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """The content of every file below, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below, by path."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in contents(folder).items()}
