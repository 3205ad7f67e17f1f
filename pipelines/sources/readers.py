# SPDX-License-Identifier: Apache-2.0
"""The reader of every format."""

from collections.abc import Callable, Sequence

from pipelines.sources.avro_source import AvroReader
from pipelines.sources.bigquery_source import BigQueryReader
from pipelines.sources.blocks import Reader
from pipelines.sources.csv_source import CsvReader
from pipelines.sources.jsonl_source import JsonlReader
from pipelines.sources.parquet_source import ParquetReader
from tf_crossdistil.config import Source

READERS: dict[str, Callable[[Source, Sequence[str]], Reader]] = {
    "avro": AvroReader,
    "bigquery": BigQueryReader,
    "csv": CsvReader,
    "jsonl": JsonlReader,
    "parquet": ParquetReader,
}
