# SPDX-License-Identifier: Apache-2.0
"""DeepCTR's PLE, compiled with "adam" and fitted on arrays in memory, as its multi-task example does.

Its embeddings are not regularised, as ours are not: the regularisation that DeepCTR has by default would slow it down.
"""

# Its library is in an environment of its own.
# mypy: disable-error-code=import-not-found

from typing import Any

import deepctr
import numpy as np
import tensorflow as tf
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import PLE

from benchmarks.training_peers.job import Answer, Job, Stopwatch, read_rows, run_peer

_JUDGED_ROWS = 20_480


def build(job: Job) -> tf.keras.Model:
    """The model, untrained."""
    columns = [SparseFeat(name, rows, embedding_dim=job.dim) for name, rows in job.tables.items()]
    columns += [DenseFeat(name) for name in job.numeric]
    return PLE(
        columns,
        shared_expert_num=job.shared,
        specific_expert_num=job.per_task,
        num_levels=1,
        expert_dnn_hidden_units=tuple(job.expert_units),
        tower_dnn_hidden_units=tuple(job.tower_units),
        l2_reg_embedding=0,
        dnn_dropout=job.dropout,
        task_types=["binary"] * len(job.labels),
        task_names=job.labels,
    )


def train(job: Job) -> Answer:
    """One epoch."""
    watch = Stopwatch()
    with watch:
        features, labels = read_rows(job)
    model = build(job)
    model.compile("adam", loss=["binary_crossentropy"] * len(job.labels))

    def first(rows: int) -> tuple[dict[str, Any], list[Any]]:
        return {name: values[:rows] for name, values in features.items()}, [values[:rows] for values in labels]

    def loss() -> float:
        some, some_labels = first(_JUDGED_ROWS)
        predicted = [np.clip(values[:, 0], 1e-7, 1 - 1e-7) for values in model.predict(some, job.batch_size, verbose=0)]
        right = [np.where(label == 1, chance, 1 - chance) for label, chance in zip(some_labels, predicted, strict=True)]
        return float(sum(-np.log(chance).mean() for chance in right))

    loss_before = loss()
    model.fit(*first(job.batch_size), batch_size=job.batch_size, verbose=0)
    with watch:
        model.fit(features, labels, batch_size=job.batch_size, epochs=1, verbose=0)
    return Answer(
        len(labels[0]),
        watch.seconds,
        watch.cpu_seconds,
        model.count_params(),
        loss_before,
        loss(),
        f"deepctr {deepctr.__version__}, tensorflow {tf.__version__}",
    )


if __name__ == "__main__":
    run_peer(train)
