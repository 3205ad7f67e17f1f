# SPDX-License-Identifier: Apache-2.0
"""torch-rechub's PLE, read by its DataGenerator and trained by its MTLTrainer as its multi-task example does."""

# Its library is in an environment of its own.
# mypy: disable-error-code=import-not-found

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import PLE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

from benchmarks.training_peers.job import Answer, Job, Stopwatch, read_rows, run_peer

_JUDGED_ROWS = 20_480


def train(job: Job) -> Answer:
    """One epoch."""
    watch = Stopwatch()
    with watch:
        features, labels = read_rows(job)
        targets = np.stack(labels, axis=1)
    columns = [SparseFeature(name, vocab_size=rows, embed_dim=job.dim) for name, rows in job.tables.items()]
    columns += [DenseFeature(name) for name in job.numeric]
    task_types = ["classification"] * len(job.labels)
    model = PLE(
        columns,
        task_types=task_types,
        n_level=1,
        n_expert_specific=job.per_task,
        n_expert_shared=job.shared,
        expert_params={"dims": job.expert_units, "dropout": job.dropout},
        tower_params_list=[{"dims": job.tower_units, "dropout": job.dropout} for _ in job.labels],
    )
    trainer = MTLTrainer(model, task_types=task_types, n_epoch=1)

    def loader(rows: int) -> Any:
        generator = DataGenerator({name: values[:rows] for name, values in features.items()}, targets[:rows])
        return generator.generate_dataloader(x_val={}, y_val=[], x_test={}, y_test=[], batch_size=job.batch_size)[0]

    def loss() -> float:
        some = {name: torch.as_tensor(values[:_JUDGED_ROWS]) for name, values in features.items()}
        model.eval()
        with torch.no_grad():
            entropy = torch.nn.functional.binary_cross_entropy(
                model(some), torch.as_tensor(targets[:_JUDGED_ROWS]).float(), reduction="none"
            )
        return float(entropy.mean(dim=0).sum())

    loss_before = loss()
    trainer.train_one_epoch(loader(job.batch_size))
    with watch:
        trainer.train_one_epoch(loader(len(targets)))
    return Answer(
        len(targets),
        watch.seconds,
        watch.cpu_seconds,
        sum(parameter.numel() for parameter in model.parameters()),
        loss_before,
        loss(),
        f"torch-rechub {version('torch-rechub')}, torch {torch.__version__}",
    )


if __name__ == "__main__":
    run_peer(train)
