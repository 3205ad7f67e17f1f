# SPDX-License-Identifier: Apache-2.0
"""BigQuery through the real client libraries, against servers on this machine that speak its two protocols."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from pipelines.sources import bigquery_source
from pipelines.sources.inputs import find_inputs, make_reader, plan_ranges
from tf_crossdistil.config import Source
from tf_crossdistil.errors import CrossDistilError, UsageError

pytest.importorskip("google.cloud.bigquery", reason="needs the extra gcp")
pytest.importorskip("google.cloud.bigquery_storage", reason="needs the extra gcp")

SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"
PATH = "my-project.logs.day_1"
SOURCE = Source(format="bigquery", where="day = 3")
MODIFIED = datetime(2024, 5, 6, tzinfo=timezone.utc)
ROWS = pa.table(
    {
        "user": [f"u{row}" for row in range(90)],
        "tags": [[row, row + 1] if row % 3 else [] for row in range(90)],
        "at": pa.array([None if row % 7 == 0 else row for row in range(90)], pa.timestamp("us", "UTC")),
    }
)


@dataclass
class Table:
    """What the servers answer from: `streams` of record batches, and how often reading breaks off."""

    resource: dict[str, Any] = field(
        default_factory=lambda: {
            "tableReference": {"projectId": "my-project", "datasetId": "logs", "tableId": "day_1"},
            "schema": {"fields": [{"name": name, "type": "STRING"} for name in ("user", "tags", "at", "unread")]},
            "numRows": "90",
            "numBytes": str(3 * bigquery_source.STREAM_BYTES),
            "lastModifiedTime": str(int(MODIFIED.timestamp() * 1000)),
        }
    )
    streams: list[list[Any]] = field(default_factory=lambda: [ROWS[:40].to_batches(7), ROWS[40:].to_batches(20), []])
    breaks: int = 0
    requests: list[Any] = field(default_factory=list)
    refusal: tuple[grpc.StatusCode, str] | None = None


class Storage:
    """`BigQueryRead`: one session, whose streams hold recorded record batches."""

    def __init__(self, table: Table) -> None:
        from google.cloud.bigquery_storage_v1 import types

        self._table = table
        self._types = types
        create = grpc.unary_unary_rpc_method_handler(
            self.create, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
        )
        read = grpc.unary_stream_rpc_method_handler(
            self.read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
        )
        self.server = grpc.server(ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"CreateReadSession": create, "ReadRows": read}),)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def create(self, request: Any, context: Any) -> Any:
        self._table.requests.append(request)
        if self._table.refusal:
            context.abort(*self._table.refusal)
        streams = [{"name": f"session/streams/{index}"} for index in range(len(self._table.streams))]
        return self._types.ReadSession(name="session", streams=streams, estimated_total_bytes_scanned=6000)

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        self._table.requests.append(request)
        batches = self._table.streams[int(request.read_stream.rpartition("/")[2])]
        total, position = sum(batch.num_rows for batch in batches), 0
        schema = {"serialized_schema": ROWS.schema.serialize().to_pybytes()}
        for batch in batches:
            if position >= request.offset:
                yield self._types.ReadRowsResponse(
                    arrow_schema=schema,
                    arrow_record_batch={"serialized_record_batch": batch.serialize().to_pybytes()},
                    row_count=batch.num_rows,
                    stats={
                        "progress": {
                            "at_response_start": position / total,
                            "at_response_end": (position + batch.num_rows) / total,
                        }
                    },
                )
                if self._table.breaks:
                    self._table.breaks -= 1
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the stream broke off")
            position += batch.num_rows


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery, bigquery_storage
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    table = Table()

    class Resources(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.split("?")[0] == "/bigquery/v2/projects/my-project/datasets/logs/tables/day_1"
            error = {"error": {"message": "Not found: Table my-project:logs.day_2", "errors": [{"reason": "notFound"}]}}
            content = json.dumps(table.resource if found else error).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    storage = Storage(table)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Resources)
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    channel = grpc.insecure_channel(f"127.0.0.1:{storage.port}")
    options = {"api_endpoint": f"http://127.0.0.1:{web.server_port}"}
    clients = bigquery.Client("payer", AnonymousCredentials(), client_options=options)
    monkeypatch.setattr(bigquery_source, "_table_client", lambda: clients)
    monkeypatch.setattr(
        bigquery_source,
        "_read_client",
        lambda: bigquery_storage.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel)),
    )
    yield table
    channel.close()
    storage.server.stop(None)
    web.shutdown()
    web.server_close()


def read_twice(source: Source = SOURCE) -> list[list[dict[str, Any]]]:
    """The rows of every stream; each is read twice, as the pipeline reads it."""
    reader = make_reader(source, ["user", "tags", "at"])
    planned = plan_ranges(reader, find_inputs(reader, [PATH]))
    readings = []
    for _ in range(2):
        streams = []
        for part in planned.ranges:
            blocks = list(make_reader(source, ["user", "tags", "at"]).blocks(part))
            positions = [position for block in blocks for position in block.positions.tolist()]
            assert positions == list(range(len(positions)))
            assert [block.done for block in blocks] == sorted(block.done for block in blocks)
            assert not blocks or blocks[-1].done == 1
            streams.append([row for block in blocks for row in pa.table(block.columns).to_pylist()])
        readings.append(streams)
    assert readings[0] == readings[1]
    return readings[0]


def test_find_and_plan(table: Table) -> None:
    reader = make_reader(SOURCE, ["user", "tags", "at"])
    (info,) = inputs = find_inputs(reader, [PATH])
    assert (info.path, info.size, info.modified) == (PATH, 3 * bigquery_source.STREAM_BYTES, MODIFIED.timestamp())
    planned = plan_ranges(reader, inputs)
    assert [part.stream for part in planned.ranges] == [f"session/streams/{index}" for index in range(3)]
    assert [part.weight for part in planned.ranges] == [2000] * 3
    assert planned.extra_columns == {PATH: ["unread"]}
    (request,) = table.requests
    assert request.parent == "projects/payer"
    assert request.read_session.table == "projects/my-project/datasets/logs/tables/day_1"
    assert list(request.read_session.read_options.selected_fields) == ["user", "tags", "at"]
    assert request.read_session.read_options.row_restriction == "day = 3"
    assert request.read_session.data_format.name == "ARROW"
    assert request.max_stream_count == 4


@pytest.mark.parametrize("block_rows", [1, 10, 10**6])
def test_every_row_comes_once(table: Table, monkeypatch: pytest.MonkeyPatch, block_rows: int) -> None:
    monkeypatch.setattr(bigquery_source, "BLOCK_ROWS", block_rows)
    assert read_twice() == [ROWS[:40].to_pylist(), ROWS[40:].to_pylist(), []]


def test_rows_are_joined_with_a_table_in_a_file(table: Table, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user,city\nu3,é\nu50,x\n", encoding="utf-8")
    join = {"file": f"{tmp_path}/users.csv", "key": "user", "columns": ["user", "city"], "format": "csv"}
    reader = make_reader(Source(format="bigquery", joins=[join]), ["city"])
    planned = plan_ranges(reader, find_inputs(reader, [PATH]))
    blocks = [block for part in planned.ranges for block in reader.blocks(part)]
    assert [value for block in blocks for value in block.columns["city"].to_pylist() if value] == ["é", "x"]
    assert sum(block.unmatched[f"{tmp_path}/users.csv"] for block in blocks) == 88
    assert list(table.requests[0].read_session.read_options.selected_fields) == ["user"]


def test_a_stream_that_breaks_off_is_taken_up_where_it_ended(table: Table) -> None:
    table.breaks = 3
    assert read_twice() == [ROWS[:40].to_pylist(), ROWS[40:].to_pylist(), []]
    assert [request.offset for request in table.requests[1:5]] == [0, 7, 14, 21]


def test_rows_in_the_streaming_buffer_are_a_change(table: Table) -> None:
    reader = make_reader(SOURCE, ["user"])
    assert find_inputs(reader, [PATH]) == find_inputs(reader, [PATH])
    table.resource["streamingBuffer"] = {"estimatedRows": "5"}
    assert find_inputs(reader, [PATH])[0].modified > MODIFIED.timestamp()


@pytest.mark.parametrize("name", ["logs.csv", "project.dataset", "p.d.*", "Project.d.t", "p.d.t u", "gs://a.b.c/d", ""])
def test_names_that_are_no_table(table: Table, name: str) -> None:
    with pytest.raises(UsageError, match=r"--input must be 'project.dataset.table' for source.format: bigquery; received"):
        find_inputs(make_reader(SOURCE, ["user"]), [name])


def test_tables_that_cannot_be_read(table: Table) -> None:
    reader = make_reader(SOURCE, ["user"])
    inputs = find_inputs(reader, [PATH])
    with pytest.raises(CrossDistilError, match=r"BigQuery does not read my-project.logs.day_2: .*Not found: Table"):
        find_inputs(reader, ["my-project.logs.day_2"])
    with pytest.raises(CrossDistilError, match=r"has no column 'usr'.*did you mean 'user'"):
        plan_ranges(make_reader(SOURCE, ["usr"]), inputs)
    table.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "row filter is\nwrong")
    with pytest.raises(CrossDistilError, match=r"BigQuery does not read my-project.logs.day_1: row filter is wrong$"):
        plan_ranges(reader, inputs)
    table.refusal, table.streams = None, []
    with pytest.raises(CrossDistilError, match=r"has no row that meets source.where: day = 3"):
        plan_ranges(reader, inputs)
    table.resource["numRows"] = "0"
    with pytest.raises(CrossDistilError, match=r"my-project.logs.day_1 is empty"):
        find_inputs(reader, [PATH])


def test_a_session_that_has_ended(table: Table) -> None:
    reader = make_reader(SOURCE, ["user"])
    part = plan_ranges(reader, find_inputs(reader, [PATH])).ranges[0]
    table.streams = []
    with pytest.raises(CrossDistilError, match=r"BigQuery does not read my-project.logs.day_1: "):
        list(reader.blocks(part))


def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    def client() -> None:
        raise DefaultCredentialsError("no credentials were found")

    monkeypatch.setattr(bigquery_source, "_table_client", client)
    with pytest.raises(CrossDistilError, match=r"cannot reach BigQuery .* no credentials were found; run 'gcloud auth"):
        find_inputs(make_reader(SOURCE, ["user"]), [PATH])
