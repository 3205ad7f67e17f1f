# SPDX-License-Identifier: Apache-2.0
"""The signatures as TF Serving's classifier, regressor and predictor look at them."""

import pytest
import tensorflow as tf

FLOAT, STRING = (dtype.as_datatype_enum for dtype in (tf.float32, tf.string))
METHODS = {
    "serving_default": "tensorflow/serving/predict",
    "predict_examples": "tensorflow/serving/predict",
    **{f"classify_{task}": "tensorflow/serving/classify" for task in ("finish", "like")},
    **{f"regress_{task}": "tensorflow/serving/regress" for task in ("finish", "like")},
}


def described(tensors):
    """Type and shape by name; -1 is any."""
    return {name: (tensor.dtype, [dim.size for dim in tensor.tensor_shape.dim]) for name, tensor in tensors.items()}


def test_there_are_these_signatures_with_their_method_names(served):
    assert {name: definition.method_name for name, definition in served.definitions.items()} == METHODS


@pytest.mark.parametrize("task", ["finish", "like"])
def test_classify_and_regress_take_and_give_what_tf_serving_asks_for(served, task):
    classify, regress = served.definitions[f"classify_{task}"], served.definitions[f"regress_{task}"]
    assert described(classify.inputs) == described(regress.inputs) == {"inputs": (STRING, [-1])}
    assert described(classify.outputs) == {"classes": (STRING, [-1, 2]), "scores": (FLOAT, [-1, 2])}
    assert described(regress.outputs) == {"outputs": (FLOAT, [-1])}


def test_predict_takes_raw_features_or_examples_and_gives_the_tasks(served):
    raw, examples = served.definitions["serving_default"], served.definitions["predict_examples"]
    probabilities = {task: (FLOAT, [-1]) for task in ("finish", "like")}
    assert described(raw.outputs) == described(examples.outputs) == probabilities
    assert described(examples.inputs) == {"examples": (STRING, [-1])}
    lists = {"tags": (STRING, [-1, -1]), "tags_weights": (FLOAT, [-1, -1]), "others": (STRING, [-1, -1])}
    numbers = {name: (FLOAT, [-1]) for name in ("duration", "row", "quartile", "third")}
    assert described(raw.inputs) == lists | numbers | {name: (STRING, [-1]) for name in ("user", "word", "author")}


def test_the_version_2_loader_gives_the_same_signatures(exported):
    assert set(tf.saved_model.load(str(exported / "1")).signatures) == set(METHODS)
