# SPDX-License-Identifier: Apache-2.0
"""DeepCTR's PLE as a SavedModel, written as its documentation saves models, by `save_model`; it takes ids.

It was never compiled, so that no optimizer makes it larger.
"""

# Its library is in an environment of its own.
# mypy: disable-error-code=import-not-found

import argparse
import json
from pathlib import Path

import tensorflow as tf

from benchmarks.training_peers.deepctr_ple import build
from benchmarks.training_peers.job import Job


def main() -> None:
    """Exports the model of a job."""
    parser = argparse.ArgumentParser(description="The peer of benchmarks.serving.")
    parser.add_argument("job", type=Path, help="JSON file")
    parser.add_argument("directory", type=Path, help="for the SavedModel")
    arguments = parser.parse_args()
    model = build(Job(**json.loads(arguments.job.read_text(encoding="utf-8"))))
    tf.keras.models.save_model(model, str(arguments.directory))


if __name__ == "__main__":
    main()
