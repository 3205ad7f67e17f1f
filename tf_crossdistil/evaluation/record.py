# SPDX-License-Identifier: Apache-2.0
"""What evaluation measured of a run's best epoch, kept in the run: RUN/evaluation/<split>-<data run>.json."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tf_crossdistil.metrics.predictions import Predictions
from tf_crossdistil.models.run import BestEpoch, Run
from tf_crossdistil.schema import read_document

logger = logging.getLogger(__name__)

_FOLDER = "evaluation"


class Means(BaseModel):
    """Of one task's labelled rows, weighted as metrics are: the share of positive ones, and the mean probability."""

    model_config = ConfigDict(frozen=True)

    positive_rate: float
    mean_prediction: float


class ValueMeans(BaseModel):
    """Of one regression task's labelled rows, weighted as metrics are, in the label's units: mean label, mean prediction."""

    model_config = ConfigDict(frozen=True)

    mean_label: float
    mean_prediction: float


class Evaluation(BaseModel):
    """One measured split.

    Attributes:
        split: which one.
        data_run: the id of the prepared data.
        epoch: the number of the measured epoch, from 1.
        checkpoint: the digest of its checkpoint.
        summary: of `tf_crossdistil.metrics.summary.summarize`.
        means: by task; without those that no row has a label of.
    """

    model_config = ConfigDict(frozen=True)

    split: str
    data_run: str
    epoch: int
    checkpoint: str
    summary: dict[str, Any]
    means: dict[str, Means | ValueMeans]

    def is_of(self, epoch: BestEpoch) -> bool:
        """Whether it measured just these weights."""
        return (self.epoch, self.checkpoint) == (epoch.number, epoch.digest)


def means_by_task(predictions: Predictions) -> dict[str, Means | ValueMeans]:
    """Mean label and mean prediction of each task's labelled rows; a task without any is left out."""
    weights = np.ones(len(predictions.labels)) if predictions.weights is None else predictions.weights.astype(np.float64)
    means: dict[str, Means | ValueMeans] = {}
    for task, labels, students in zip(predictions.tasks, predictions.labels.T, predictions.students.T, strict=True):
        counted = np.where(np.isnan(labels), 0, weights)
        if total := counted.sum():
            label, prediction = float(counted @ np.nan_to_num(labels) / total), float(counted @ students / total)
            if task in predictions.regression:
                means[task] = ValueMeans(mean_label=label, mean_prediction=prediction)
            else:
                means[task] = Means(positive_rate=label, mean_prediction=prediction)
    return means


def keep_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Keeps an evaluation in its run, in the place of the former one of the same rows; says so where that cannot be written."""
    path = evaluation_file(run, evaluation.split, evaluation.data_run)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        aside.write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        logger.warning("warning: cannot write %s: %s; a model card of this run will lack these metrics", path, error.strerror)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def read_evaluations(run: Run, split: str) -> list[Evaluation]:
    """What was measured of a split: first on the data that the run was trained on, then on others, the newest first.

    Raises:
        CrossDistilError: a file is damaged.
    """
    own = evaluation_file(run, split, run.metadata.run)
    files = sorted(own.parent.glob(f"{split}-*.json"), key=lambda file: (file == own, file.stat().st_mtime), reverse=True)
    return [read_document(file, Evaluation) for file in files]


def evaluation_file(run: Run, split: str, data_run: str) -> Path:
    """Where the evaluation of a split of a data run is kept."""
    return run.directory / _FOLDER / f"{split}-{data_run}.json"
