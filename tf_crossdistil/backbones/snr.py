# SPDX-License-Identifier: Apache-2.0
"""Sub-Network Routing (Ma et al., AAAI 2019)."""

from collections.abc import Sequence

from tf_crossdistil.backbones.routing import RoutedExperts
from tf_crossdistil.config import Model


class SubNetworkRouting(RoutedExperts):
    """SNR-Trans: all experts are shared, and every connection between them and the tasks has one gate."""

    def __init__(self, students: Sequence[str], teachers: Sequence[str], settings: Model, **kwargs: object):
        super().__init__(students, teachers, settings, per_task=0, gates_by_cell=False, **kwargs)
