# SPDX-License-Identifier: Apache-2.0
"""The image and the template for Dataflow agree with one another, with our options and with what their readers document."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from pipelines.deploy import dataflow_job, dataflow_main
from pipelines.synthetic import write_logs
from tests.pipelines.deploy.deploy_commands import DEPLOY, IMAGE, ROOT, Strict, check_command, pinned, read
from tf_crossdistil.schema import PreparedData


class Parameter(Strict):
    """What Dataflow's documentation lists for a parameter of a template, as far as it is used."""

    name: str = Field(pattern=r"^[a-zA-Z_]\w*$")
    label: str
    helpText: str
    isOptional: bool = False
    regexes: list[str] = []


class TemplateMetadata(Strict):
    name: str
    description: str
    parameters: list[Parameter]


class SdkInfo(Strict):
    language: Literal["JAVA", "PYTHON", "GO"]


class Environment(Strict):
    numWorkers: int
    maxWorkers: int
    machineType: str
    additionalExperiments: list[str]


class ContainerSpec(Strict):
    image: str
    sdkInfo: SdkInfo
    metadata: TemplateMetadata
    defaultEnvironment: Environment


@pytest.fixture(scope="module")
def template() -> TemplateMetadata:
    return TemplateMetadata.model_validate_json(read("dataflow-flex-template.json"))


class TestDockerfile:
    def instructions(self) -> list[tuple[str, str]]:
        lines = [line for line in read("Dockerfile").splitlines() if line and not line.startswith("#")]
        return [(name, value) for name, value in (line.split(" ", 1) for line in lines)]

    def test_every_line_is_an_instruction(self):
        known = {"ARG", "FROM", "COPY", "WORKDIR", "RUN", "ENV", "ENTRYPOINT"}
        assert {name for name, _ in self.instructions()} <= known

    def test_sources_are_in_the_repository_and_stages_are_named(self):
        stages = {value.split(" AS ")[1] for name, value in self.instructions() if name == "FROM" and " AS " in value}
        copies = [value.split() for name, value in self.instructions() if name == "COPY"]
        assert len(copies) >= 5
        for *sources, _ in copies:
            if sources[0].startswith("--from="):
                assert sources[0].removeprefix("--from=") in stages
            else:
                assert all((ROOT / source).exists() for source in sources)

    def test_arguments_are_declared_and_versions_are_those_that_constraints_pin(self):
        versions = dict(value.split("=") for name, value in self.instructions() if name == "ARG")
        assert versions["BEAM_VERSION"] == pinned("apache-beam")
        assert set(re.findall(r"\$\{(\w+)\}", read("Dockerfile"))) == set(versions)
        assert f"python{versions['PYTHON_VERSION'].replace('.', '')}-template-launcher" in read("Dockerfile")

    def test_the_template_starts_a_file_that_is_copied(self):
        (started,) = re.findall(r"^ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/app/(\S+)$", read("Dockerfile"), re.MULTILINE)
        assert (ROOT / started) == Path(dataflow_main.__file__)
        assert ("ENTRYPOINT", '["/opt/apache/beam/boot"]') in self.instructions()


class TestDataflow:
    VALUES = {
        "config": "/app/configs/demo.yaml",
        "input": "gs://bucket/logs/*.parquet",
        "output": "gs://bucket/prepared",
        "vocabulary_from": "gs://bucket/full",
        "max_bad_fraction": "0.05",
        "drift_bound": "0.1",
    }

    def test_the_spec_holds_the_metadata(self, template):
        spec = ContainerSpec.model_validate_json(read("flex-template-spec.json"))
        assert spec.metadata == template
        assert IMAGE.fullmatch(spec.image)
        # One writer for every output.
        assert spec.defaultEnvironment.maxWorkers == 1

    def test_parameters_take_good_values_and_are_options_of_ours(self, template):
        assert {parameter.name for parameter in template.parameters} == set(self.VALUES)
        for parameter in template.parameters:
            assert all(re.search(regex, self.VALUES[parameter.name]) for regex in parameter.regexes)
        arguments = [f"--{name}={value}" for name, value in self.VALUES.items()]
        ours, others = dataflow_job.split_arguments([*arguments, "--runner=DataflowRunner", "--template_location=gs://b/j"])
        assert others == ["--runner=DataflowRunner", "--template_location=gs://b/j"]
        options = check_command(ours)
        assert options.config == "/app/configs/demo.yaml"
        assert (options.vocabulary_from, options.max_bad_fraction, options.drift_bound) == ("gs://bucket/full", 0.05, 0.1)

    @pytest.mark.parametrize(("name", "value"), [("config", "demo.yaml"), ("output", "/tmp"), ("max_bad_fraction", "2")])
    def test_parameters_refuse_bad_values(self, template, name, value):
        (parameter,) = (parameter for parameter in template.parameters if parameter.name == name)
        assert not all(re.search(regex, value) for regex in parameter.regexes)

    def test_the_configuration_is_in_the_image(self):
        assert (ROOT / self.VALUES["config"].removeprefix("/app/")).is_file()

    def test_what_the_template_starts_prepares_logs(self, tmp_path, monkeypatch):
        write_logs(tmp_path / "logs.csv", 300, seed=0, truth=True)
        settings = {"config": ROOT / "configs/demo.yaml", "input": tmp_path / "logs.csv", "output": tmp_path / "prepared"}
        # Beam's local runner knows no difference between submitting and waiting.
        arguments = [*(f"--{name}={value}" for name, value in settings.items()), "--runner=FnApiRunner"]
        monkeypatch.setattr(sys, "argv", ["dataflow_main.py", *arguments])
        dataflow_job.main()
        assert PreparedData.open(tmp_path / "prepared").metadata.rows_in == 300

    @pytest.mark.slow
    def test_a_run_that_fails_fails_the_job(self, tmp_path):
        with pytest.raises(RuntimeError, match=r"ended with 2: error: .*no-such\.yaml"):
            dataflow_job.run_command([str(tmp_path / "no-such.yaml"), "--input=x", f"--output={tmp_path}"])


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.json")), ids=lambda path: path.name)
def test_json_has_each_key_once(path):
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
