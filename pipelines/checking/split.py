"""Which split a row belongs to."""

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.checking.columns import Numbers, Texts
from pipelines.fingerprint import fingerprint64
from tf_crossdistil.config import HashSplit, Split, TimeSplit

# Stands between the texts of a key, so that (a, bc) and (ab, c) are two keys.
_SEPARATOR = "\x1f"


def hash_splits(split: HashSplit, texts: Mapping[str, Texts]) -> NDArray[np.int8]:
    """The split of every row by the hash of its key: the same for the same key in whatever data."""
    key = pc.binary_join_element_wise(*(texts[column].as_rows() for column in split.key), _SEPARATOR)
    position = (fingerprint64(key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    bounds = [split.fractions[0], 1.0 - split.fractions[2]]
    return np.searchsorted(bounds, position, side="right").astype(np.int8)


def time_splits(split: TimeSplit, numbers: Mapping[str, Numbers]) -> NDArray[np.int8]:
    """The split of every row by its time."""
    return np.searchsorted(split.bounds, numbers[split.column].values, side="right").astype(np.int8)


def split_texts(split: Split) -> list[str]:
    """The columns that a split needs as text."""
    return list(split.key) if isinstance(split, HashSplit) else []


def split_numbers(split: Split) -> list[str]:
    """The columns that a split needs as numbers, without which a row cannot be placed."""
    return [split.column] if isinstance(split, TimeSplit) else []


def assign_splits(split: Split, texts: Mapping[str, Texts], numbers: Mapping[str, Numbers]) -> NDArray[np.int8]:
    """The split of every row, `[rows]`, as its position in `tf_crossdistil.config.SPLITS`."""
    return hash_splits(split, texts) if isinstance(split, HashSplit) else time_splits(split, numbers)
