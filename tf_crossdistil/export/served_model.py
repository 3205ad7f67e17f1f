"""The served model: student towers only, raw features in, probabilities out."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.raw_features import parse_requests, request_signature
from tf_crossdistil.data.records import Columns
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.export.warm_up import read_sample, write_warm_up
from tf_crossdistil.models.ranking_network import RankingNetwork
from tf_crossdistil.models.run import Run

SERVING_SIGNATURE = "serving_default"
EXAMPLES_SIGNATURE = "predict_examples"


class ServedModel(tf.Module):
    """The students with their feature look-ups; it tracks the variables that the students read, and nothing else.

    A module that held the network would carry the teachers along, and one that held the compiled model the optimizers
    too. So the network is traced for the students alone, and what the trace captured is what is kept: right for every
    backbone, however it shares variables.
    """

    def __init__(self, network: RankingNetwork, experiment: Experiment, vocabularies: Path):
        super().__init__()
        self.lookup = FeatureLookup(experiment, vocabularies)
        lookup = self.lookup

        def probabilities(raw: Columns) -> dict[str, tf.Tensor]:
            logits = network(lookup(raw), tasks=experiment.task_names, training=False)
            return {task: tf.sigmoid(logits[task], name=task) for task in experiment.task_names}

        @tf.function(input_signature=[request_signature(experiment)])
        def predict(raw: Columns) -> dict[str, tf.Tensor]:
            return probabilities(raw)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def predict_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return probabilities(parse_requests(experiment, examples))

        self.served_signatures = {
            SERVING_SIGNATURE: predict.get_concrete_function(),
            EXAMPLES_SIGNATURE: predict_examples.get_concrete_function(),
        }
        self.student_variables = list(self.served_signatures[SERVING_SIGNATURE].variables)


@dataclass(frozen=True)
class Exported:
    """Where an exported version is and how many variables and bytes it has."""

    directory: Path
    variables: int
    bytes: int


def export(run: Run, target: Path, version: int | None = None) -> Exported:
    """Writes the students of a run's best epoch as `target/<version>`, aside first and renamed when complete.

    Args:
        run: a training run.
        target: the model's folder, `DIR/NAME`; NAME is the name that clients ask for.
        version: default one more than the newest there, or 1.

    Raises:
        UsageError: the version exists already.
        CrossDistilError: the run has no finished epoch, or the target cannot be written.
    """
    version = _newest_version(target) + 1 if version is None else version
    destination = target / str(version)
    if destination.exists():
        raise UsageError(f"{destination} exists already; give another --version, or none for the next one")
    model = run.load_best()
    # TF Serving polls the folder for numbers only, so a name like this is never loaded.
    aside = target / f".{version}.partial"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        target.mkdir(parents=True, exist_ok=True)
        served = ServedModel(model.network, run.experiment, run.vocabularies)
        tf.saved_model.save(served, str(aside), signatures=served.served_signatures)
        write_warm_up(aside, target.name, run.experiment, read_sample(run.sample_file))
        aside.rename(destination)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CrossDistilError(f"cannot export to {destination}: {error.filename or target}: {error.strerror}") from error
    size = sum(path.stat().st_size for path in destination.rglob("*") if path.is_file())
    return Exported(destination, len(served.student_variables), size)


def _newest_version(target: Path) -> int:
    versions: list[int] = [int(path.name) for path in target.glob("*") if path.name.isdigit()]
    return max(versions, default=0)


def load_signature(directory: Path, name: str = SERVING_SIGNATURE) -> Any:
    """A signature of an exported version as a function of tensors, for comparisons with the live model."""
    loaded = tf.saved_model.load(str(directory))
    signature = loaded.signatures[name]
    signature.keep_alive = loaded
    return signature
