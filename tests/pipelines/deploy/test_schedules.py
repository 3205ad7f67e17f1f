# SPDX-License-Identifier: Apache-2.0
"""Commands that Airflow and cron run are our command's."""

import re
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.pipelines.deploy.deploy_commands import arguments_of, check_command, read
from tf_crossdistil.errors import UsageError


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


def test_a_wrong_command_is_found():
    with pytest.raises(UsageError, match="--outptu"):
        check_command(arguments_of("python -m pipelines.preprocess configs/demo.yaml --input a --outptu b >> log"))
