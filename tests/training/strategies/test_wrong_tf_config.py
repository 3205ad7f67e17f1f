# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import UsageError
from tf_crossdistil.training.strategies.cluster import read_cluster
from tf_crossdistil.training.strategies.registry import find_strategy

WORKERS = {"worker": ["a:1", "b:1"]}
SERVERS = {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}
FIRST = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    ("strategy", "text", "fault"),
    [
        ("multi_worker", None, "it is not set"),
        ("multi_worker", "", "it is not set"),
        ("parameter_server", None, "it is not set"),
        ("multi_worker", "{'cluster': 1}", "Invalid JSON"),
        ("multi_worker", "[]", "all of it: Input should be an object"),
        ("multi_worker", json.dumps({"task": FIRST}), "cluster: Field required"),
        ("multi_worker", json.dumps({"cluster": WORKERS}), "task: Field required"),
        (
            "multi_worker",
            json.dumps({"cluster": {"worker": "a:1"}, "task": FIRST}),
            "cluster.worker: Input should be a valid array",
        ),
        ("multi_worker", json.dumps({"cluster": {}, "task": FIRST}), "the cluster must have worker"),
        (
            "multi_worker",
            json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 2}}),
            "the task is not in the cluster",
        ),
        (
            "multi_worker",
            json.dumps({"cluster": WORKERS, "task": {"type": "chief", "index": 0}}),
            "the task is not in the cluster",
        ),
        (
            "multi_worker",
            json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": -1}}),
            "task.index: Input should be",
        ),
        (
            "multi_worker",
            json.dumps({"cluster": SERVERS, "task": FIRST}),
            "the cluster must have worker, with or without chief",
        ),
        ("parameter_server", json.dumps({"cluster": WORKERS, "task": FIRST}), "the cluster must have chief and worker and ps"),
        ("multi_worker", json.dumps({"cluster": WORKERS | {"chief": ["c:1", "d:1"]}, "task": FIRST}), "of chiefs one at most"),
    ],
)
def test_wrong_tf_config(config_file, monkeypatch, strategy, text, fault):
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError) as error:
        find_strategy(load_config(config_file, [f"training.strategy={strategy}"]))
    sentence = str(error.value)
    assert fault in sentence
    assert "\n" not in sentence
    assert sentence.startswith(f"training.strategy: {strategy} needs the environment variable TF_CONFIG")
    assert sentence.endswith("see docs/cluster.md, or set training.strategy: none")


@pytest.mark.parametrize(
    ("cluster", "task", "is_chief"),
    [
        (WORKERS, ("worker", 0), True),
        (WORKERS, ("worker", 1), False),
        (WORKERS | {"chief": ["c:1"]}, ("chief", 0), True),
        (WORKERS | {"chief": ["c:1"]}, ("worker", 0), False),
    ],
)
def test_chief(monkeypatch, cluster, task, is_chief):
    # The training operator of Kubernetes adds keys of its own.
    config = {"cluster": cluster, "task": {"type": task[0], "index": task[1]}, "environment": "cloud"}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert read_cluster("multi_worker", required=["worker"], optional=["chief"]).is_chief is is_chief
