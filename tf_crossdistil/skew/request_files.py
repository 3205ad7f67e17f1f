# SPDX-License-Identifier: Apache-2.0
"""Files of logged requests: which kind each is, its records one by one, and what could not be read."""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.skew.json_requests import read_json_request
from tf_crossdistil.skew.prediction_logs import read_logged_record
from tf_crossdistil.skew.raw_values import BrokenRequestError, Request, RequestReader
from tf_crossdistil.skew.tfrecords import DamagedFileError, is_tfrecord, read_tfrecords

_GZIP_MAGIC = b"\x1f\x8b"
_FIRST_BYTES = 4096


@dataclass
class Reading:
    """What was met while requests were read.

    `records` were in the files; `broken` ones, by what is wrong with them, are left out. `unknown` counts, by name, requests
    with a feature that the data set does not have, `present` those with one that it has. `unfinished` are files that could
    not be read to their end, each with the reason.
    """

    records: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    unfinished: dict[str, str] = field(default_factory=dict)

    @property
    def broken_share(self) -> float:
        """Of the records that were in the files."""
        return self.broken.total() / max(1, self.records)


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
        for record in _readable(records, path, reading):
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
    if is_tfrecord(first):
        return _records(path, is_gzip, read_tfrecords), read_logged_record
    if b"\0" in first:
        raise CrossDistilError(
            f"{path} is neither a TFRecord file of PredictionLogs nor text with a JSON object a line; give a request log"
        )
    return _records(path, is_gzip, _lines), read_json_request


def _records(path: Path, is_gzip: bool, split: Callable[[BufferedIOBase], Iterator[bytes]]) -> Iterator[bytes]:
    with gzip.open(path) if is_gzip else path.open("rb") as file:
        yield from split(file)


def _lines(file: BufferedIOBase) -> Iterator[bytes]:
    return (line for line in file if line.strip())


def _readable(records: Iterator[bytes], path: Path, reading: Reading) -> Iterator[bytes]:
    """The records up to where a file ends or cannot be read further."""
    try:
        yield from records
    except EOFError:
        reading.unfinished[str(path)] = "it was cut off, or is still being written"
    except (OSError, zlib.error, DamagedFileError) as error:
        reading.unfinished[str(path)] = f"it is damaged or cannot be read: {getattr(error, 'strerror', None) or error}"
