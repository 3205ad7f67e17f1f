# SPDX-License-Identifier: Apache-2.0
"""The configuration files of TF Serving, and the compose file that mounts them.

tensorflow-serving-api ships the class of models.config, but neither BatchingParameters (session_bundle_config.proto) nor
MonitoringConfig (monitoring_config.proto). Those two are built here from TF Serving's documented fields: that catches a
misspelt field, a wrong type and bad syntax, but not a field that a later TF Serving drops.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import check_jsonschema  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from serving.client.batches import BATCH_SIZE
from tests.serving.deploy.deploy_files import DEPLOY, container, load, parse_models, read, versions_of
from tests.serving.server_process import Server

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


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The one service of compose."""
    (service,) = load("compose.yaml")["services"].values()
    return dict(service)


def parsed(name: str, kind: Any) -> Any:
    return text_format.Parse(read(name), kind())


def violations(file: Path) -> str:
    """What compose's own schema has against a file; nothing when all is well."""
    result = CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", "vendor.compose-spec", str(file)])
    return "" if result.exit_code == 0 else result.output


def test_models() -> None:
    config = parse_models(read("models.config"))
    assert config.base_path == f"/models/{config.name}"
    assert config.model_platform == "tensorflow"
    assert versions_of(config) == {1}
    assert dict(config.version_labels) == {"stable": 1, "canary": 1}
    # With it the stock server does not start.
    assert not config.HasField("logging_config")


def test_batching(documented: dict[str, Any], compose: dict[str, Any]) -> None:
    batching = parsed("batching.config", documented["tensorflow.serving.BatchingParameters"])
    assert batching.max_batch_size.value >= BATCH_SIZE
    assert batching.num_batch_threads.value == compose["cpus"]
    assert f"--tensorflow_session_parallelism={compose['cpus']}" in compose["command"]
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
    with pytest.raises(text_format.ParseError, match="version_label"):
        parse_models(read("models.config").replace("version_labels", "version_label"))


def test_compose_follows_its_schema(tmp_path: Path) -> None:
    assert violations(DEPLOY / "compose.yaml") == ""
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(read("compose.yaml").replace("stop_grace_period", "stop_grace_periods"), encoding="utf-8")
    assert "stop_grace_periods" in violations(misspelt)


def test_compose_mounts_every_file_that_it_names(compose: dict[str, Any]) -> None:
    mounted = {target: source for source, target, _ in (volume.rsplit(":", 2) for volume in compose["volumes"])}
    named = [Path(value) for _, _, value in (flag.partition("=") for flag in compose["command"]) if value.startswith("/")]
    assert {path.name for path in named} == {"models.config", "batching.config", "monitoring.config"}
    for path in named:
        assert (DEPLOY / mounted[str(path.parent)] / path.name).is_file()
    assert "/models" in mounted
    assert all(volume.endswith(":ro") for volume in compose["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in compose["ports"])
    assert re.fullmatch(r"tensorflow/serving:\$\{TF_SERVING_VERSION:-\S+\}", compose["image"])


def test_compose_and_kubernetes_give_the_same_arguments(compose: dict[str, Any]) -> None:
    assert compose["command"] == container()["args"]
    assert "--model_config_file_poll_wait_seconds=30" in compose["command"]
    assert "--allow_version_labels_for_unavailable_models=true" in compose["command"]


@pytest.mark.parametrize(("asked", "exit_code"), [("ranker/versions/12", 0), ("ranker/versions/99", 1), ("other", 1)])
def test_the_health_check_wants_a_version_that_answers(
    compose: dict[str, Any], server: Server, asked: str, exit_code: int
) -> None:
    kind, *command = compose["healthcheck"]["test"]
    assert kind == "CMD"
    path = f"/v1/models/{parse_models(read('models.config')).name}/labels/stable/metadata "
    assert command[-1].count(path) == 1
    # The local server has no labels.
    command[-1] = command[-1].replace("8501", server.rest_address.split(":")[1])
    command[-1] = command[-1].replace(path, f"/v1/models/{asked}/metadata ")
    assert subprocess.run(command, timeout=10, check=False).returncode == exit_code
