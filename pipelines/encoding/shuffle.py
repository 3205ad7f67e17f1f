# SPDX-License-Identifier: Apache-2.0
"""A shuffle of all records of a run, in two passes over files: dealt to shards at random, then permuted within each.

Every record goes to a shard of its own drawing, and a shard, of bounded size, is permuted in memory; read one after another,
the shards hold every split and tag in uniformly random order. What is drawn depends on the range and the shard alone.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray
from pydantic import TypeAdapter
from typing_extensions import Self

from pipelines.beam import CompressionTypes, FileSystems
from pipelines.encoding.records import Group, Records
from pipelines.runs.sink import FileWriter, GzipWriters, write_file
from pipelines.runs.storage import WORK_DIRECTORY, RunPath, by_number
from tf_crossdistil.config import SPLITS
from tf_crossdistil.schema import FileEntry
from tf_crossdistil.tags import tag_codes, tag_labels, tag_of

# Records of some hundred bytes make a shard of about a hundred megabytes, of which there are two copies for a moment.
SHARD_ROWS = 500_000
_WRITTEN_ROWS = 1 << 14
_RANGES, _SHARDS = 0, 1
_SCHEMA = pa.schema([("group", pa.int64()), ("record", pa.large_binary())])
_ENTRIES = TypeAdapter(list[FileEntry])


def shard_count(rows: int) -> int:
    """Into how many shards so many rows go."""
    return max(1, -(-rows // SHARD_ROWS))


class SpillWriter:
    """The records of one range, dealt to shards, as an Arrow file in the working directory; a context manager.

    Every block that is added becomes one batch a shard, in the shards' order, so that batch `i` is of shard `i % shards`.
    """

    def __init__(self, run: RunPath, index: int, shards: int) -> None:
        self._shards = shards
        self._draws = np.random.PCG64([_RANGES, index])
        self._writer = FileWriter(run, _spill_path(index))
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._file = pa.ipc.new_file(pa.PythonFile(_Sink(self._writer), mode="w"), _SCHEMA, options=options)
        self.rows = 0

    def add(self, groups: Sequence[Group]) -> None:
        """Takes in the records of one block."""
        if not groups:
            return
        codes = np.repeat(_group_codes(groups), [len(group.records) for group in groups])
        columns = [pa.array(codes), pa.concat_arrays([_as_array(group.records) for group in groups])]
        shards = self._draws.random_raw(len(codes)) % np.uint64(self._shards)
        order = np.argsort(shards, kind="stable")
        dealt = pa.record_batch(columns, schema=_SCHEMA).take(pa.array(order))
        bounds = np.searchsorted(shards[order], np.arange(self._shards + 1, dtype=np.uint64)).tolist()
        for first, end in pairwise(bounds):
            self._file.write_batch(dealt.slice(first, end - first))
        self.rows += len(codes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._file.close()
                self._writer.commit()
        finally:
            self._writer.discard()


class _Sink(io.RawIOBase):
    """A `FileWriter` as the stream that Arrow writes to."""

    def __init__(self, writer: FileWriter) -> None:
        super().__init__()
        self._writer = writer

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._writer.write(content)
        return len(content)


def write_shard(run: RunPath, shard: int, shards: int, ranges: int, tasks: int) -> int:
    """Writes what all ranges have dealt to a shard, permuted, one file a split and tag, with their entries; gives the rows."""
    codes, records = _gather(run, shard, shards, ranges)
    draws = np.random.PCG64([_SHARDS, shard])
    with GzipWriters(run) as writers:
        for code in np.unique(codes).tolist():
            position, tag_code = divmod(code, 3**tasks)
            split, tag = SPLITS[position], tag_of(tag_code, tasks)
            writer = writers.open(f"{split}/tag={tag}/part-{shard:05d}.tfrecord.gz", split, tag)
            chosen = np.flatnonzero(codes == code)
            chosen = chosen[np.argsort(draws.random_raw(len(chosen)), kind="stable")]
            for first in range(0, len(chosen), _WRITTEN_ROWS):
                taken = records.take(pa.array(chosen[first : first + _WRITTEN_ROWS]))
                writer.append(memoryview(taken.buffers()[2]), len(taken))
    write_file(run, f"{WORK_DIRECTORY}/shard-{shard:05d}.json", _ENTRIES.dump_json(writers.entries))
    return len(codes)


def read_shards(run: RunPath) -> list[FileEntry]:
    """The files of all shards; none where records were not shuffled."""
    paths = by_number((run / WORK_DIRECTORY).glob("shard-*.json"))
    return [entry for path in paths for entry in _ENTRIES.validate_json(path.read_bytes())]


def _gather(run: RunPath, shard: int, shards: int, ranges: int) -> tuple[Any, Any]:
    """Groups `[rows]` and records `[rows]` of a shard, in the order of the input."""
    batches = [pa.record_batch([[], []], schema=_SCHEMA)]
    for index in range(ranges):
        batches += _read_batches(run / _spill_path(index), shard, shards)
    codes, records = (pa.concat_arrays([batch[column] for batch in batches]) for column in _SCHEMA.names)
    return codes.to_numpy(), records


def _read_batches(path: RunPath, shard: int, shards: int) -> Iterator[Any]:
    with FileSystems.open(str(path), compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        file = pa.ipc.open_file(stream)
        for index in range(shard, file.num_record_batches, shards):
            yield file.get_batch(index)


def _spill_path(index: int) -> str:
    return f"{WORK_DIRECTORY}/spill-{index:05d}.arrow"


def _group_codes(groups: Sequence[Group]) -> NDArray[np.int64]:
    labels = np.array([tag_labels(group.tag) for group in groups])
    splits = np.array([SPLITS.index(group.split) for group in groups])
    return splits * 3 ** labels.shape[1] + tag_codes(labels)


def _as_array(records: Records) -> Any:
    offsets = np.concatenate([[0], records.ends]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(records.data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(records), buffers)
