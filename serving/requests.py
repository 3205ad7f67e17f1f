"""Files of request rows, and their predictions: what `crossdistil predict` does."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from serving.client import Client, PredictionError
from serving.columns import weights_of_lists
from serving.transports import ModelInput
from tf_crossdistil.errors import CrossDistilError, UsageError

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Reads rows from a .jsonl, .csv, .tsv (each plain or .gz; csv and tsv with a header) or .parquet file.

    Every csv and tsv value is text, an empty one too; JSON and Parquet keep their types.

    Raises:
        UsageError: the path is a directory or has an unknown suffix.
        CrossDistilError: the file is missing, empty, or not what its suffix says.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory; give the path of a file with request rows")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in READERS:
        raise UsageError(f"{path} must end in one of {', '.join(READERS)}, which says how to read it")
    try:
        rows = READERS[suffix](path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CrossDistilError(f"cannot read {path}: {reason}; give the path of a file with request rows") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise CrossDistilError(f"{path} is no valid {suffix} file: {' '.join(str(error).split())}") from error
    if not rows:
        raise CrossDistilError(f"{path} has no rows; give a file with at least one")
    return rows


def predict_file(server: str, model: str, path: Path, rest: bool = False, timeout: float = 10.0) -> Iterator[dict[str, float]]:
    """Asks a server for the probabilities of a file's rows, in the file's order.

    Columns that the model does not take are left out, with one note on standard error; text in a numeric column is read
    as a number. Lists can come from JSON and Parquet only.

    Args:
        server: HOST:PORT of the gRPC port, or of the REST port when `rest`.
        model: the name under which the server has the model.
        path: a file for `read_rows`.
        rest: whether to talk REST instead of gRPC.
        timeout: seconds that each request of 1024 rows may take.

    Yields:
        Probability by task, one mapping a row.

    Raises:
        UsageError: the server is not HOST:PORT, or the path is no file that `read_rows` knows.
        CrossDistilError: the file cannot be read.
        PredictionError: a column is missing or holds wrong values, or the server cannot be asked.
    """
    rows = read_rows(path)
    with Client(server, model=model, rest=rest, timeout=timeout) as client:
        inputs = client.signature.inputs
        _check_columns(rows, inputs, path, model)
        kept = [{name: row[name] for name in inputs if name in row} for row in rows]
        for number, row in enumerate(kept, start=1):
            _read_text(row, inputs, number)
        answers = client.predict(kept)
    columns = {task: values.tolist() for task, values in answers.items()}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _check_columns(rows: list[Row], inputs: Mapping[str, ModelInput], path: Path, model: str) -> None:
    columns = dict.fromkeys(name for row in rows for name in row)
    if missing := [name for name in inputs if name not in columns and name not in weights_of_lists(inputs)]:
        raise PredictionError(
            f"{path} has no column '{missing[0]}', which the model '{model}' takes; it has {', '.join(columns)}"
        )
    if extra := [name for name in columns if name not in inputs]:
        print(f"note: ignoring columns that the model '{model}' does not take: {', '.join(extra)}", file=sys.stderr)


def _read_text(row: Row, inputs: Mapping[str, ModelInput], number: int) -> None:
    for name, value in row.items():
        if not isinstance(value, str) or inputs[name] == ModelInput("DT_STRING"):
            continue
        if not value.strip():
            row[name] = None
        elif inputs[name].is_list:
            raise PredictionError(
                f"feature '{name}' must be a list of values; row {number} has the text {value[:40]!r}. Give lists in a .jsonl "
                "or .parquet file: a .csv or .tsv file has none, and how the logs divide text is not known here"
            )
        else:
            row[name] = _read_number(name, value, number)


def _read_number(name: str, value: str, number: int) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise PredictionError(f"feature '{name}' must be a number; row {number} has '{value}'") from error


def _read_jsonl(path: Path) -> list[Row]:
    opened = gzip.open if path.suffix == ".gz" else open
    rows = []
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CrossDistilError(f"{path}, line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise CrossDistilError(f"{path}, line {number} must be a JSON object of features; received {line.strip()[:40]}")
            rows.append(row)
    return rows


def _read_delimited(path: Path, delimiter: str) -> list[Row]:
    parsing = pyarrow.csv.ParseOptions(delimiter=delimiter)
    with pyarrow.csv.open_csv(path, parse_options=parsing) as header:
        names = header.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CrossDistilError(f"{path} has the column '{twice}' twice; every column needs a name of its own")
    types = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False)
    return pyarrow.csv.read_csv(path, parse_options=parsing, convert_options=types).to_pylist()


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _read_jsonl,
    ".csv": lambda path: _read_delimited(path, ","),
    ".tsv": lambda path: _read_delimited(path, "\t"),
    ".parquet": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
}
