"""Files of logged requests: which kind each is, its records one by one, and what could not be read."""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.skew.json_requests import read_json_request
from tf_crossdistil.skew.prediction_logs import read_prediction_log
from tf_crossdistil.skew.raw_values import BrokenRequestError, Request, RequestReader

_GZIP_MAGIC = b"\x1f\x8b"
_FIRST_BYTES = 4096
_READ_BUFFER = 4 << 20


@dataclass
class Reading:
    """What was met while requests were read.

    `records` were in the files; `broken` ones, by what is wrong with them, are left out. `unknown` counts, by name, requests
    with a feature that the data set does not have, `present` those with one that it has. `cut` are files that end before
    their last record does.
    """

    records: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    cut: list[str] = field(default_factory=list)


def find_request_files(pattern: str) -> list[Path]:
    """The files that a path names, whose last part may be a pattern, such as `logs/*.gz`.

    Raises:
        UsageError: there are none.
    """
    path = Path(pattern)
    paths = [path] if path.exists() else sorted(path.parent.glob(path.name))
    files = [found for found in paths if found.is_file()]
    if not files:
        fault = f"{pattern} is a directory" if paths else f"there is no file {pattern}"
        raise UsageError(f"{fault}; give --requests the path of a request log, or a pattern in quotes such as 'logs/*.gz'")
    return files


def read_requests(files: list[Path], experiment: Experiment, reading: Reading) -> Iterator[Request]:
    """The requests of all files in order; `reading` counts them and those left out.

    Raises:
        CrossDistilError: a file cannot be read, or is of no known kind.
    """
    reader = RequestReader(experiment)
    for path in files:
        records, read_record = _open(path)
        for record in _until_cut(records, path, reading):
            reading.records += 1
            try:
                request, unknown = read_record(record, reader)
            except BrokenRequestError as error:
                reading.broken[str(error)] += 1
                continue
            reading.unknown.update(unknown)
            reading.present.update(request.columns.keys())
            yield request


_Read = Callable[[bytes, RequestReader], tuple[Request, list[str]]]


def _open(path: Path) -> tuple[Iterator[bytes], _Read]:
    """A file's records, and what reads one."""
    try:
        with path.open("rb") as file:
            is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            first = file.read1(_FIRST_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise CrossDistilError(f"cannot read {path}: {error}; give the path of a request log") from error
    if _is_tfrecord(first):
        return _tfrecords(path, is_gzip), read_prediction_log
    if b"\0" in first:
        raise CrossDistilError(
            f"{path} is neither a TFRecord file of PredictionLogs nor text with a JSON object a line; give a request log"
        )
    return _lines(path, is_gzip), read_json_request


def _is_tfrecord(first: bytes) -> bool:
    """Whether the first bytes are the length of a record and the checksum of that length."""
    if len(first) < 12:
        return False
    checksum = google_crc32c.value(first[:8])
    masked = (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(first[8:12], "little")


def _tfrecords(path: Path, is_gzip: bool) -> Iterator[bytes]:
    records = tf.data.TFRecordDataset([str(path)], "GZIP" if is_gzip else "", _READ_BUFFER)
    yield from records.as_numpy_iterator()


def _lines(path: Path, is_gzip: bool) -> Iterator[bytes]:
    with gzip.open(path) if is_gzip else path.open("rb") as lines:
        yield from (line for line in lines if line.strip())


def _until_cut(records: Iterator[bytes], path: Path, reading: Reading) -> Iterator[bytes]:
    """The records that can be read; a file whose writer died, or still writes, ends in the midst of one."""
    try:
        yield from records
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError, OSError, EOFError, zlib.error):
        reading.cut.append(str(path))
