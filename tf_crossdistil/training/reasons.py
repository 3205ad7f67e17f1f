# SPDX-License-Identifier: Apache-2.0
"""What went wrong, of all that TensorFlow says about an error."""

import re

# Where in a graph it happened comes first, in lines of its own or within braces.
_PLACES = ("Graph execution error", "Detected at node", "<stack traces")
_PLACE = re.compile(r"\{\{.*?\}\}|\[Op:\w+\]")


def reason_of(error: Exception) -> str:
    """One line of an error's text, without places in TensorFlow's graphs."""
    lines = [line for line in str(error).splitlines() if line[:1].strip() and not line.startswith(_PLACES)]
    return " ".join(_PLACE.sub("", lines[0] if lines else str(error)).split())


def disk_reason_of(error: Exception) -> str:
    """Why a file could not be written, without its path: TensorFlow would name one of its own."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or reason_of(error).rsplit("; ", 1)[-1]
