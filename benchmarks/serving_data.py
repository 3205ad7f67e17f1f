# SPDX-License-Identifier: Apache-2.0
"""What the serving benchmarks serve: a model of TikTok's features with vocabularies of any size, and requests to it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import ROOT
from benchmarks.training_data import NUMERIC, table_rows
from pipelines.synthetic import zipf_ranks
from tf_crossdistil.config import Experiment
from tf_crossdistil.config_file import load_config
from tf_crossdistil.schema import (
    METADATA_FILE,
    SAMPLE_FILE,
    Manifest,
    Metadata,
    NumericStatistics,
    PreparedData,
    SplitRates,
    Vocabulary,
)

DIM = 16
_OOV_SHARE = 0.01
# As many as the pipeline keeps.
_SAMPLE_ROWS = 256
# A missing value's id, and that of all that are out of vocabulary.
_OTHER_IDS = 2


def serving_experiment(entries: int) -> Experiment:
    """The configuration `tiktok` with a vocabulary for every feature but the duration, and embeddings of 16.

    Args:
        entries: of all vocabularies together.
    """
    settings = load_config(ROOT / "configs" / "tiktok.yaml").model_dump(mode="json")
    settings["features"] = [
        {"name": feature["name"], "kind": "categorical", "dim": DIM} if feature["name"] in table_rows(entries) else feature
        for feature in settings["features"]
    ]
    return Experiment.model_validate(settings)


def serving_metadata(experiment: Experiment, entries: int) -> Metadata:
    """Metadata as the pipeline writes it of data with such vocabularies."""
    rows = 1000
    return Metadata(
        name=experiment.name,
        run="benchmark",
        package_version="",
        schema_hash="",
        config=experiment.model_dump(mode="json"),
        rows_in=4 * rows,
        rows_out=4 * rows,
        dead_letters={},
        counts={"train": dict.fromkeys(("00", "01", "10", "11"), rows)},
        rates={
            "train": SplitRates(
                positive=dict.fromkeys(experiment.task_names, 0.5),
                missing={feature.name: 0.0 for feature in experiment.features},
                oov=dict.fromkeys(table_rows(entries), 0.0),
            )
        },
        vocabularies={
            name: Vocabulary(size=size, ids=size + _OTHER_IDS, sha256="") for name, size in table_rows(entries).items()
        },
        numeric={NUMERIC: NumericStatistics(count=rows, missing=0, mean=30, deviation=16, minimum=5, maximum=59)},
        inputs=[],
    )


def vocabulary_text(ranks: NDArray[np.int64]) -> list[str]:
    """The value of each rank, distinct texts of up to 19 digits in no order, as ids of users and videos are."""
    # An odd factor is a bijection modulo 2^64, and neighbours lie far from each other.
    return list(map(str, ((ranks.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(1)).tolist()))


def write_prepared(directory: Path, metadata: Metadata, entries: int) -> PreparedData:
    """What a run takes from a prepared data set: vocabularies, metadata and some raw rows."""
    (directory / "vocabulary").mkdir(parents=True)
    vocabularies = dict(metadata.vocabularies)
    for name, size in table_rows(entries).items():
        text = ("\n".join(vocabulary_text(np.arange(size))) + "\n").encode()
        (directory / "vocabulary" / f"{name}.txt").write_bytes(text)
        vocabularies[name] = vocabularies[name].model_copy(update={"sha256": hashlib.sha256(text).hexdigest()})
    metadata = metadata.model_copy(update={"vocabularies": vocabularies})
    (directory / METADATA_FILE).write_text(metadata.model_dump_json(), encoding="utf-8")
    raw, _ = requests(_SAMPLE_ROWS, entries)
    columns = {name: values.astype(str) if values.dtype.kind == "S" else values for name, values in raw.items()}
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    lines = [json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows]
    (directory / SAMPLE_FILE).write_text("".join(lines), encoding="utf-8")
    return PreparedData(directory, metadata, Manifest(files=[]))


def requests(rows: int, entries: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns `[rows]` by name: raw, as logs hold them, and the same with ids instead of texts.

    Values are skewed as those of real logs are; of a feature's values a hundredth are out of vocabulary.
    """
    generator = np.random.default_rng(seed)
    raw, ids = {}, {}
    for name, size in table_rows(entries).items():
        ranks = zipf_ranks(generator.random(rows), size, exponent=0.9, offset=10.0)
        # The rank behind the last has a text that no line has.
        ranks[generator.random(rows) < _OOV_SHARE] = size
        raw[name] = np.array(vocabulary_text(ranks), np.bytes_)
        ids[name] = ranks + 1
    raw[NUMERIC] = ids[NUMERIC] = generator.integers(5, 60, rows).astype(np.float32)
    return raw, ids


def write_requests(folder: Path, rows: int, entries: int) -> None:
    """Writes the columns as `raw.npz` and `ids.npz`."""
    raw, ids = requests(rows, entries)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "raw.npz", **raw)
    np.savez(folder / "ids.npz", **ids)
