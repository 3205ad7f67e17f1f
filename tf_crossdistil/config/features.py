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
    """What every feature has: a name, and the log's column when that has another one."""

    name: str
    column: str | None = None

    @property
    def source_column(self) -> str:
        """The column of the logs that holds the feature."""
        return self.column or self.name


class Pretrained(Section):
    """Embeddings to start from: `file` is a NumPy array `[rows, dim]` (.npy), read when a training starts.

    `values`: a text file whose line n holds the value that row n embeds; ids of other values start at random. Without it, row
    n embeds id n. `trainable: false` keeps the whole table as it starts.
    """

    file: Path
    values: Path | None = None
    trainable: bool = True


class VocabularyFeature(ReadFeature):
    """Values looked up in the training split's vocabulary; id 0 is missing, then the vocabulary, then `oov_buckets` ids.

    `min_count`: occurrences in the training split that a value needs. `max_size`: the most frequent values kept (default
    all). `share_with`: the feature whose vocabulary and embeddings this one uses, with that feature's numbers; both
    features' values are then counted together.
    """

    min_count: int = Field(1, ge=1)
    max_size: int | None = Field(None, ge=1)
    oov_buckets: int = Field(1, ge=1)
    dim: int = Field(16, ge=1)
    pretrained: Pretrained | None = None
    share_with: str | None = None

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
    """One value a row."""

    kind: Literal["categorical"]


class MultiValueFeature(VocabularyFeature):
    """Several values a row, pooled into one vector: a list column, or text divided at `delimiter`.

    `max_length`: the first values kept of a row. `weights`: a column that holds one number a value; the model then takes
    them as `NAME_weights`. `pooling`: weighted mean or sum of the embeddings; zeros for a row without values.
    """

    kind: Literal["multi_value"]
    delimiter: str = Field("|", min_length=1)
    max_length: int = Field(20, ge=1)
    weights: str | None = None
    pooling: Literal["mean", "sum"] = "mean"

    @property
    def weights_name(self) -> str:
        """What records and requests call the weights."""
        return f"{self.name}_weights"


class HashedFeature(ReadFeature):
    """A value whose id is `tf.strings.to_hash_bucket_fast(value, buckets)`; no vocabulary is kept."""

    kind: Literal["hashed"]
    buckets: int = Field(ge=1)
    dim: int = Field(16, ge=1)
    pretrained: Pretrained | None = None


class NumericFeature(ReadFeature):
    """A number, kept as it is in records and transformed in the model.

    `log1p` is `sign(x) ln(1 + |x|)`; `standardize` uses mean and deviation of the training split; `bucketize` embeds the
    position of the number among `boundaries`, or among the boundaries of `buckets` equally filled parts of the training
    split (a boundary belongs to the bucket above it); `package.module:Class` is the user's own. `default`: the raw value that
    stands for a missing one.
    """

    kind: Literal["numeric"]
    transform: str = "none"
    default: float = 0.0
    boundaries: list[float] | None = Field(None, min_length=1)
    buckets: int | None = Field(None, ge=2)
    dim: int = Field(8, ge=1)

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
