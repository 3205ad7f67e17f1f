"""The files for operators agree with one another, with our command line and with what their readers document.

Docker, Dataflow, Flink, Airflow and cron cannot be run from tests.
"""

import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from pipelines.deploy import dataflow_job, dataflow_main
from pipelines.options import PreprocessOptions, beam_options
from pipelines.synthetic import write_logs
from tf_crossdistil.errors import UsageError
from tf_crossdistil.schema import PreparedData

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "pipelines/deploy"
IMAGE = re.compile(r"\S+/crossdistil-preprocess:VERSION")
COMMAND = re.compile(r"(?:python -m pipelines\.preprocess|crossdistil prepare) ")


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def check_command(arguments: list[str]) -> PreprocessOptions:
    """Parses the arguments of our command as the command does."""
    options = beam_options(arguments).view_as(PreprocessOptions)
    options.check()
    assert options.config
    return options


def arguments_of(line: str) -> list[str]:
    """The arguments of our command in a line of a shell, up to a redirection."""
    words = shlex.split(COMMAND.split(line, maxsplit=1)[1])
    ends = [position for position, word in enumerate(words) if word.startswith((">", "2>", "#", "|", "&&"))]
    return words[: min(ends, default=len(words))]


def pinned(package: str) -> str:
    (version,) = re.findall(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return version


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


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


class TestAirflow:
    @pytest.fixture
    def made(self, monkeypatch) -> dict[str, dict[str, Any]]:
        """The DAGs by id, with a stand-in for the few names of Airflow that the file uses."""
        made: dict[str, dict[str, Any]] = {}

        class Dag:
            def __init__(self, dag_id, *, schedule, start_date, catchup, max_active_runs, default_args):
                made[dag_id] = {"schedule": schedule, "max_active_runs": max_active_runs, "tasks": [], **default_args}

            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        def bash(*, task_id, bash_command):
            list(made.values())[-1]["tasks"].append(bash_command)

        modules = {name: ModuleType(name) for name in ("airflow", "airflow.operators", "airflow.operators.bash")}
        vars(modules["airflow"])["DAG"] = Dag
        vars(modules["airflow.operators.bash"])["BashOperator"] = bash
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        exec(compile(read("airflow_dag.py"), "airflow_dag.py", "exec"), {"__name__": "airflow_dag"})
        return made

    def test_runs_take_turns_and_are_tried_again(self, made):
        assert set(made) == {"crossdistil_daily", "crossdistil_full"}
        assert all(dag["max_active_runs"] == 1 and dag["retries"] > 0 for dag in made.values())

    def test_the_days_take_the_vocabulary_of_the_full_build(self, made):
        daily, full = (
            check_command(arguments_of(made[name]["tasks"][0])) for name in ("crossdistil_daily", "crossdistil_full")
        )
        assert daily.vocabulary_from == full.output
        assert daily.output != full.output
        assert daily.input == ["gs://example-logs/{{ ds }}/*.parquet"]


def test_the_cron_line_has_five_fields_and_a_command_that_parses():
    (line,) = (line for line in read("cron.txt").splitlines() if line and not line.startswith("#"))
    *fields, command = line.split(" ", 5)
    for field, most in zip(fields, (59, 23, 31, 12, 7), strict=True):
        assert field == "*" or 0 <= int(field) <= most
    # In a crontab an unescaped % ends the command.
    assert not re.search(r"(?<!\\)%", command)
    options = check_command(arguments_of(command))
    assert options.vocabulary_from != options.output


def shown_commands() -> list[str]:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.startswith("    ") and COMMAND.search(line)]


@pytest.mark.parametrize("line", shown_commands())
def test_commands_that_the_guide_shows_parse(line):
    options = check_command(arguments_of(line))
    if "/" in options.config and not options.config.startswith("/"):
        assert (ROOT / options.config).is_file()


def test_the_guide_shows_every_option_and_every_file():
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert len(shown_commands()) >= 8
    for option in ("--max-bad-fraction", "--vocabulary-from", "--global-shuffle", "--force", "--drift-bound"):
        assert option in guide
    for path in DEPLOY.iterdir():
        if path.is_file() and path.name != "__init__.py":
            assert path.name in guide


def test_the_guide_quotes_messages_that_there_are():
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipelines").rglob("*.py")))
    # Literals that stand behind one another are one text.
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    table = guide.split("| message | what to do |")[1].split("\n\n")[0]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(messages) >= 10
    for message in messages:
        # The operating system's own words are none of ours.
        for piece in message.replace("No space left on device", "...").split("..."):
            assert piece.strip(" ,:;()") in source, message


def test_a_wrong_command_is_found():
    with pytest.raises(UsageError, match="--outptu"):
        check_command(arguments_of("python -m pipelines.preprocess configs/demo.yaml --input a --outptu b >> log"))


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.json")), ids=lambda path: path.name)
def test_json_has_each_key_once(path):
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
