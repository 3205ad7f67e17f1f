# SPDX-License-Identifier: Apache-2.0
"""What files and rows call the sweeps of a comparison and their values."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tf_crossdistil.comparison.sweeps import Sweep

EXCHANGE = "training.label_exchange."


def is_exchange(sweep: Sweep) -> bool:
    """Whether it exchanges labels of a task, rather than sweeping a weight or size."""
    return sweep.key.startswith(EXCHANGE)


def named(sweeps: Sequence[Sweep]) -> dict[str, Sweep]:
    """Sweeps by the name of their files: `sweep-<last part of the key>`; `label-exchange`, with its task where several are."""
    exchanges = [sweep for sweep in sweeps if is_exchange(sweep)]
    others = [sweep for sweep in sweeps if not is_exchange(sweep)]
    found = {_file_name("sweep", sweep, others): sweep for sweep in others}
    one = len(exchanges) == 1
    return found | {"label-exchange" if one else _file_name("label-exchange", sweep, exchanges): sweep for sweep in exchanges}


def value_text(value: Any) -> str:
    """A value as the configuration would have it."""
    return value if isinstance(value, str) else json.dumps(value)


def _file_name(prefix: str, sweep: Sweep, others: Sequence[Sweep]) -> str:
    """The last part of the key, or all of it where another sweep's ends alike."""
    last = sweep.key.rpartition(".")[2]
    alike = [other for other in others if other.key.rpartition(".")[2] == last]
    return re.sub(r"[^\w-]", "-", f"{prefix}-{last if len(alike) == 1 else sweep.key}")
