# SPDX-License-Identifier: Apache-2.0
"""What a written version answers, compared with the live model, before it is published."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.raw_features import raw_columns, raw_fields
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.export.score import SCORE, Score
from tf_crossdistil.export.signatures import (
    CLASSES,
    EXAMPLES_SIGNATURE,
    SERVING_SIGNATURE,
    classify_signature,
    regress_signature,
)
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.export.warm_up import serialize_example
from tf_crossdistil.schema import Metadata
from tf_crossdistil.training.reasons import reason_of

TOLERANCE = 1e-6
# Of a value's size. Large hidden units cancel out but for their rounding, which no sigmoid flattens: with a feature of up to
# 4000 that nothing scales, 8e-6 of the size was met.
VALUE_TOLERANCE = 1e-4
_FAULT = "this is a fault of the export: please report it"


@dataclass(frozen=True)
class _Expected:
    """What the live model answers, `[rows]`, how large that may be, and which share of this a difference may have."""

    values: NDArray[np.float64]
    size: float
    tolerance: float


@dataclass(frozen=True)
class _Answer:
    """What a signature says about an output of the live model, `[rows]`."""

    signature: str
    output: str
    values: NDArray[Any]


def check_answers(
    directory: Path,
    live: Callable[[list[dict[str, Any]]], dict[str, NDArray[np.float32]]],
    experiment: Experiment,
    metadata: Metadata,
    rows: list[dict[str, Any]],
    score: Score | None = None,
) -> float:
    """Compares what a written version answers, as TF Serving runs it, with the live model, through every signature.

    Differences come of rounding, which goes by the size of what was added up. A probability has the size 1; the values of a
    regression task that of the largest of them, the label's mean and the label's deviation; a score what its terms of such
    sizes come to without their signs.

    Args:
        directory: the version's folder.
        live: the live model's answers `[rows]` by task of raw rows.
        experiment: the configuration.
        metadata: of the data that the model was trained on.
        rows: raw features by name; a row of nothing but missing values is added to them.
        score: that of the version, if it has one.

    Returns:
        The largest difference, as a share of the size.

    Raises:
        CrossDistilError: a difference is above 1e-6 of the size of a probability or 1e-4 of that of a value or a score with
            values, or an answer is no number; or the version cannot be loaded or run.
    """
    rows = [*rows, {}]
    complete = [_complete(experiment, row) for row in rows]
    expected = _expect(live(complete), metadata, experiment.regression_names)
    if score is not None:
        expected[SCORE] = _expect_score(score, expected)
    try:
        with VersionOneModel(directory) as model:
            examples = [serialize_example(experiment, row) for row in rows]
            answers = list(_answers(model, experiment, complete, examples, list(expected)))
    except (tf.errors.OpError, OSError) as error:
        raise CrossDistilError(
            f"{directory} cannot be loaded and asked as TF Serving does: {reason_of(error)}; {_FAULT}"
        ) from error
    return max(_difference(answer, expected[answer.output]) for answer in answers)


def _complete(experiment: Experiment, row: dict[str, Any]) -> dict[str, Any]:
    """The row with every feature, those that it leaves out as missing values."""
    missing: dict[str, Any] = {name: [] if field.is_list else field.missing for name, field in raw_fields(experiment).items()}
    return missing | row


def _expect(
    live: Mapping[str, NDArray[np.float32]], metadata: Metadata, regression_names: Sequence[str]
) -> dict[str, _Expected]:
    expected = {task: _Expected(values.astype(np.float64), 1.0, TOLERANCE) for task, values in live.items()}
    for task in regression_names:
        label, values = metadata.numeric[task], expected[task].values
        size = max(abs(label.mean), label.deviation or 1.0, float(np.max(np.abs(values))))
        expected[task] = _Expected(values, size, VALUE_TOLERANCE)
    return expected


def _expect_score(score: Score, expected: Mapping[str, _Expected]) -> _Expected:
    values = score({task: each.values for task, each in expected.items()})
    size = score.size({task: each.size for task, each in expected.items()})
    return _Expected(values, size, max(expected[task].tolerance for task in score.weights))


def _answers(
    model: VersionOneModel,
    experiment: Experiment,
    rows: list[dict[str, Any]],
    examples: list[bytes],
    outputs: list[str],
) -> Iterator[_Answer]:
    raw = {name: values.numpy() for name, values in raw_columns(experiment, rows).items()}
    for signature, inputs in ((SERVING_SIGNATURE, raw), (EXAMPLES_SIGNATURE, {"examples": examples})):
        answers = model(signature, inputs)
        if answers.keys() != set(outputs):
            raise CrossDistilError(f"{signature} answers {', '.join(sorted(answers))}, expected {', '.join(outputs)}; {_FAULT}")
        for output in outputs:
            yield _Answer(signature, output, answers[output])
    for task in experiment.task_names:
        signature = regress_signature(task)
        yield _Answer(signature, task, model(signature, {tf.saved_model.REGRESS_INPUTS: examples})["outputs"])
    for task in experiment.binary_names:
        signature = classify_signature(task)
        classified = model(signature, {tf.saved_model.CLASSIFY_INPUTS: examples})
        if not np.all(classified["classes"] == [[name.encode() for name in CLASSES]]):
            raise CrossDistilError(f"{signature} gives other classes than {', '.join(CLASSES)}; {_FAULT}")
        yield _Answer(signature, task, classified["scores"][:, 1])
        yield _Answer(signature, task, 1.0 - classified["scores"][:, 0])


def _difference(answer: _Answer, expected: _Expected) -> float:
    difference = np.abs(answer.values - expected.values) / expected.size
    worst = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
    if not difference[worst] <= expected.tolerance:
        row = f"row {worst + 1} of the sample" if worst + 1 < len(difference) else "a row of nothing but missing values"
        raise CrossDistilError(
            f"the exported model is not the live one: for {row}, {answer.signature} answers {answer.values[worst]} for "
            f"'{answer.output}' and the live model {expected.values[worst]}, expected a difference of at most "
            f"{expected.tolerance * expected.size:.0e}; {_FAULT}"
        )
    return float(difference[worst])
