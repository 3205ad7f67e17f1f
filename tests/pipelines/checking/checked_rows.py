# SPDX-License-Identifier: Apache-2.0
"""Columns checked by a configuration's rules."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.checking.validate import Rows, Validator
from pipelines.sources.blocks import Block
from tf_crossdistil.config import Experiment

Make = Callable[..., Experiment]


def check(experiment: Experiment, columns: dict[str, Any]) -> tuple[Block, Rows]:
    block = Block({name: pa.array(values) for name, values in columns.items()}, np.arange(len(next(iter(columns.values())))))
    return block, Validator(experiment)(block.columns)
