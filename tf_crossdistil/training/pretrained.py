# SPDX-License-Identifier: Apache-2.0
"""Pretrained embeddings: rows of .npy files into the tables of a network that starts to train.

Only the start of a training reads the files; checkpoints hold what became of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.lib.format import MAGIC_PREFIX, open_memmap
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment, HashedFeature, Pretrained, VocabularyFeature
from tf_crossdistil.data.feature_lookup import VocabularyTable
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.ranking_network import RankingNetwork
from tf_crossdistil.schema import PreparedData

# Rows that are in memory at a time; the files themselves are only mapped.
_BLOCK = 65_536
# Tables of which fewer ids are pretrained look like files of other values.
_LEAST_SHARE = 0.1
_LEAST_FROZEN_SHARE = 0.5


@dataclass(frozen=True)
class _Table:
    """Row `rows[n]` of `vectors` is where id `ids[n]` starts."""

    feature: str
    vectors: NDArray[Any]
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    trainable: bool

    def report(self, total: int) -> str:
        """How many of all ids get a vector, with a warning where they are suspiciously few."""
        line = f"feature '{self.feature}': {len(self.ids):,} of {total:,} ids start pretrained"
        if len(self.ids) >= total * (_LEAST_SHARE if self.trainable else _LEAST_FROZEN_SHARE):
            return line
        stays = "start at random" if self.trainable else "stay at random, frozen by 'trainable: false'"
        return f"{line}; warning: {total - len(self.ids):,} {stays}; check that 'values' are written as in the vocabulary"

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        for first in range(0, len(self.ids), _BLOCK):
            part = slice(first, first + _BLOCK)
            yield self.ids[part], _float32(self.vectors[self.rows[part]])


def check_pretrained(experiment: Experiment, data: PreparedData) -> None:
    """Reads every pretrained table once, so that faults are told before a run is started.

    Raises:
        UsageError: a file is missing, or does not suit its feature.
    """
    _read(experiment, data)


def assign_pretrained(network: RankingNetwork, experiment: Experiment, data: PreparedData) -> list[str]:
    """Puts the pretrained vectors into the embedding tables of a network whose variables exist.

    Args:
        network: every copy of a table in it gets the same vectors.
        experiment: the network's configuration.
        data: whose vocabularies say which id a value has.

    Returns:
        One line a table, which says how many ids got a vector, and warns where they are few.

    Raises:
        UsageError: a file is missing, or does not suit its feature.
    """
    lines = []
    for table in _read(experiment, data):
        variables = [encoder.tables[table.feature].embeddings for encoder in network.encoders.values()]
        for ids, vectors in table.blocks():
            for variable in variables:
                variable.scatter_update(tf.IndexedSlices(vectors, ids))
        lines.append(table.report(variables[0].shape[0]))
    return lines


def _read(experiment: Experiment, data: PreparedData) -> list[_Table]:
    features = [feature for feature in experiment.features if isinstance(feature, VocabularyFeature | HashedFeature)]
    return [_read_table(feature, feature.pretrained, data) for feature in features if feature.pretrained is not None]


def _read_table(feature: VocabularyFeature | HashedFeature, pretrained: Pretrained, data: PreparedData) -> _Table:
    place = f"features.{feature.name}.pretrained"
    vectors = _read_vectors(place, pretrained.file)
    if pretrained.values is None:
        rows = ids = np.arange(data.metadata.embedding_rows(feature))
        _check_shape(place, pretrained.file, vectors, [len(ids), feature.dim], "id (or name the rows' values in 'values')")
    else:
        values = _read_values(place, pretrained.values)
        _check_shape(place, pretrained.file, vectors, [len(values), feature.dim], f"line of {pretrained.values}")
        rows, ids = _rows_of_ids(feature, values, data)
        if not len(ids):
            raise UsageError(
                f"{place}: none of the {len(values)} values in {pretrained.values} is in the vocabulary; give one value a "
                f"line, as in {data.vocabulary_file(feature.name)}"
            )
    _check_finite(place, pretrained.file, vectors)
    return _Table(feature.name, vectors, rows, ids, pretrained.trainable)


def _read_vectors(place: str, file: Path) -> NDArray[Any]:
    expected = f"{place}: {file} must be one NumPy array of numbers (.npy), such as numpy.save writes"
    try:
        with file.open("rb") as opened:
            start = opened.read(len(MAGIC_PREFIX))
        if start != MAGIC_PREFIX:
            received = "several arrays (.npz)" if start.startswith(b"PK") else f"a file that starts with {start!r}"
            raise UsageError(f"{expected}; received {received}")
        vectors = open_memmap(file, mode="r")
    except OSError as error:
        raise _unreadable(place, file, error) from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise UsageError(f"{expected}; it cannot be read: {str(error).splitlines()[0]}") from error
    if vectors.dtype.kind not in "fiu":
        raise UsageError(f"{expected}; received {vectors.dtype}")
    return vectors


def _read_values(place: str, file: Path) -> list[bytes]:
    try:
        lines = file.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise _unreadable(place, file, error) from error
    values = [line.strip() for line in lines]
    first: dict[bytes, int] = {}
    for number, value in enumerate(values, start=1):
        if first.setdefault(value, number) != number:
            text = value.decode(errors="replace")
            raise UsageError(
                f"{place}: {file} has '{text}' on line {first[value]} and on line {number}; each value must stand there once"
            )
    return values


def _unreadable(place: str, file: Path, error: OSError) -> UsageError:
    where = "" if file.is_absolute() else f"; relative paths start at the working directory, {Path.cwd()}"
    return UsageError(f"{place}: cannot read {file}: {error.strerror}{where}; give the path of a file that is there")


def _rows_of_ids(
    feature: VocabularyFeature | HashedFeature, values: list[bytes], data: PreparedData
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows embed which ids; of several values in a hash bucket, the first has the say."""
    if isinstance(feature, HashedFeature):
        ids, rows = np.unique(tf.strings.to_hash_bucket_fast(values, feature.buckets), return_index=True)
        return rows, ids
    table = VocabularyTable(data.vocabulary_file(feature.name), feature.oov_buckets)
    ids, rows = np.unique(table(tf.constant(values)), return_index=True)
    known = ids <= data.metadata.vocabularies[feature.name].size
    return rows[known], ids[known]


def _float32(vectors: NDArray[Any]) -> NDArray[np.float32]:
    # What float32 cannot hold becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return np.asarray(vectors, np.float32)


def _check_shape(place: str, file: Path, vectors: NDArray[Any], expected: list[int], owner: str) -> None:
    if list(vectors.shape) != expected:
        raise UsageError(
            f"{place}: {file} must be of shape {expected}, 'dim' numbers for each {owner}; received {list(vectors.shape)}"
        )


def _check_finite(place: str, file: Path, vectors: NDArray[Any]) -> None:
    for first in range(0, len(vectors), _BLOCK):
        finite = np.isfinite(_float32(vectors[first : first + _BLOCK])).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            raise UsageError(
                f"{place}: {file} has a number that is NaN, infinite or beyond float32 in row {row}; mend that row"
            )
