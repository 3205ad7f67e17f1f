"""The deployment files say what TF Serving understands.

tensorflow-serving-api ships the class of models.config, but neither BatchingParameters (session_bundle_config.proto) nor
MonitoringConfig (monitoring_config.proto). Those two are built here from TF Serving's documented fields: that catches a
misspelt field, a wrong type and bad syntax, but not a field that a later TF Serving drops.
"""

import re
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from pydantic import BaseModel, ConfigDict
from tensorflow_serving.config import model_server_config_pb2

import serving
from serving.client import BATCH_SIZE
from tests.serving.server_process import Server

DEPLOY = Path(serving.__file__).parent / "deploy"
WRAPPED = ".google.protobuf.Int64Value"
FIELDS: dict[str, list[tuple[str, int, str]]] = {
    "BatchingParameters": [
        ("max_batch_size", 1, WRAPPED),
        ("batch_timeout_micros", 2, WRAPPED),
        ("max_enqueued_batches", 3, WRAPPED),
        ("num_batch_threads", 4, WRAPPED),
        ("pad_variable_length_inputs", 7, "bool"),
    ],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    "MonitoringConfig": [("prometheus_config", 1, ".tensorflow.serving.PrometheusConfig")],
}


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """Classes of the messages that tensorflow-serving-api does not ship, by full name."""
    file = descriptor_pb2.FileDescriptorProto(name="documented.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    scalars = {"bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL, "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING}
    for message_name, fields in FIELDS.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            field = message.field.add(name=name, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
            field.type = scalars.get(kind, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE)
            if kind not in scalars:
                field.type_name = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name], pool)


class Healthcheck(BaseModel):
    """How compose finds out whether a service is well."""

    model_config = ConfigDict(extra="forbid")
    test: list[str]
    interval: str
    timeout: str
    retries: int
    start_period: str


class Service(BaseModel):
    """A container of compose."""

    model_config = ConfigDict(extra="forbid")
    image: str
    command: list[str]
    ports: list[str]
    volumes: list[str]
    healthcheck: Healthcheck
    stop_grace_period: str
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    cpus: float
    mem_limit: str


class Compose(BaseModel):
    """A compose file of a single service."""

    model_config = ConfigDict(extra="forbid")
    services: dict[Literal["tf-serving"], Service]

    @property
    def server(self) -> Service:
        return self.services["tf-serving"]


@pytest.fixture(scope="module")
def compose() -> Compose:
    return Compose.model_validate(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


def parsed(name: str, kind: Any) -> Any:
    return text_format.Parse((DEPLOY / name).read_text(encoding="utf-8"), kind())


def test_models() -> None:
    (config,) = parsed("models.config", model_server_config_pb2.ModelServerConfig).model_config_list.config
    assert config.base_path == f"/models/{config.name}"
    assert config.model_platform == "tensorflow"
    assert config.model_version_policy.WhichOneof("policy_choice") == "latest"
    assert config.model_version_policy.latest.num_versions == 1


def test_batching(documented: dict[str, Any], compose: Compose) -> None:
    batching = parsed("batching.config", documented["tensorflow.serving.BatchingParameters"])
    assert batching.max_batch_size.value >= BATCH_SIZE
    assert batching.num_batch_threads.value == compose.server.cpus
    assert batching.max_enqueued_batches.value >= batching.num_batch_threads.value
    assert batching.pad_variable_length_inputs
    assert 0 < batching.batch_timeout_micros.value <= 10_000


def test_monitoring(documented: dict[str, Any]) -> None:
    monitoring = parsed("monitoring.config", documented["tensorflow.serving.MonitoringConfig"])
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_a_misspelt_field_is_found(documented: dict[str, Any]) -> None:
    with pytest.raises(text_format.ParseError, match="max_batchsize"):
        text_format.Parse("max_batchsize { value: 1 }", documented["tensorflow.serving.BatchingParameters"]())


def test_compose_mounts_every_file_that_it_names(compose: Compose) -> None:
    server = compose.server
    mounted = {target: source for source, target, _ in (volume.rsplit(":", 2) for volume in server.volumes)}
    named = [value for _, _, value in (flag.partition("=") for flag in server.command) if value.startswith("/")]
    assert len(named) == 3
    for path in named:
        assert (DEPLOY / mounted[path]).is_file()
    assert "/models" in mounted
    assert all(volume.endswith(":ro") for volume in server.volumes)
    assert all(port.startswith("127.0.0.1:") for port in server.ports)
    assert re.fullmatch(r"tensorflow/serving:\$\{TF_SERVING_VERSION:-\S+\}", server.image)


@pytest.mark.parametrize(("asked", "exit_code"), [("ranker", 0), ("other", 1)])
def test_the_health_check_asks_for_the_models_status(compose: Compose, server: Server, asked: str, exit_code: int) -> None:
    kind, *command = compose.server.healthcheck.test
    assert kind == "CMD"
    (config,) = parsed("models.config", model_server_config_pb2.ModelServerConfig).model_config_list.config
    assert f"/v1/models/{config.name} " in command[-1]
    command[-1] = command[-1].replace("8501", server.rest_address.split(":")[1]).replace("/ranker ", f"/{asked} ")
    assert subprocess.run(command, timeout=10, check=False).returncode == exit_code
