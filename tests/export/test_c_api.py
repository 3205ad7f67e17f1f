# SPDX-License-Identifier: Apache-2.0
"""The SavedModel in TensorFlow's C API, which knows no Python: what TF Serving loads it with."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.export.asking import example_inputs, raw_inputs

PROCESS = Path(__file__).with_name("c_api_process.py")


def as_feed(values):
    flat = values.ravel().tolist()
    kind = {"floats": flat} if values.dtype == np.float32 else {"texts": [text.decode("latin-1") for text in flat]}
    return {"shape": values.shape, **kind}


def test_answers_of_the_c_api_are_those_of_the_live_model(exported, served, shared_experiment, asked):
    """The job is a process of its own, which fails where it imports TensorFlow."""
    inputs = {
        "serving_default": raw_inputs(shared_experiment, asked.rows),
        "predict_examples": example_inputs(shared_experiment, asked.rows),
        "regress_like": example_inputs(shared_experiment, asked.rows, "inputs"),
    }
    assert {values.dtype for values in inputs["serving_default"].values()} == {np.dtype("float32"), np.dtype("O")}
    runs = []
    for signature, values in inputs.items():
        definition = served.definitions[signature]
        feeds = {definition.inputs[name].name: as_feed(array) for name, array in values.items()}
        runs.append({"feeds": feeds, "fetches": [output.name for output in definition.outputs.values()]})
    job = json.dumps({"directory": str(exported / "1"), "runs": runs})
    process = subprocess.run(
        [sys.executable, str(PROCESS)], input=job, capture_output=True, text=True, check=False, cwd=exported
    )
    assert process.returncode == 0, process.stderr
    answers = [
        {name: result[output.name] for name, output in served.definitions[signature].outputs.items()}
        for signature, result in zip(inputs, json.loads(process.stdout), strict=True)
    ]
    for task, probabilities in asked.expected.items():
        np.testing.assert_allclose(answers[0][task], probabilities, rtol=0, atol=1e-6)
        np.testing.assert_allclose(answers[1][task], probabilities, rtol=0, atol=1e-6)
    np.testing.assert_allclose(answers[2]["outputs"], asked.expected["like"], rtol=0, atol=1e-6)
