# SPDX-License-Identifier: Apache-2.0
"""The files for Flink on Kubernetes agree with one another and with our options."""

import re
from typing import Any

import pytest
import yaml

from tests.pipelines.deploy.deploy_commands import IMAGE, check_command, pinned, read


class TestFlink:
    @pytest.fixture
    def documents(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(read("flink.yaml"))}

    def launcher(self, documents) -> dict[str, Any]:
        (container,) = documents["Job", "crossdistil-prepare"]["spec"]["template"]["spec"]["containers"]
        return container

    def test_the_cluster_has_the_fields_that_the_operator_requires(self, documents):
        cluster = documents["FlinkDeployment", "crossdistil"]
        assert cluster["apiVersion"] == "flink.apache.org/v1beta1"
        spec = cluster["spec"]
        assert set(spec) == {"image", "flinkVersion", "serviceAccount", "flinkConfiguration", "jobManager", "taskManager"}
        assert spec["flinkVersion"] == f"v{spec['image'].removeprefix('flink:').replace('.', '_')}"
        assert all(isinstance(value, str) for value in spec["flinkConfiguration"].values())
        for role in ("jobManager", "taskManager"):
            assert set(spec[role]) <= {"replicas", "resource", "podTemplate"}
            assert re.fullmatch(r"\d+m", spec[role]["resource"]["memory"])
            assert spec[role]["resource"]["cpu"] > 0

    def test_the_job_server_is_of_our_beam_and_of_the_clusters_flink(self, documents):
        (container,) = documents["Deployment", "beam-job-server"]["spec"]["template"]["spec"]["containers"]
        flink = documents["FlinkDeployment", "crossdistil"]["spec"]["image"].removeprefix("flink:")
        assert container["image"] == f"apache/beam_flink{flink}_job_server:{pinned('apache-beam')}"
        assert "--flink-master=crossdistil-rest:8081" in container["args"]

    def test_the_launcher_reaches_the_job_server_and_the_workers(self, documents):
        launcher = self.launcher(documents)
        assert launcher["command"] == ["python", "-m", "pipelines.preprocess"]
        check_command(launcher["args"])
        flags = dict(flag.removeprefix("--").split("=") for flag in launcher["args"][1:])
        ports = {port["name"]: port["port"] for port in documents["Service", "beam-job-server"]["spec"]["ports"]}
        assert flags["job_endpoint"] == f"beam-job-server:{ports['job']}"
        assert flags["artifact_endpoint"] == f"beam-job-server:{ports['artifact']}"
        pods = documents["FlinkDeployment", "crossdistil"]["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
        (workers,) = (pod for pod in pods if pod["name"] == "python-workers")
        assert workers["args"] == ["--worker_pool"]
        assert flags["environment_config"] == f"localhost:{workers['ports'][0]['containerPort']}"
        assert workers["image"] == launcher["image"]
        assert IMAGE.fullmatch(launcher["image"])

    def test_every_mount_has_its_volume_and_claim(self, documents):
        claims = {name for kind, name in documents if kind == "PersistentVolumeClaim"}
        pods = [
            documents["FlinkDeployment", "crossdistil"]["spec"]["taskManager"]["podTemplate"]["spec"],
            documents["Deployment", "beam-job-server"]["spec"]["template"]["spec"],
            documents["Job", "crossdistil-prepare"]["spec"]["template"]["spec"],
        ]
        for pod in pods:
            volumes = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
            assert set(volumes.values()) <= claims
            assert all(mount["name"] in volumes for item in pod["containers"] for mount in item["volumeMounts"])
