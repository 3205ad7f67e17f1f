# SPDX-License-Identifier: Apache-2.0
"""Logged requests against the training split: everything that `crossdistil skew` finds out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.skew.comparison import FeatureSkew, compare_features
from tf_crossdistil.skew.measure import measure_requests, measure_training
from tf_crossdistil.skew.request_files import Reading, read_requests

# The usual reading of the index: below 0.1 stable, above 0.25 drifted.
DEFAULT_THRESHOLD = 0.25
_SHIFTED = 0.4
# Of the requests: what a busy log may lose without telling another story.
MOST_BROKEN = 0.01


@dataclass(frozen=True)
class Skew:
    """Features, those that drifted most first, of `requests` with `request_rows` rows, and what was met in reading them.

    A feature whose drift is above `threshold` has drifted, above 0.4 of it shifted.
    """

    features: list[FeatureSkew]
    reading: Reading
    training_rows: int
    requests: int
    request_rows: int
    threshold: float

    def verdict(self, feature: FeatureSkew) -> str:
        """`drifted`, `shifted` or `stable`."""
        if feature.drift > self.threshold:
            return "drifted"
        return "shifted" if feature.drift > _SHIFTED * self.threshold else "stable"

    @property
    def incomplete(self) -> bool:
        """Whether more than 1 % of the requests were left out, or a file was not read to its end."""
        return self.reading.broken_share > MOST_BROKEN or bool(self.reading.unfinished)

    @property
    def worst(self) -> str:
        """The verdict of the feature that drifted most; `incomplete` in place of all but `drifted` if requests are."""
        verdict = self.verdict(self.features[0])
        return "incomplete" if self.incomplete and verdict != "drifted" else verdict

    def having(self, verdict: str) -> list[FeatureSkew]:
        """The features of a verdict."""
        return [feature for feature in self.features if self.verdict(feature) == verdict]


def measure_skew(
    data: PreparedData,
    files: list[Path],
    threshold: float = DEFAULT_THRESHOLD,
    advance: Callable[[int], None] = lambda rows: None,
) -> Skew:
    """Compares the requests in files with the training split.

    Args:
        data: what the model was trained on.
        files: request logs, each a TFRecord of PredictionLogs or lines of JSON, plain or gzip.
        threshold: drift, in the population stability index, above which a feature has drifted.
        advance: hears of the number of further rows of the training split that were read.

    Raises:
        CrossDistilError: there are no training rows, a file cannot be read, or no request in them can be.
    """
    experiment = prepared_experiment(data)
    if not data.rows("train"):
        raise CrossDistilError(
            f"{data.directory} has no training rows to compare with; give the data that the model was trained on"
        )
    reading = Reading()
    requests = measure_requests(data, experiment, read_requests(files, experiment, reading))
    if not next(iter(requests.values())).rows:
        raise CrossDistilError(_no_requests(files, experiment, reading))
    training = measure_training(data, experiment, advance)
    return Skew(
        features=compare_features(data, experiment, training, requests, reading.present),
        reading=reading,
        training_rows=data.rows("train"),
        requests=reading.records - reading.broken.total(),
        request_rows=next(iter(requests.values())).rows,
        threshold=threshold,
    )


def prepared_experiment(data: PreparedData) -> Experiment:
    """The configuration that data was prepared with.

    Raises:
        CrossDistilError: it is not one that this version knows.
    """
    try:
        return Experiment.model_validate(data.metadata.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("config", *first["loc"]))
        raise CrossDistilError(
            f"the configuration in {data.directory} is not one of this version: {where} {first['msg'].lower()}; "
            "run `crossdistil prepare` again"
        ) from error


def _no_requests(files: list[Path], experiment: Experiment, reading: Reading) -> str:
    names = f"{files[0]}{f' and {len(files) - 1} more' if files[1:] else ''}"
    if not reading.records:
        unfinished = "".join(f": {reason}" for reason in list(reading.unfinished.values())[:1])
        return f"{names} has no request{unfinished}; give a request log with at least one"
    reason, count = reading.broken.most_common(1)[0]
    features = ", ".join(feature.name for feature in experiment.features)
    return (
        f"{names}: none of {reading.records:,} requests can be compared; of {count:,}, each {reason}. A request is a "
        f"PredictionLog or a JSON object, with features of the data set, which are {features}"
    )
