# SPDX-License-Identifier: Apache-2.0
"""Logs: how they are written, what labels their rows, and how they are split."""

from datetime import datetime, timezone
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from typing_extensions import Self

from tf_crossdistil.config.section import Section, duplicates, has_own_value

SPLITS = ("train", "validation", "test")


class Task(Section):
    """A task and the column that labels it."""

    later = frozenset({"kind"})

    name: str = Field(description="What results, records and answers call the task.")
    column: str = Field(
        description="The column of the logs; of a binary task 0 or 1 (or true, false, in any case), unless `positive` or "
        "`at_least` is given."
    )
    kind: Literal["binary", "regression"] = Field(
        "binary", description="`regression`: the label is a number, such as a rating or the seconds watched."
    )
    positive: str | int | float | bool | None = Field(
        None, description='The value that counts as positive, every other one is negative: `positive: "50000+."`.'
    )
    at_least: float | None = Field(None, description="The number from which on a row is positive: `at_least: 4`.")
    optional: bool = Field(
        False,
        description="Whether the label may be empty: the row is kept and counts for the other tasks only; otherwise it is a "
        "dead letter.",
    )
    given: str | None = Field(
        None,
        description="The task that a row must be positive in to have this label, such as the click of a purchase; on other "
        "rows this task is neither trained nor measured, whatever its column holds.",
    )
    truth: str | None = Field(
        None,
        description="A column with the true probability, which only synthetic logs have; evaluation then reports the best "
        "reachable metrics.",
    )
    weight: float = Field(1.0, gt=0, description="Scales the losses of the task's student.")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.positive is not None and self.at_least is not None:
            raise ValueError("give either 'positive' or 'at_least', not both")
        return self

    @model_validator(mode="after")
    def _options_of_binary_tasks(self) -> Self:
        for option in ("positive", "at_least", "truth"):
            if self.kind == "regression" and has_own_value(self, option):
                raise ValueError(f"'{option}' is for kind: binary; leave it out for kind: regression, whose label is a number")
        return self


def _readable(delimiter: str) -> str:
    # The reader of delimiters of several characters puts U+001F in their place.
    if {"\n", "\r"} & set(delimiter) or (len(delimiter) > 1 and "\x1f" in delimiter):
        raise ValueError(f"a delimiter cannot hold a line end, nor U+001F among other characters; received {delimiter!r}")
    return delimiter


Delimiter = Annotated[str, Field(min_length=1), AfterValidator(_readable)]
Encoding = Literal["utf-8", "latin-1"]
_OPTIONS_OF_TEXT = ("delimiter", "header", "encoding")


class Join(Section):
    """A table that gives every row of the logs the columns of the table's row with the same key."""

    file: str = Field(
        min_length=1,
        description="The table: one file, no pattern; a relative path is looked up beside the first input (for BigQuery in "
        "the working directory).",
    )
    key: str = Field(
        description="The column that the logs and the table have in common, under one name; compared as the values of "
        "features are."
    )
    columns: tuple[str, ...] = Field(
        min_length=2, description="The key and the columns to read; in csv without a header all columns, in order."
    )
    format: Literal["csv", "parquet", "jsonl", "avro"] | None = Field(
        None, description="How the table is written; without it as the logs are."
    )
    delimiter: Delimiter | None = Field(None, description="csv: as in `source`; without it that of csv logs, else a comma.")
    header: bool | None = Field(None, description="csv: as in `source`; without it that of csv logs, else true.")
    encoding: Encoding | None = Field(None, description="csv: as in `source`; without it that of csv logs, else utf-8.")

    @property
    def given(self) -> list[str]:
        """The columns that rows get, without the key."""
        return [name for name in self.columns if name != self.key]

    @property
    def source(self) -> "Source":
        """How the table is written."""
        options = self.model_dump(include={"format", *_OPTIONS_OF_TEXT}, exclude_none=True)
        return Source(**options, columns=list(self.columns) if options.get("header") is False else None)

    @model_validator(mode="after")
    def _key_and_columns(self) -> Self:
        if self.key not in self.columns:
            raise ValueError(f"{self.file}: the key '{self.key}' must be among 'columns'; received {list(self.columns)}")
        if twice := duplicates(list(self.columns)):
            raise ValueError(f"{self.file}: column '{twice[0]}' is listed twice")
        return self

    def written_as(self, logs: "Source") -> Self:
        """The same with every option, those not given as the logs have them.

        Raises:
            ValueError: the logs' format is not that of a file, or an option does not belong to the format.
        """
        form = self.format or logs.format
        if form == "bigquery":
            raise ValueError(f"{self.file}: give the table's 'format', since the logs are of bigquery")
        if form != "csv" and (wrong := [name for name in _OPTIONS_OF_TEXT if getattr(self, name) is not None]):
            raise ValueError(f"{self.file}: '{wrong[0]}' is for format: csv; leave it out for {form}")
        alike = logs if logs.format == "csv" else Source()
        options = {name: getattr(alike, name) for name in _OPTIONS_OF_TEXT if getattr(self, name) is None and form == "csv"}
        return self.model_copy(update={"format": form, **options})


class Source(Section):
    """How the logs are written."""

    later = frozenset({"encoding", "joins"})

    format: Literal["csv", "parquet", "jsonl", "avro", "bigquery"] = Field(
        "csv",
        description="What the files are; csv and jsonl may be compressed with gzip, bzip2 or xz, which is found by itself.",
    )
    delimiter: Delimiter = Field(
        ",",
        description='csv: `"\\t"` for tsv, or several characters, such as `"::"`; then quotes are text like any other, and no '
        "field holds a line end.",
    )
    header: bool = Field(True, description="csv: whether the first line of every file names the columns.")
    columns: list[str] | None = Field(None, description="csv without a header: the names of all columns, in order.")
    encoding: Encoding = Field("utf-8", description="csv: what is no UTF-8 becomes a dead letter, unless this is `latin-1`.")
    where: str | None = Field(
        None, description="bigquery: the condition, in its SQL, that rows must meet, such as `ds = '2026-11-21'`."
    )
    joins: list[Join] = Field([], description="Tables that give every row further columns.")

    @property
    def tables(self) -> list[Join]:
        """The joins with all their options."""
        return [join.written_as(self) for join in self.joins]

    @model_validator(mode="after")
    def _options_of_the_format(self) -> Self:
        for option, owner in {**dict.fromkeys((*_OPTIONS_OF_TEXT, "columns"), "csv"), "where": "bigquery"}.items():
            if self.format != owner and has_own_value(self, option):
                raise ValueError(f"'{option}' is for format: {owner}; leave it out for {self.format}")
        if self.format == "csv" and self.header == (self.columns is not None):
            raise ValueError("give 'columns' exactly when 'header' is false")
        if self.columns is not None and (twice := duplicates(self.columns)):
            raise ValueError(f"column '{twice[0]}' is listed twice")
        return self

    @model_validator(mode="after")
    def _joined_columns(self) -> Self:
        keys = {join.key for join in self.joins}
        known = dict.fromkeys([*(self.columns or ()), *keys], "the logs")
        for join in self.tables:
            if self.columns is not None and join.key not in self.columns:
                raise ValueError(f"{join.file} is joined on '{join.key}', which is no column of the logs: {self.columns}")
            for name in join.given:
                if name in known:
                    raise ValueError(f"{join.file} and {known[name]} both give a column '{name}'; rename one or leave it out")
                known[name] = join.file
        return self


class HashSplit(Section):
    """Rows go by the hash of some columns, and keep their split when data grows."""

    by: Literal["hash"] = Field(description="Splits in this way.")
    key: list[str] = Field(min_length=1, description="The columns whose values are hashed together.")
    fractions: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="Of train, validation and test; they sum to 1, and the first is above 0."
    )

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9 or fractions[0] == 0:
            raise ValueError(f"fractions must be positive and sum to 1, received {list(fractions)}")
        return fractions


class TimeSplit(Section):
    """Older rows train, newer ones validate and test."""

    by: Literal["time"] = Field(description="Splits in this way.")
    column: str = Field(description="The column with the time: numbers, or dates, times or their text.")
    boundaries: tuple[float, float] | tuple[datetime, datetime] = Field(
        description="Rows below the first train, below the second validate, the others test: numbers, or ISO 8601 dates and "
        "times, which are UTC, as the column's are, unless they say otherwise."
    )

    @property
    def is_calendar(self) -> bool:
        """Whether the boundaries are dates or times, not numbers."""
        return isinstance(self.boundaries[0], datetime)

    @property
    def bounds(self) -> tuple[float, float]:
        """The boundaries as numbers: seconds since 1970 where they are dates or times."""
        first, last = (bound.timestamp() if isinstance(bound, datetime) else bound for bound in self.boundaries)
        return first, last

    @field_validator("boundaries")
    @classmethod
    def _in_utc(
        cls, boundaries: tuple[float, float] | tuple[datetime, datetime]
    ) -> tuple[float, float] | tuple[datetime, datetime]:
        first, last = (
            bound.replace(tzinfo=timezone.utc) if isinstance(bound, datetime) and bound.tzinfo is None else bound
            for bound in boundaries
        )
        return first, last  # type: ignore[return-value]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.bounds[0] > self.bounds[1]:
            raise ValueError(f"boundaries must ascend, received {[str(bound) for bound in self.boundaries]}")
        return self


class NamedSplit(Section):
    """A column names the split of every row."""

    by: Literal["column"] = Field(description="Splits in this way.")
    column: str = Field(description="The column that names the split.")
    train: list[str] = Field(["train"], min_length=1, description="The values that stand for the training split.")
    validation: list[str] = Field(["validation"], description="The values that stand for the validation split.")
    test: list[str] = Field(["test"], description="The values that stand for the test split.")

    @model_validator(mode="after")
    def _each_value_once(self) -> Self:
        if twice := duplicates([*self.train, *self.validation, *self.test]):
            raise ValueError(f"the value '{twice[0]}' stands for two splits")
        return self


Split = Annotated[HashSplit | TimeSplit | NamedSplit, Field(discriminator="by")]
