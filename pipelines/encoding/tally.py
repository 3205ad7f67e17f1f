# SPDX-License-Identifier: Apache-2.0
"""Counts of what encoding met: how many values were missing, and how many had no id of their own."""

from pydantic import BaseModel


class Tally(BaseModel):
    """One split: `missing` rows by feature; by feature with a vocabulary, looked up `values` and those that fell to `oov`.

    `truncated` counts, by multi_value feature, rows with more values than are kept.
    """

    rows: int = 0
    missing: dict[str, int] = {}
    values: dict[str, int] = {}
    oov: dict[str, int] = {}
    truncated: dict[str, int] = {}
