# SPDX-License-Identifier: Apache-2.0
"""Inputs that must stay what they are while a run reads them."""

from collections.abc import Sequence
from datetime import datetime, timezone

from pipelines.sources.blocks import InputRange, Reader
from pipelines.sources.inputs import InputInfo, find_inputs
from tf_crossdistil.errors import CrossDistilError


def check_unchanged(reader: Reader, patterns: Sequence[str], inputs: Sequence[InputInfo], ranges: Sequence[InputRange]) -> None:
    """Compares size and time of change of the files that were read with those at first; files that are new do not count.

    A stream goes on showing its table as it was when reading began, so that tables may change.

    Raises:
        CrossDistilError: a file changed, or is not there any more.
    """
    files = {part.path for part in ranges if not part.stream}
    if not files:
        return
    now = {info.path: info for info in find_inputs(reader, patterns)}
    for before in inputs:
        after = now.get(before.path)
        if before.path in files and after != before:
            found = "was removed" if after is None else f"changed from {_described(before)} to {_described(after)}"
            raise CrossDistilError(f"{before.path} {found} while it was read; run again when nothing writes to it")


def _described(info: InputInfo) -> str:
    return f"{info.size:,} bytes of {datetime.fromtimestamp(info.modified, timezone.utc):%Y-%m-%d %H:%M:%S.%f} UTC"
