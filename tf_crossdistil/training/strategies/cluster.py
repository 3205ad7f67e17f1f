# SPDX-License-Identifier: Apache-2.0
"""The cluster that TF_CONFIG describes, checked."""

import os
from collections.abc import Sequence

from pydantic import BaseModel, Field, ValidationError

from tf_crossdistil.errors import UsageError

_EXAMPLE = '{"cluster": {"worker": ["host-0:2222", "host-1:2222"]}, "task": {"type": "worker", "index": 0}}'


class Task(BaseModel):
    """One process of a job."""

    type: str
    index: int = Field(ge=0)


class Cluster(BaseModel):
    """The addresses of all tasks by their type, and which task this process is."""

    cluster: dict[str, list[str]]
    task: Task

    @property
    def is_chief(self) -> bool:
        """Whether this is the chief, which is the first worker where none is called so."""
        return self.task == Task(type="chief" if "chief" in self.cluster else "worker", index=0)


def read_cluster(strategy: str, required: Sequence[str], optional: Sequence[str] = ()) -> Cluster:
    """The cluster of this process.

    Args:
        strategy: which needs it, for errors.
        required: the types of tasks that there must be.
        optional: those that there may be.

    Raises:
        UsageError: TF_CONFIG is missing, no JSON, describes another kind of cluster, or names a task that is not in it.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise _wrong(strategy, "it is not set")
    try:
        cluster = Cluster.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise _wrong(strategy, f"{place}: {first['msg']}; received {text}") from error
    tasks = cluster.cluster
    has_all = all(tasks.get(kind) for kind in required)
    if not has_all or not set(tasks) <= {*required, *optional} or len(tasks.get("chief", [])) > 1:
        allowed = " and ".join(required) + "".join(f", with or without {kind}" for kind in optional)
        raise _wrong(strategy, f"the cluster must have {allowed}, and of chiefs one at most; received {text}")
    if cluster.task.index >= len(tasks.get(cluster.task.type, [])):
        raise _wrong(strategy, f"the task is not in the cluster; received {text}")
    return cluster


def _wrong(strategy: str, fault: str) -> UsageError:
    return UsageError(
        f"training.strategy: {strategy} needs the environment variable TF_CONFIG in each process, such as "
        f"'{_EXAMPLE}': {fault}; see docs/cluster.md, or set training.strategy: none"
    )
