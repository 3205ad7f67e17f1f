# SPDX-License-Identifier: Apache-2.0
"""What the tests of the deployment files share: the files, the name and the versions in them, TF Serving's rule for labels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import serving

DEPLOY = Path(serving.__file__).parent / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def read(name: str) -> str:
    """The text of a file."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def load(name: str) -> Any:
    """The content of a YAML file of one document."""
    return yaml.safe_load(read(name))


def resources() -> dict[tuple[str, str], dict[str, Any]]:
    """The Kubernetes resources by kind and name."""
    documents = [document for file in KUBERNETES for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(found) == len(documents)
    return found


def container() -> dict[str, Any]:
    """The container of the Deployment."""
    (found,) = resources()["Deployment", "ranker"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def parse_models(text: str) -> Any:
    """The ModelConfig of a models.config."""
    (config,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    return config


def versions_of(config: Any) -> set[int]:
    """The versions that a ModelConfig loads."""
    assert config.model_version_policy.WhichOneof("policy_choice") == "specific"
    return set(config.model_version_policy.specific.versions)


@dataclass
class ModelServer:
    """TF Serving's rule for labels (ServerCore::UpdateModelVersionLabelMap), with loading that takes no time."""

    allow_unavailable: bool = True
    loaded: set[int] = field(default_factory=set)
    labels: dict[str, int] = field(default_factory=dict)

    def edit(self, config: Any) -> bool:
        """Takes a ModelConfig; returns whether it was accepted, and changes nothing where it was not."""
        for label, version in config.version_labels.items():
            is_new = self.labels.get(label, version) == version
            if version not in self.loaded and not (self.allow_unavailable and is_new):
                return False
        self.labels = dict(config.version_labels)
        self.loaded = versions_of(config)
        return True
