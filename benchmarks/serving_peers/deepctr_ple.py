"""DeepCTR's PLE as a SavedModel, written as its documentation saves models, by `save_model`; it takes ids.

It was never compiled, so that no optimizer makes it larger.
"""

# Its library is in an environment of its own.
# mypy: disable-error-code=import-not-found

import argparse
import json
from pathlib import Path

import tensorflow as tf
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import PLE

from benchmarks.training_peers.job import Job


def export(job: Job, directory: Path) -> None:
    """Writes the model, untrained."""
    columns = [SparseFeat(name, rows, embedding_dim=job.dim) for name, rows in job.tables.items()]
    columns += [DenseFeat(name) for name in job.numeric]
    model = PLE(
        columns,
        shared_expert_num=job.shared,
        specific_expert_num=job.per_task,
        num_levels=1,
        expert_dnn_hidden_units=tuple(job.expert_units),
        tower_dnn_hidden_units=tuple(job.tower_units),
        dnn_dropout=job.dropout,
        task_types=["binary"] * len(job.labels),
        task_names=job.labels,
    )
    tf.keras.models.save_model(model, str(directory))


def main() -> None:
    """Exports the model of a job."""
    parser = argparse.ArgumentParser(description="The peer of benchmarks.serving.")
    parser.add_argument("job", type=Path, help="JSON file")
    parser.add_argument("directory", type=Path, help="for the SavedModel")
    arguments = parser.parse_args()
    export(Job(**json.loads(arguments.job.read_text(encoding="utf-8"))), arguments.directory)


if __name__ == "__main__":
    main()
