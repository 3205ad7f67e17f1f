# SPDX-License-Identifier: Apache-2.0
"""Predictions for files of request rows: what `crossdistil predict` does."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from serving.client.client import Client, PredictionError
from serving.client.columns import weights_of_lists
from serving.client.request_files import Row, read_tables
from serving.client.tables import Table
from serving.client.transports import TIMEOUT, ModelInput


def predict_file(
    server: str,
    model: str,
    path: Path,
    rest: bool = False,
    timeout: float = TIMEOUT,
    version: int | None = None,
    label: str | None = None,
) -> Iterator[dict[str, float]]:
    """Asks a server what its model says of a file's rows, in the file's order, some thousand rows at a time.

    Columns that the model does not take are left out and features that the file lacks are missing values, each with a note on
    standard error; text in a numeric column is read as a number. Lists can come from JSON and Parquet only.

    Args:
        server: HOST:PORT of the gRPC port, or of the REST port when `rest`.
        model: the name under which the server has the model.
        path: a file for `serving.client.request_files.read_tables`.
        rest: whether to talk REST instead of gRPC.
        timeout: seconds that each request of 1024 rows may take, its repetitions included.
        version: the version to ask; the newest one when neither it nor `label` is given.
        label: the version to ask by its label.

    Yields:
        Probability or value by task, one mapping a row.

    Raises:
        UsageError: the server is not HOST:PORT, the path is no file that can be read, both a version and a label are given.
        CrossDistilError: the file cannot be read.
        PredictionError: a column holds wrong values or the model takes none of them, or the server cannot be asked.
    """
    noted: set[str] = set()
    with Client(server, model=model, rest=rest, timeout=timeout, version=version, label=label) as client:
        for table in read_tables(path):
            answers = client.predict(_fitting(table, client.signature.inputs, path, model, noted))
            columns = {task: values.tolist() for task, values in answers.items()}
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(columns, values, strict=True))


def fitting_rows(rows: Sequence[Row], inputs: Mapping[str, ModelInput], path: Path, model: str) -> list[Row]:
    """A file's rows with what the model takes of them, as `predict_file` would send them.

    Raises:
        PredictionError: a column holds wrong values, or the model takes none of them.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    table = Table(len(rows), {name: [row.get(name) for row in rows] for name in names})
    return _fitting(table, inputs, path, model, set()).to_rows()


def _fitting(table: Table, inputs: Mapping[str, ModelInput], path: Path, model: str, noted: set[str]) -> Table:
    known = [name for name in inputs if name in table.columns]
    if not known:
        raise PredictionError(
            f"{path} has none of the features that the model '{model}' takes: {', '.join(inputs)}; "
            f"it has {', '.join(table.columns)}"
        )
    optional = weights_of_lists(inputs)
    extra = [name for name in table.columns if name not in inputs and name not in noted]
    lacking = [name for name in inputs if name not in table.columns and name not in optional and name not in noted]
    noted.update(extra, lacking)
    if extra:
        print(f"note: ignoring columns that the model '{model}' does not take: {', '.join(extra)}", file=sys.stderr)
    if lacking:
        rows = f"rows {table.first} to {table.first + table.rows - 1} of {path}"
        print(f"note: {rows} have no {', '.join(lacking)}, which the model '{model}' takes: missing values", file=sys.stderr)
    columns = {name: _read_texts(name, table.columns[name], inputs[name], table.first) for name in known}
    absent = {name: pa.nulls(table.rows) for name in inputs if name not in columns}
    return Table(table.rows, columns | absent, table.first)


def _read_texts(name: str, values: Any, model_input: ModelInput, first: int) -> Any:
    """Text in a column that is not of text, as the numbers that it is; empty text is a missing value."""
    if model_input == ModelInput("DT_STRING"):
        return values
    if isinstance(values, pa.Array):
        if not pa.types.is_string(values.type):
            return values
        if not model_input.is_list:
            texts = pc.utf8_trim_whitespace(values)
            try:
                return pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.float64())
            except pa.ArrowInvalid:
                pass  # One of them is no number, or one that only Python reads.
        values = values.to_pylist()
    return [_read_text(name, value, model_input, first + index) for index, value in enumerate(values)]


def _read_text(name: str, value: Any, model_input: ModelInput, number: int) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    if model_input.is_list:
        raise PredictionError(
            f"feature '{name}' must be a list of values; row {number} has the text {value[:40]!r}. Give lists in a .jsonl "
            "or .parquet file: a .csv or .tsv file has none, and how the logs divide text is not known here"
        )
    try:
        return float(value)
    except ValueError as error:
        raise PredictionError(f"feature '{name}' must be a number; row {number} has '{value[:40]}'") from error
