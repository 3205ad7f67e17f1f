# SPDX-License-Identifier: Apache-2.0
"""The backbones that configurations can name."""

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.cross_stitch import CrossStitch
from tf_crossdistil.backbones.mmoe import MultiGateMixtureOfExperts
from tf_crossdistil.backbones.mssm import MultiLevelSparseSharing
from tf_crossdistil.backbones.ple import ProgressiveLayeredExtraction
from tf_crossdistil.backbones.shared_bottom import SharedBottom
from tf_crossdistil.backbones.single_model import SingleModel
from tf_crossdistil.backbones.snr import SubNetworkRouting
from tf_crossdistil.plugins import find_plugin

BACKBONES: dict[str, type[Backbone]] = {
    "single": SingleModel,
    "shared_bottom": SharedBottom,
    "cross_stitch": CrossStitch,
    "mmoe": MultiGateMixtureOfExperts,
    "ple": ProgressiveLayeredExtraction,
    "mssm": MultiLevelSparseSharing,
    "snr": SubNetworkRouting,
}


def find_backbone(name: str) -> type[Backbone]:
    """The backbone of that name, or the user's own where the name is `package.module:Class`.

    Raises:
        UsageError: there is none.
    """
    return find_plugin("model.backbone", name, BACKBONES, Backbone)
