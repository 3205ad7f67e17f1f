"""What a written version answers, compared with the live model, before it is published."""

from collections.abc import Callable, Iterator
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

TOLERANCE = 1e-6
_FAULT = "this is a fault of the export: please report it"


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
    rows: list[dict[str, Any]],
    score: Score | None = None,
) -> float:
    """Compares what a written version answers, as TF Serving runs it, with the live model, through every signature.

    Args:
        directory: the version's folder.
        live: the live model's probabilities `[rows]` by task of raw rows.
        experiment: the configuration.
        rows: raw features by name; a row of nothing but missing values is added to them.
        score: that of the version, if it has one.

    Returns:
        The largest difference of a probability; a score is held to its own size where that is above 1.

    Raises:
        CrossDistilError: a difference is above 1e-6, or an answer is no number; or the version cannot be loaded or run.
    """
    rows = [*rows, {}]
    complete = [_complete(experiment, row) for row in rows]
    expected = dict(live(complete))
    if score is not None:
        expected[SCORE] = score({task: values.astype(np.float64) for task, values in expected.items()})
    try:
        with VersionOneModel(directory) as model:
            examples = [serialize_example(experiment, row) for row in rows]
            answers = list(_answers(model, experiment, complete, examples, list(expected)))
    except (tf.errors.OpError, OSError) as error:
        raise CrossDistilError(f"{directory} cannot be loaded and asked as TF Serving does: {error}") from error
    return max(_difference(answer, expected[answer.output]) for answer in answers)


def _complete(experiment: Experiment, row: dict[str, Any]) -> dict[str, Any]:
    """The row with every feature, those that it leaves out as missing values."""
    missing: dict[str, Any] = {name: [] if field.is_list else field.missing for name, field in raw_fields(experiment).items()}
    return missing | row


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
        signature = classify_signature(task)
        classified = model(signature, {tf.saved_model.CLASSIFY_INPUTS: examples})
        if not np.all(classified["classes"] == [[name.encode() for name in CLASSES]]):
            raise CrossDistilError(f"{signature} gives other classes than {', '.join(CLASSES)}; {_FAULT}")
        yield _Answer(signature, task, classified["scores"][:, 1])
        yield _Answer(signature, task, 1.0 - classified["scores"][:, 0])


def _difference(answer: _Answer, expected: NDArray[Any]) -> float:
    difference = np.abs(answer.values - expected) / np.maximum(1.0, np.abs(expected))
    worst = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
    if not difference[worst] <= TOLERANCE:
        row = f"row {worst + 1} of the sample" if worst + 1 < len(expected) else "a row of nothing but missing values"
        raise CrossDistilError(
            f"the exported model is not the live one: for {row}, {answer.signature} answers {answer.values[worst]} for "
            f"'{answer.output}' and the live model {expected[worst]}, expected a difference of at most {TOLERANCE:.0e}; "
            f"{_FAULT}"
        )
    return float(difference[worst])
