# SPDX-License-Identifier: Apache-2.0
"""What a prepared data set is: `metadata.json`, `manifest.json` and how a complete run is found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tf_crossdistil.config import SAMPLE_WEIGHT, Experiment, HashedFeature, MultiValueFeature, VocabularyFeature
from tf_crossdistil.errors import CrossDistilError

LATEST_FILE = "LATEST"
SUCCESS_FILE = "_SUCCESS"
METADATA_FILE = "metadata.json"
MANIFEST_FILE = "manifest.json"
SAMPLE_FILE = "sample.jsonl"
RUN_PREFIX = "run="
TRUTH_PREFIX = "truth/"
# Training rows of a label combination below which draws from it repeat the same few.
NEARLY_EMPTY_ROWS = 32


class _Document(BaseModel):
    """A part of a JSON file that a pipeline wrote; a later version may know more keys."""

    model_config = ConfigDict(frozen=True)


class Vocabulary(_Document):
    """A feature's values in the training split, and those that share it; `ids` is missing (id 0) + `size` + oov buckets."""

    size: int
    ids: int
    sha256: str


class NumericStatistics(_Document):
    """Raw values of a numeric feature or labels of a regression task over the training split; missing ones are counted, not
    averaged. `boundaries` are those between the buckets of a feature that is bucketized.
    """

    count: int
    missing: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    boundaries: list[float] = []


class SplitRates(_Document):
    """Shares of a split: by task of rows that have its label, by binary task of positive ones among these, by feature of values
    that are missing or out of vocabulary. `mean` and `deviation` (of the population) are those of the labels by regression
    task. A task whose label no row has is in `labelled` only.
    """

    positive: dict[str, float]
    mean: dict[str, float] = {}
    deviation: dict[str, float] = {}
    labelled: dict[str, float] = {}
    missing: dict[str, float]
    oov: dict[str, float]


class InputFile(_Document):
    """One file of logs: what went in came out or is in the dead letters."""

    path: str
    rows_in: int
    rows_out: int
    dead_letters: int


class Metadata(_Document):
    """`metadata.json` of a run; `config` is the configuration that prepared it.

    `counts` are rows by split and tag, which binary tasks' labels make. `vocabularies` go by the feature that owns them,
    `numeric` by numeric feature and regression task, and by SAMPLE_WEIGHT. `truncated` counts rows with more values than a
    multi_value feature keeps. `vocabulary_from` is the run whose vocabulary and statistics were taken over, and
    `vocabulary_oov` what share of the values in its own test split (or else validation, training) that vocabulary leaves out.
    `compared_with` is the run that was the newest before, and `warnings` are what was found odd.
    """

    name: str
    run: str
    package_version: str
    schema_hash: str
    config: dict[str, Any]
    rows_in: int
    rows_out: int
    dead_letters: dict[str, int]
    counts: dict[str, dict[str, int]]
    rates: dict[str, SplitRates]
    truncated: dict[str, int] = {}
    vocabularies: dict[str, Vocabulary]
    numeric: dict[str, NumericStatistics]
    inputs: list[InputFile]
    vocabulary_from: str | None = None
    vocabulary_oov: dict[str, float] = {}
    compared_with: str | None = None
    global_shuffle: bool = False
    warnings: list[str] = []

    def embedding_rows(self, feature: VocabularyFeature | HashedFeature) -> int:
        """How many ids a feature has, and so how many rows its embedding table needs."""
        return feature.buckets if isinstance(feature, HashedFeature) else self.vocabularies[feature.vocabulary].ids


class FileEntry(_Document):
    """One file of a run; `split`, `tag` and `rows` are null for files that hold no records."""

    path: str
    split: str | None = None
    tag: str | None = None
    rows: int | None = None
    bytes: int
    sha256: str


class Manifest(_Document):
    """`manifest.json`: every file of a run but itself and `_SUCCESS`."""

    files: list[FileEntry]


@dataclass(frozen=True)
class PreparedData:
    """A complete run of the pipeline; readers open only what its manifest lists.

    `directory` may also be a path on another file system that has the methods used here.
    """

    directory: Path
    metadata: Metadata
    manifest: Manifest

    @classmethod
    def open(cls, directory: str | Path) -> "PreparedData":
        """Opens the newest complete run below `directory`, or the run that `directory` itself is.

        Raises:
            CrossDistilError: there is no complete run, or its files are damaged.
        """
        root = Path(directory) if isinstance(directory, str) else directory
        run = root if root.name.startswith(RUN_PREFIX) else _latest_run(root)
        if not (run / SUCCESS_FILE).is_file():
            raise CrossDistilError(f"{run} has no {SUCCESS_FILE}, so no pipeline finished it; run `crossdistil prepare` again")
        data = cls(run, read_document(run / METADATA_FILE, Metadata), read_document(run / MANIFEST_FILE, Manifest))
        data.check_files()
        return data

    def check_files(self) -> None:
        """Compares what is there with the manifest.

        Raises:
            CrossDistilError: a file is missing or has another size.
        """
        # Folder by folder, since every question to a distant file system takes a while.
        folders = dict.fromkeys((self.directory / entry.path).parent for entry in self.manifest.files)
        sizes = {path: path.stat().st_size for folder in folders for path in folder.glob("*") if path.is_file()}
        for entry in self.manifest.files:
            path = self.directory / entry.path
            size = sizes.get(path)
            if size != entry.bytes:
                found = "is missing" if size is None else f"has {size} bytes"
                raise CrossDistilError(
                    f"{path} {found}, but the manifest says {entry.bytes} bytes; run `crossdistil prepare` again"
                )

    def record_files(self, split: str, tag: str | None = None) -> list[Path]:
        """The TFRecord files of a split, of one tag or of all, in the manifest's order."""
        entries = [entry for entry in self.manifest.files if entry.split == split and tag in (None, entry.tag)]
        return [self.directory / entry.path for entry in entries if entry.rows]

    def rows(self, split: str) -> int:
        """How many records a split has."""
        return sum(self.metadata.counts.get(split, {}).values())

    def vocabulary_file(self, owner: str) -> Path:
        """One value a line; line n (from 0) has id n + 1."""
        return self.directory / "vocabulary" / f"{owner}.txt"


def _latest_run(root: Path) -> Path:
    if not root.is_dir():
        raise CrossDistilError(f"{root} is no directory; give the --output of `crossdistil prepare`")
    latest = root / LATEST_FILE
    if not latest.is_file():
        raise CrossDistilError(f"{root} has no {LATEST_FILE}, so no pipeline finished in it; run `crossdistil prepare` again")
    run = root / f"{RUN_PREFIX}{latest.read_text(encoding='utf-8', errors='replace').strip()}"
    if not run.is_dir():
        raise CrossDistilError(f"{latest} names {run.name}, which is not there; run `crossdistil prepare` again")
    return run


DocumentType = TypeVar("DocumentType", bound=BaseModel)


def read_document(path: Path, kind: type[DocumentType]) -> DocumentType:
    """Reads a JSON file of a known kind.

    Raises:
        CrossDistilError: the file is missing or does not hold that kind.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CrossDistilError(f"cannot read {path}: {error.strerror}; restore it, or make it again") from error
    except ValidationError as error:
        first = error.errors()[0]
        fault = " ".join([*map(str, first["loc"]), first["msg"].lower()])
        raise CrossDistilError(f"{path} is damaged: {fault}; make it again") from error


def check_same_schema(trained: Metadata, data: Metadata) -> None:
    """Refuses data whose ids mean something else than those a model was trained on.

    Raises:
        CrossDistilError: tasks or features differ, or a vocabulary does.
    """
    if trained.schema_hash != data.schema_hash:
        raise CrossDistilError(
            f"the run was trained on data of schema {trained.schema_hash}, this data has schema {data.schema_hash}: "
            "their tasks or features differ; use the data that the run was trained on, or train again"
        )
    changed = [name for name, known in trained.vocabularies.items() if data.vocabularies[name] != known]
    if changed:
        raise CrossDistilError(
            f"the vocabulary of '{changed[0]}' is not the one that the run was trained on, so ids would mean other values; "
            "use the data that the run was trained on, or train again"
        )


def check_config_matches(experiment: Experiment, data: Metadata) -> None:
    """Refuses a configuration that describes other records than the data holds.

    Raises:
        CrossDistilError: tasks or features of the two differ.
    """
    if experiment.schema_hash() != data.schema_hash:
        raise CrossDistilError(
            f"the data was prepared with other tasks or features than configuration '{experiment.name}' has "
            f"(schema {data.schema_hash}, expected {experiment.schema_hash()}); run `crossdistil prepare` with it"
        )
    prepared = {task.get("name") for task in data.config.get("tasks", []) if task.get("truth")}
    for task in experiment.tasks:
        if task.truth and task.name not in prepared:
            raise CrossDistilError(
                f"the data was prepared without the true probabilities of task '{task.name}'; run `crossdistil prepare` with "
                f"this configuration, or leave 'truth' out of it"
            )


@dataclass(frozen=True)
class RecordField:
    """A field of a record: `int64` for ids, `float` for numbers, labels, weights and true probabilities.

    `longest` is None for a field with one value, else the most values that a record's list has; it may be empty.
    """

    name: str
    kind: Literal["int64", "float"]
    longest: int | None = None


def record_fields(experiment: Experiment) -> list[RecordField]:
    """Every field of a record, in order: features, each with its weights behind it, labels, sample weight, true probabilities.

    A binary task's label is 0 or 1, a regression task's the number in the logs, and one that is missing is NaN. The mean sample
    weight of the training split is in `Metadata.numeric`.
    """
    fields: list[RecordField] = []
    for feature in experiment.features:
        if isinstance(feature, MultiValueFeature):
            fields.append(RecordField(feature.name, "int64", feature.max_length))
            if feature.weights:
                fields.append(RecordField(feature.weights_name, "float", feature.max_length))
        else:
            fields.append(RecordField(feature.name, "float" if feature.kind == "numeric" else "int64"))
    fields += [RecordField(task.name, "float") for task in experiment.tasks]
    if experiment.sample_weight is not None:
        fields.append(RecordField(SAMPLE_WEIGHT, "float"))
    return fields + [RecordField(TRUTH_PREFIX + task.name, "float") for task in experiment.tasks if task.truth]
