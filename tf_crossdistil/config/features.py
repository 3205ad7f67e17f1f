# SPDX-License-Identifier: Apache-2.0
"""Features: what a column of the logs becomes in a record and in the model."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from tf_crossdistil.config.section import Section, has_own_value
from tf_crossdistil.suggest import did_you_mean

NUMERIC_TRANSFORMS = ("none", "log1p", "standardize", "bucketize")


class ReadFeature(Section):
    """What every feature has."""

    name: str = Field(description="What records and requests call the feature.")
    column: str | None = Field(None, description="The column of the logs, where it is called otherwise.")

    @property
    def source_column(self) -> str:
        """The column of the logs that holds the feature."""
        return self.column or self.name


class Pretrained(Section):
    """Embeddings to start from, read when a training starts."""

    file: Path = Field(
        description="A NumPy array of numbers `[rows, dim]` (.npy); paths are relative to the working directory."
    )
    values: Path | None = Field(
        None,
        description="A text file whose line n holds the value that row n embeds, written as in the run's `vocabulary/*.txt`; "
        "an empty line is the missing value. Without it, row n embeds id n.",
    )
    trainable: bool = Field(True, description="False keeps the whole table as it starts.")


class VocabularyFeature(ReadFeature):
    """Values looked up in the training split's vocabulary; id 0 is missing, then the vocabulary, then `oov_buckets` ids."""

    min_count: int = Field(1, ge=1, description="Occurrences in the training split that a value needs to be in the vocabulary.")
    max_size: int | None = Field(
        None, ge=1, description="How many of the most frequent values are kept; without it all of them."
    )
    oov_buckets: int = Field(1, ge=1, description="Ids for all other values, chosen by hash.")
    dim: int = Field(16, ge=1, description="The width of the embedding.")
    pretrained: Pretrained | None = Field(None, description="The embeddings to start from; without it they start at random.")
    share_with: str | None = Field(
        None,
        description="The categorical or multi_value feature whose vocabulary and embeddings this one uses, with that "
        "feature's numbers; both features' values are then counted together.",
    )

    @property
    def vocabulary(self) -> str:
        """The feature that owns the vocabulary and the embeddings."""
        return self.share_with or self.name

    @model_validator(mode="after")
    def _numbers_of_the_owner(self) -> Self:
        given = [name for name in ("min_count", "max_size", "oov_buckets", "dim", "pretrained") if has_own_value(self, name)]
        if self.share_with is not None and given:
            raise ValueError(
                f"'{given[0]}' is that of '{self.share_with}', whose vocabulary '{self.name}' shares; leave it out"
            )
        return self


class CategoricalFeature(VocabularyFeature):
    """One value a row, looked up in the vocabulary of the training split."""

    kind: Literal["categorical"] = Field(description="A feature of this kind.")


class MultiValueFeature(VocabularyFeature):
    """Several values a row, looked up in the vocabulary of the training split and pooled into one vector."""

    kind: Literal["multi_value"] = Field(description="A feature of this kind.")
    delimiter: str = Field("|", min_length=1, description="Divides a text; columns that hold lists need none.")
    max_length: int = Field(20, ge=1, description="The first values kept of a row.")
    weights: str | None = Field(
        None, description="A column with one number, at least 0, for each value; requests call it `NAME_weights`."
    )
    pooling: Literal["mean", "sum"] = Field("mean", description="Of the embeddings, weighted; zeros for a row without values.")

    @property
    def weights_name(self) -> str:
        """What records and requests call the weights."""
        return f"{self.name}_weights"


class HashedFeature(ReadFeature):
    """A value whose id is `tf.strings.to_hash_bucket_fast(value, buckets)`; no vocabulary is kept."""

    kind: Literal["hashed"] = Field(description="A feature of this kind.")
    buckets: int = Field(ge=1, description="How many ids there are.")
    dim: int = Field(16, ge=1, description="The width of the embedding.")
    pretrained: Pretrained | None = Field(None, description="The embeddings to start from; without it they start at random.")


class NumericFeature(ReadFeature):
    """A number, kept as it is in records and transformed in the model."""

    kind: Literal["numeric"] = Field(description="A feature of this kind.")
    transform: str = Field(
        "none",
        description="`none`, `log1p` (sign(x) ln(1 + |x|)), `standardize` (by mean and deviation of the training split), "
        "`bucketize` (embeds the bucket of the number), or [your own](extending.md#a-feature) as `package.module:Class`.",
    )
    default: float = Field(0.0, description="The raw number that stands for a missing one.")
    boundaries: list[float] | None = Field(
        None,
        min_length=1,
        description="For `bucketize`: the boundaries between buckets, which ascend; a boundary belongs to the bucket above it.",
    )
    buckets: int | None = Field(
        None,
        ge=2,
        description="For `bucketize`, in place of `boundaries`: how many buckets, filled equally by the training split.",
    )
    dim: int = Field(8, ge=1, description="For `bucketize`: the width of the embedding.")

    @property
    def is_bucketized(self) -> bool:
        """Whether the number is embedded by its bucket."""
        return self.transform == "bucketize"

    @field_validator("transform")
    @classmethod
    def _known_or_own(cls, transform: str) -> str:
        if ":" not in transform and transform not in NUMERIC_TRANSFORMS:
            raise ValueError(
                f"there is no '{transform}'; {did_you_mean(transform, NUMERIC_TRANSFORMS)} (your own: package.module:Class)"
            )
        return transform

    @model_validator(mode="after")
    def _one_way_to_bucketize(self) -> Self:
        given = [name for name in ("boundaries", "buckets") if getattr(self, name) is not None]
        if self.is_bucketized:
            if len(given) != 1:
                raise ValueError(f"'{self.name}' is bucketized: give either 'boundaries' or 'buckets', how many")
        elif given or has_own_value(self, "dim"):
            raise ValueError(
                f"'{[*given, 'dim'][0]}' is for transform: bucketize; '{self.name}' has transform: {self.transform}"
            )
        if any(low >= high for low, high in pairwise(self.boundaries or ())):
            raise ValueError(f"boundaries must ascend, received {self.boundaries}")
        return self


Feature = Annotated[CategoricalFeature | MultiValueFeature | HashedFeature | NumericFeature, Field(discriminator="kind")]
