"""The backbones that configurations can name."""

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.ple import ProgressiveLayeredExtraction
from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean

BACKBONES: dict[str, type[Backbone]] = {"ple": ProgressiveLayeredExtraction}


def find_backbone(name: str) -> type[Backbone]:
    """The backbone of that name.

    Raises:
        UsageError: there is none; the nearest name is given.
    """
    if name not in BACKBONES:
        raise UsageError(f"model.backbone: there is no backbone '{name}'; {did_you_mean(name, BACKBONES)}")
    return BACKBONES[name]
