# SPDX-License-Identifier: Apache-2.0
"""What names a version of an exported model: the number of its folder `DIR/NAME/<version>`."""

import re

# TF Serving's versions are 64-bit integers.
HIGHEST_VERSION = 2**63 - 1


def version_number(name: str) -> int | None:
    """The number that a folder's name is in ASCII digits, 0 to HIGHEST_VERSION, so that `007` is 7; None for other names."""
    # Python refuses to convert thousands of digits.
    if re.fullmatch("[0-9]{1,255}", name) is None:
        return None
    number = int(name)
    return number if number <= HIGHEST_VERSION else None
