# SPDX-License-Identifier: Apache-2.0
"""What both polars scripts do before they write: splits, vocabularies from the training split, ids."""

from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.preprocess_peers.job import BOUNDS, CATEGORICAL, HASHED, KEY, LABELS, NUMERIC, SPLITS
from pipelines.fingerprint import fingerprint64


def encoded_table(logs: Path) -> pl.DataFrame:
    """The rows as ids, numbers and labels, with the columns `split` and `tag`.

    The hash is ours, so that the splits and buckets are the same; polars' own costs about as little.
    """
    table = pl.read_parquet(logs)
    key = pl.concat_str([pl.col(name).cast(pl.String) for name in KEY], separator="\x1f")
    position = (_fingerprints(table.select(key).to_series()) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    split = pl.Series("split", np.searchsorted(BOUNDS, position, side="right"))
    table = table.with_columns(
        split.replace_strict(dict(enumerate(SPLITS))),
        pl.concat_str([pl.col(name).cast(pl.String) for name in LABELS]).alias("tag"),
        *(pl.col(name).cast(pl.String) for name in (*CATEGORICAL, *HASHED)),
        *(pl.col(name).cast(pl.Float32) for name in (*NUMERIC, *LABELS)),
    )
    train = table.filter(pl.col("split") == SPLITS[0])
    for name, min_count in CATEGORICAL.items():
        counts = train[name].value_counts().filter(pl.col("count") >= min_count).sort("count", name, descending=[True, False])
        ids = counts.select(name, pl.int_range(1, pl.len() + 1).alias("id"))
        joined = table.select(name).join(ids, on=name, how="left", maintain_order="left")
        table = table.with_columns(joined["id"].fill_null(1 + len(ids)).alias(name))
    hashed = [
        pl.Series(name, (_fingerprints(table[name]) % np.uint64(buckets)).astype(np.int64)) for name, buckets in HASHED.items()
    ]
    return table.with_columns(hashed).select(*CATEGORICAL, *HASHED, *NUMERIC, *LABELS, "split", "tag")


def _fingerprints(texts: pl.Series) -> np.ndarray:
    return fingerprint64(texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast("string"))
