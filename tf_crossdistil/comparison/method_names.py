# SPDX-License-Identifier: Apache-2.0
"""The names of methods in a comparison: a backbone or distillation method, and what its towers learn from each other.

`mmoe` is a backbone without distillation, `crossdistil` a distillation method on the configuration's backbone; `mmoe+ctfm`,
`mmoe+ctfm+gkd` and `crossdistil+gkd` have these values of `model.mutual`.
"""

from collections.abc import Sequence
from typing import Literal, get_args, get_origin

from tf_crossdistil.backbones.registry import BACKBONES, find_backbone
from tf_crossdistil.config import Experiment, Mutual, duplicates
from tf_crossdistil.config_file import parse_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.models.methods import METHODS
from tf_crossdistil.suggest import did_you_mean

_NONE = "none"
# The key of `model.mutual` that takes each suffix.
_KEYS = {
    value: key
    for key, field in Mutual.model_fields.items()
    if get_origin(field.annotation) is Literal
    for value in get_args(field.annotation)
    if value != _NONE
}


def full_names(texts: Sequence[str], experiment: Experiment) -> list[str]:
    """The names that `--methods` means, each with all its suffixes.

    A name with suffixes has those only. One without has what the configuration's `model.mutual` has, and its full name says
    so: tables never call two different models alike.

    Raises:
        UsageError: a name or suffix does not exist, or a method is named twice.
    """
    names = [full_name(text, experiment) for text in texts]
    if twice := duplicates(names):
        raise UsageError(
            f"--methods names '{twice[0]}' twice; the order of suffixes says nothing, and a name without suffix has what the "
            "configuration's model.mutual has"
        )
    return names


def full_name(text: str, experiment: Experiment, option: str = "--methods") -> str:
    """The name with all its suffixes; `option` gave it, for errors.

    Raises:
        UsageError: the name or a suffix does not exist, or a suffix is there twice.
    """
    method, *suffixes = text.split("+")
    _check_method(method, option)
    for suffix in suffixes:
        if suffix not in _KEYS:
            raise UsageError(f"{option}: there is no suffix '+{suffix}', as in '{text}'; {did_you_mean(suffix, _KEYS)}")
    if twice := duplicates(suffixes):
        raise UsageError(f"{option}: '{text}' has the suffix '+{twice[0]}' twice")
    return _joined(method, suffixes or experiment.model.mutual.parts)


def without_suffixes(name: str) -> str:
    """The full name of the same method whose towers learn nothing from each other."""
    return name.partition("+")[0]


def configured(experiment: Experiment, name: str, seed: int) -> Experiment:
    """The experiment with the method of a full name and a seed."""
    method, *suffixes = name.split("+")
    content = experiment.model_dump(mode="json")
    if method in METHODS:
        content["distillation"]["method"] = method
    else:
        content["distillation"]["method"] = _NONE
        content["model"]["backbone"] = method
    reading = dict.fromkeys(_KEYS.values(), _NONE) | {_KEYS[suffix]: suffix for suffix in suffixes}
    content["model"]["mutual"] = experiment.model.mutual.model_dump() | reading
    content["training"]["seed"] = seed
    return parse_config(content, "--seeds")


def _check_method(name: str, option: str) -> None:
    """Refuses the name of what is neither a backbone nor a distillation method, with the nearest name of both."""
    if name == _NONE:
        raise UsageError(
            f"{option}: instead of 'none', name the backbone that is to be trained without distillation: "
            f"{', '.join(BACKBONES)} or your own package.module:Class"
        )
    if ":" in name:
        find_backbone(name)
    elif name not in (known := [*BACKBONES, *(method for method in METHODS if method != _NONE)]):
        raise UsageError(f"{option}: there is no '{name}'; {did_you_mean(name, known)}")


def _joined(method: str, suffixes: Sequence[str]) -> str:
    return "+".join([method, *(suffix for suffix in _KEYS if suffix in suffixes)])
