# SPDX-License-Identifier: Apache-2.0
"""Hints in errors about names that do not exist."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name nearest to `name` as a question, or all known names when none is near."""
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{nearest[0]}'?" if nearest else f"known are {', '.join(names)}"
