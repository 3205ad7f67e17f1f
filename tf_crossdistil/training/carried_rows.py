# SPDX-License-Identifier: Apache-2.0
"""Which rows of a former run's embedding tables go on in a new run, whose vocabularies may be others."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment, Feature, HashedFeature, NumericFeature, VocabularyFeature
from tf_crossdistil.data.feature_lookup import VocabularyTable
from tf_crossdistil.data.records import steady_parallelism
from tf_crossdistil.models.run import Run
from tf_crossdistil.models.run_vocabularies import check_vocabulary
from tf_crossdistil.schema import Metadata, PreparedData

# Values that are looked up, and rows that are assigned, at a time.
_BLOCK = 65_536
# Tables of which fewer ids go on look like those of other logs.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class CarriedRows:
    """Row `former[n]` of a feature's former table goes on as row `new[n]` of a table of `total` rows."""

    feature: str
    former: NDArray[np.int64]
    new: NDArray[np.int64]
    total: int

    def report(self, run: Run) -> str:
        """How many ids go on, with a warning where they are suspiciously few."""
        anew = self.total - len(self.new)
        line = f"feature '{self.feature}': {len(self.new):,} of {self.total:,} ids go on from {run.directory}"
        line += f"; {anew:,} start anew" if anew else ""
        if len(self.new) >= self.total * _LEAST_SHARE:
            return line
        return f"{line}; warning: these are few; check that the feature is the same, and has as many buckets, in both runs"

    def blocks(self, first: int, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Former rows, with their places in a part of the new table that holds `size` rows from row `first`."""
        inside = np.flatnonzero((self.new >= first) & (self.new < first + size))
        for start in range(0, len(inside), _BLOCK):
            block = inside[start : start + _BLOCK]
            yield self.former[block], self.new[block] - first


def embedded_features(experiment: Experiment) -> list[Feature]:
    """The features with an embedding table of their own."""
    return [feature for feature in experiment.features if _owns_table(feature)]


def carried_rows(feature: Feature, run: Run, data: PreparedData) -> CarriedRows:
    """The rows of a feature's table that go on: of values that both vocabularies have, and of buckets that are as many.

    Args:
        feature: one of `embedded_features` of the new run.
        run: the former run, which has the same feature.
        data: of the new run.

    Raises:
        CrossDistilError: the former run's vocabulary is damaged.
    """
    former = next(known for known in run.experiment.features if known.name == feature.name)
    if isinstance(feature, VocabularyFeature) and isinstance(former, VocabularyFeature):
        return _by_value(former, feature, run, data)
    total = _buckets(feature, data.metadata)
    same = np.arange(total if _buckets(former, run.metadata) == total else 0)
    return CarriedRows(feature.name, same, same, total)


def _owns_table(feature: Feature) -> bool:
    if isinstance(feature, VocabularyFeature):
        return feature.share_with is None
    return not isinstance(feature, NumericFeature) or feature.is_bucketized


def _buckets(feature: Feature, metadata: Metadata) -> int:
    return feature.buckets if isinstance(feature, HashedFeature) else len(metadata.numeric[feature.name].boundaries) + 1


def _by_value(former: VocabularyFeature, feature: VocabularyFeature, run: Run, data: PreparedData) -> CarriedRows:
    file = run.vocabularies / f"{feature.name}.txt"
    known = run.metadata.vocabularies[feature.name]
    check_vocabulary(file, known, "restore the file, or train without --warm-start")
    ids_of = VocabularyTable(file, former.oov_buckets)
    lines = tf.data.TextLineDataset(str(data.vocabulary_file(feature.name)))
    values = lines.batch(_BLOCK).with_options(steady_parallelism())
    # A missing value has id 0 in both.
    former_ids = np.concatenate([[0], *(ids_of(block).numpy() for block in values)])
    new_ids = np.flatnonzero(former_ids <= known.size)
    former_ids = former_ids[new_ids]
    if former.oov_buckets == feature.oov_buckets:
        # Unknown values fall into the same of these buckets as before.
        buckets = 1 + np.arange(feature.oov_buckets)
        former_ids = np.concatenate([former_ids, known.size + buckets])
        new_ids = np.concatenate([new_ids, data.metadata.vocabularies[feature.name].size + buckets])
    return CarriedRows(feature.name, former_ids, new_ids, data.metadata.embedding_rows(feature))
