# SPDX-License-Identifier: Apache-2.0
"""BigQuery tables as blocks of columns, through the Arrow streams of the Storage Read API.

What is here was run against a local server that speaks the API's protocol, not against the cloud.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.blocks import Block, FilePlan, InputRange, Reader
from pipelines.sources.files import InputInfo
from tf_crossdistil.errors import CrossDistilError, UsageError

STREAM_BYTES = 256 << 20
MOST_STREAMS = 1000
BLOCK_ROWS = 65_536
BLOCK_BYTES = 32 << 20
_TABLE = re.compile(r"([a-z][a-z0-9.:-]*[a-z0-9])\.(\w+)\.([^\s.`*/]+)")


class BigQueryReader(Reader):
    """Reads a table `project.dataset.table`; a range is one stream of a read session.

    A session shows the table as it was when the session began, so that its streams can be read twice; it ends after six
    hours. Two sessions may hand the same rows out in another order.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._client: Any = None

    def find(self, pattern: str) -> list[InputInfo]:
        """The table, as changed when it was last modified: always, while rows are being streamed into it.

        Raises:
            UsageError: no table is named, or the packages for BigQuery are not installed.
            CrossDistilError: there is no such table, it is empty or may not be read.
        """
        if not _TABLE.fullmatch(pattern):
            raise UsageError(f"--input must be 'project.dataset.table' for source.format: bigquery; received '{pattern}'")
        table = _describe(pattern)
        if not table.num_rows and not table.streaming_buffer:
            raise CrossDistilError(f"{pattern} is empty, or no table that stores rows; expected rows of logs")
        # The time of modification does not tell of rows in the streaming buffer.
        modified = time.time() if table.streaming_buffer else table.modified.timestamp()
        return [InputInfo(pattern, table.num_bytes or 0, modified)]

    def plan(self, path: str) -> FilePlan:
        """Begins a read session over the wanted columns and the rows that meet `source.where`."""
        described = _describe(path)
        names = [field.name for field in described.schema]
        self._check_columns(path, names)
        project, dataset, table = _TABLE.fullmatch(path).groups()  # type: ignore[union-attr]
        session = {
            "table": f"projects/{project}/datasets/{dataset}/tables/{table}",
            "data_format": "ARROW",
            "read_options": {"selected_fields": self.columns, "row_restriction": self._source.where or ""},
        }
        streams = min(MOST_STREAMS, 1 + (described.num_bytes or 0) // STREAM_BYTES)
        with _explained(path):
            request = {"parent": f"projects/{_billed_project()}", "read_session": session, "max_stream_count": streams}
            answer = _read_client().create_read_session(request)
        if not answer.streams:
            condition = self._source.where or "(no condition)"
            raise CrossDistilError(f"{path} has no row that meets source.where: {condition}; mend the condition or the table")
        weight = max(answer.estimated_total_bytes_scanned, 1) / len(answer.streams)
        return FilePlan([InputRange(0, path, 0, None, weight, stream.name) for stream in answer.streams], names)

    def blocks(self, part: InputRange) -> Iterator[Block]:
        """The rows of a stream; one that breaks off is taken up where it ended."""
        if self._client is None:
            self._client = _read_client()
        schema, batches, position = None, [], 0
        with _explained(part.path):
            for answer in self._client.read_rows(part.stream):
                if schema is None:
                    schema = pa.ipc.read_schema(pa.py_buffer(answer.arrow_schema.serialized_schema))
                batches.append(pa.ipc.read_record_batch(answer.arrow_record_batch.serialized_record_batch, schema))
                rows = sum(batch.num_rows for batch in batches)
                if rows >= BLOCK_ROWS or sum(batch.nbytes for batch in batches) >= BLOCK_BYTES:
                    yield _block(batches, position, answer.stats.progress.at_response_end)
                    position += rows
                    batches = []
        if batches:
            yield _block(batches, position, 1.0)


def _block(batches: list[Any], position: int, done: float) -> Block:
    batch = pa.concat_batches(batches)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    return Block(columns, np.arange(position, position + batch.num_rows), done=done)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"source.format: bigquery needs the package of {name}; run pip install '.[gcp]' in a clone of this package"
        ) from error


def _table_client() -> Any:
    return _library("google.cloud.bigquery").Client()


def _read_client() -> Any:
    return _library("google.cloud.bigquery_storage").BigQueryReadClient()


def _billed_project() -> str:
    """The project that pays for reading: the user's own, which need not be the table's."""
    return _table_client().project


def _describe(path: str) -> Any:
    with _explained(path):
        return _table_client().get_table(path)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    refused = _library("google.api_core.exceptions").GoogleAPIError
    unknown = _library("google.auth.exceptions").GoogleAuthError
    try:
        yield
    except refused as error:
        message = " ".join(str(getattr(error, "message", "") or error).split())
        raise CrossDistilError(f"BigQuery does not read {path}: {message}") from error
    except (unknown, OSError) as error:
        reason = " ".join(str(error).split())
        raise CrossDistilError(
            f"cannot reach BigQuery for {path}: {reason}; run 'gcloud auth application-default login' and set "
            "GOOGLE_CLOUD_PROJECT"
        ) from error
