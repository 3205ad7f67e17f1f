# SPDX-License-Identifier: Apache-2.0
"""Multi-Level Sparse Sharing Model (Ding et al., SIGIR 2021)."""

from collections.abc import Sequence

from tf_crossdistil.backbones.routing import RoutedExperts
from tf_crossdistil.config import Model


class MultiLevelSparseSharing(RoutedExperts):
    """MSSM: tasks own experts beside the shared ones, and a connection has a gate for each cell of the node it leads to.

    Training closes gates, so that each task shares what helps it, cell by cell. The paper's field-level module (FSCM), which
    has each expert choose among the fields of the input, is left out: a backbone gets encoded features without borders
    between fields. The authors of Deep Mutual Learning (arXiv 2309.10357) run MSSM without it by default too.
    """

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, per_task=settings.experts.per_task, gates_by_cell=True, **kwargs)
