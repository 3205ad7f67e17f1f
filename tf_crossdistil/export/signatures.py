# SPDX-License-Identifier: Apache-2.0
"""The signatures of a served model, with the names, shapes and method names that TF Serving's interfaces ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_crossdistil.config import Experiment
from tf_crossdistil.data.raw_features import parse_requests, request_signature
from tf_crossdistil.data.records import Columns

SERVING_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
EXAMPLES_SIGNATURE = "predict_examples"
CLASSES = ("0", "1")


def classify_signature(task: str) -> str:
    """The name of a binary task's signature for TF Serving's Classify."""
    return f"classify_{task}"


def regress_signature(task: str) -> str:
    """The name of a task's signature for TF Serving's Regress."""
    return f"regress_{task}"


def make_signatures(experiment: Experiment, answer: Callable[[Columns], dict[str, tf.Tensor]]) -> dict[str, Any]:
    """The concrete functions by signature name; the network is traced once for all of them.

    Args:
        experiment: the configuration.
        answer: the served outputs by name, `[batch]` each, from the raw features.
    """
    predict = tf.function(answer, input_signature=[request_signature(experiment)])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def predict_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return predict(parse_requests(experiment, examples))

    signatures = {SERVING_SIGNATURE: predict, EXAMPLES_SIGNATURE: predict_examples}
    for task in experiment.binary_names:
        signatures[classify_signature(task)] = _classify(predict_examples, task)
    for task in experiment.task_names:
        signatures[regress_signature(task)] = _regress(predict_examples, task)
    return {name: function.get_concrete_function() for name, function in signatures.items()}


def write_method_names(directory: Path, experiment: Experiment) -> None:
    """Gives the signatures of a written SavedModel, which all say predict, the method names that TF Serving can ask for."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
    for task in experiment.binary_names:
        updater.replace_method_name(classify_signature(task), tf.saved_model.CLASSIFY_METHOD_NAME)
    for task in experiment.task_names:
        updater.replace_method_name(regress_signature(task), tf.saved_model.REGRESS_METHOD_NAME)
    updater.save()


def _classify(predict_examples: Any, task: str) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, tf.saved_model.CLASSIFY_INPUTS)])
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probability = predict_examples(inputs)[task]
        return {
            tf.saved_model.CLASSIFY_OUTPUT_SCORES: tf.stack([1.0 - probability, probability], axis=1),
            tf.saved_model.CLASSIFY_OUTPUT_CLASSES: tf.tile([CLASSES], [tf.size(inputs), 1]),
        }

    return classify


def _regress(predict_examples: Any, task: str) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, tf.saved_model.REGRESS_INPUTS)])
    def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {tf.saved_model.REGRESS_OUTPUTS: predict_examples(inputs)[task]}

    return regress
