"""The distillation methods: which parts of CrossDistil each of them has."""

from dataclasses import dataclass

from tf_crossdistil.errors import UsageError
from tf_crossdistil.suggest import did_you_mean


@dataclass(frozen=True)
class Method:
    """What a method trains beside the students' hard-label losses.

    Attributes:
        teachers: augmented tasks with the ranking loss of Eq. 4.
        distillation: students learn from calibrated, corrected teacher logits (Eq. 6-10).
    """

    teachers: bool
    distillation: bool


METHODS = {
    "crossdistil": Method(teachers=True, distillation=True),
    "taug": Method(teachers=True, distillation=False),
    "none": Method(teachers=False, distillation=False),
}


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: there is none; the nearest name is given.
    """
    if name not in METHODS:
        raise UsageError(f"distillation.method: there is no method '{name}'; {did_you_mean(name, METHODS)}")
    return METHODS[name]
