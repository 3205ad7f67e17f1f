"""The backbones that configurations can name."""

import importlib

from tf_crossdistil.backbones.base import Backbone
from tf_crossdistil.backbones.cross_stitch import CrossStitch
from tf_crossdistil.backbones.mmoe import MultiGateMixtureOfExperts
from tf_crossdistil.backbones.ple import ProgressiveLayeredExtraction
from tf_crossdistil.backbones.shared_bottom import SharedBottom
from tf_crossdistil.backbones.single_model import SingleModel
from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean

BACKBONES: dict[str, type[Backbone]] = {
    "single": SingleModel,
    "shared_bottom": SharedBottom,
    "cross_stitch": CrossStitch,
    "mmoe": MultiGateMixtureOfExperts,
    "ple": ProgressiveLayeredExtraction,
}


def find_backbone(name: str) -> type[Backbone]:
    """The backbone of that name, or the user's own where the name is `package.module:Class`.

    Raises:
        UsageError: there is none; the nearest name is given.
    """
    if ":" in name:
        return _load(name)
    if name not in BACKBONES:
        raise UsageError(f"model.backbone: there is no backbone '{name}'; {did_you_mean(name, BACKBONES)}")
    return BACKBONES[name]


def _load(name: str) -> type[Backbone]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"model.backbone: '{name}' cannot be imported: {error}; give package.module:Class, with its folder on PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise UsageError(f"model.backbone: '{name}' is no subclass of {Backbone.__module__}.Backbone; received {found!r}")
    return found
