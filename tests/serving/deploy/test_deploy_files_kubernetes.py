# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes files follow its schemas, and agree with each other and with the files that compose uses."""

import copy
import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.serving.deploy.deploy_files import DEPLOY, KUBERNETES, container, load, parse_models, read, resources

RESOURCES = resources()
DEPLOYMENT = RESOURCES["Deployment", "ranker"]
POD = DEPLOYMENT["spec"]["template"]
NAME = {"app.kubernetes.io/name": "ranker"}
MODEL = parse_models(read("models.config"))
# An old one, and the newest that the package knows.
RELEASES = ["1.30", kubernetes_validate.latest_version()]


def generated() -> dict[str, dict[str, Any]]:
    """The ConfigMaps that kustomize makes, by name."""
    return {entry["name"]: entry for entry in load("kustomization.yaml")["configMapGenerator"]}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource["kind"])
def test_every_resource_follows_its_schema(resource: dict[str, Any], release: str) -> None:
    kubernetes_validate.validate(resource, release, strict=True)


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource["kind"])
def test_a_misspelt_field_is_found(resource: dict[str, Any]) -> None:
    wrong = copy.deepcopy(resource)
    field = next(iter(wrong["spec"]))
    wrong["spec"][f"{field}s_"] = wrong["spec"].pop(field)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


def test_kustomize_takes_every_file_below_its_folder() -> None:
    kustomization = load("kustomization.yaml")
    assert set(kustomization) == {"apiVersion", "kind", "resources", "configMapGenerator", "images"}
    assert sorted(kustomization["resources"]) == [str(file.relative_to(DEPLOY)) for file in KUBERNETES]
    files = [name for entry in generated().values() for name in entry["files"]]
    assert sorted(files) == sorted(file.name for file in DEPLOY.glob("*.config"))
    (image,) = kustomization["images"]
    assert image["name"] == container()["image"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", image["newTag"])


def test_only_the_file_that_is_read_again_keeps_its_name() -> None:
    fixed = [entry["files"] for entry in generated().values() if entry.get("options") == {"disableNameSuffixHash": True}]
    assert fixed == [["models.config"]]


def test_every_resource_is_of_one_application() -> None:
    assert all(resource["metadata"]["labels"] == NAME for resource in RESOURCES.values())
    assert POD["metadata"]["labels"] == NAME
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == NAME
    assert all(constraint["labelSelector"]["matchLabels"] == NAME for constraint in POD["spec"]["topologySpreadConstraints"])
    assert all(resource["spec"]["selector"] == NAME for (kind, _), resource in RESOURCES.items() if kind == "Service")
    assert RESOURCES["PodDisruptionBudget", "ranker"]["spec"]["selector"]["matchLabels"] == NAME
    assert RESOURCES["NetworkPolicy", "ranker"]["spec"]["podSelector"]["matchLabels"] == NAME
    assert not any("namespace" in resource["metadata"] for resource in RESOURCES.values())


def test_the_autoscaler_owns_the_number_of_pods() -> None:
    scaler = RESOURCES["HorizontalPodAutoscaler", "ranker"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ranker"}
    assert "replicas" not in DEPLOYMENT["spec"]
    # A budget of one pod away must leave one.
    assert scaler["minReplicas"] > RESOURCES["PodDisruptionBudget", "ranker"]["spec"]["maxUnavailable"]
    latency, cpu = scaler["metrics"]
    (rule,) = load("prometheus-adapter.yaml")["rules"]["custom"]
    assert latency["pods"]["metric"]["name"] == rule["name"]["as"]
    assert cpu["resource"]["name"] == "cpu"


def test_ports() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for name, port in (("ranker", "rest"), ("ranker-grpc", "grpc")):
        (served,) = RESOURCES["Service", name]["spec"]["ports"]
        assert (served["targetPort"], served["port"]) == (port, ports[port])
    policy = RESOURCES["NetworkPolicy", "ranker"]["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == set(ports)
    annotations = POD["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == ports["rest"]
    assert f'path: "{annotations["prometheus.io/path"]}"' in read("monitoring.config")


def test_grpc_has_the_addresses_of_all_pods() -> None:
    assert RESOURCES["Service", "ranker-grpc"]["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in RESOURCES["Service", "ranker"]["spec"]


def test_probes_ask_for_the_model_and_a_label_that_it_has() -> None:
    status = f"/v1/models/{MODEL.name}"
    asked = {kind: container()[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert all(probe["port"] == "rest" for probe in asked.values())
    assert asked["startup"]["path"] == asked["liveness"]["path"] == status
    found = re.fullmatch(rf"{status}/labels/(\w+)/metadata", asked["readiness"]["path"])
    assert found is not None
    assert found[1] in MODEL.version_labels


def test_a_pod_serves_until_no_request_can_come() -> None:
    command = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    # A failing readiness probe, or the end of a pod, must have gone round before the pod is killed.
    readiness = container()["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < int(command[1])
    assert int(command[1]) < POD["spec"]["terminationGracePeriodSeconds"]


def test_volumes_hold_what_the_arguments_name() -> None:
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert all(mount["readOnly"] and "subPath" not in mount for mount in mounts.values())
    assert set(volumes) == {mount["name"] for mount in mounts.values()}
    projected = [source["configMap"]["name"] for source in volumes[mounts["/config"]["name"]]["projected"]["sources"]]
    held = {f"/config/{file}" for name in projected for file in generated()[name]["files"]}
    assert {flag.partition("=")[2] for flag in container()["args"] if "=/" in flag} == held
    claim = volumes[mounts["/models"]["name"]]["persistentVolumeClaim"]
    assert ("PersistentVolumeClaim", claim["claimName"]) in RESOURCES
    assert claim["readOnly"]
    assert MODEL.base_path.startswith("/models/")


def test_resources_are_those_of_compose() -> None:
    resources_of_pod = container()["resources"]
    assert resources_of_pod["requests"] == resources_of_pod["limits"]
    (service,) = load("compose.yaml")["services"].values()
    assert int(resources_of_pod["limits"]["cpu"]) == service["cpus"]
    # Compose counts in powers of 1024 too.
    assert resources_of_pod["limits"]["memory"].removesuffix("Gi") == service["mem_limit"].removesuffix("g")


def test_the_server_has_no_rights() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"]
    assert POD["spec"]["automountServiceAccountToken"] is False
    context = container()["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that occurs twice, of which YAML's reader takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a key occurs twice"
        return dict(super().construct_mapping(node, deep))


def test_no_key_occurs_twice() -> None:
    for file in [*DEPLOY.glob("*.yaml"), *KUBERNETES]:
        assert list(yaml.load_all(file.read_text(encoding="utf-8"), UniqueKeys))
    with pytest.raises(AssertionError, match="twice"):
        yaml.load("b: {a: 1, a: 2}", UniqueKeys)
