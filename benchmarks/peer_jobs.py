# SPDX-License-Identifier: Apache-2.0
"""The network of a configuration as the job that peers are given: plain PLE without any distillation."""

from collections.abc import Mapping

from benchmarks.training_peers.job import Job
from tf_crossdistil.config import Experiment, NumericFeature


def peer_job(experiment: Experiment, tables: Mapping[str, int], dim: int, rows: str = "") -> Job:
    """The same network for a peer, which takes ids.

    Args:
        experiment: the configuration.
        tables: rows of each feature's embedding table.
        dim: of all embeddings.
        rows: the parquet file to train on; none for a model that is not trained.
    """
    model = experiment.model
    return Job(
        rows=rows,
        tables=dict(tables),
        dim=dim,
        numeric=[feature.name for feature in experiment.features if isinstance(feature, NumericFeature)],
        labels=experiment.task_names,
        batch_size=experiment.training.batch_size,
        shared=model.experts.shared,
        per_task=model.experts.per_task,
        expert_units=list(model.experts.units),
        tower_units=list(model.towers),
        dropout=model.dropout,
    )
