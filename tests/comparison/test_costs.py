# SPDX-License-Identifier: Apache-2.0
"""What training costs: measured in a process of its own, kept, and left out where that fails."""

import json
import logging
import os
import signal
import sys
import threading
import time

import pytest

from tf_crossdistil.comparison import compare, costs
from tf_crossdistil.comparison.costs import Cost, measure_costs
from tf_crossdistil.comparison.method_names import configured
from tf_crossdistil.config.training import Checkpoints
from tf_crossdistil.errors import CrossDistilError

# Notes that it was started, and answers by the method that it is given.
ANSWER = """
import json, pathlib, sys
method = json.load(sys.stdin)["distillation"]["method"]
with open({log!r}, "a") as log:
    log.write(method + " " + sys.argv[1] + "\\n")
print("something of the user's own")
print(json.dumps(dict(step_milliseconds=len(method), parameters=20, served_parameters=10, memory_mebibytes=1.5)))
"""

# Does not end by itself when Ctrl-C comes.
DEAF = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
with open({number!r}, "w") as file:
    file.write(str(os.getpid()))
time.sleep(60)
"""


class StandIn:
    """A script in place of the process that measures; by default it answers, and notes what it was asked."""

    def __init__(self, monkeypatch, log):
        self._monkeypatch, self._log = monkeypatch, log
        log.touch()
        self.use(ANSWER.format(log=str(log)))

    def use(self, script):
        self._monkeypatch.setattr(costs, "_COMMAND", [sys.executable, "-c", script])

    def started(self):
        return self._log.read_text().splitlines()


@pytest.fixture
def child(monkeypatch, tmp_path):
    return StandIn(monkeypatch, tmp_path / "started")


@pytest.fixture
def experiments(shared_experiment):
    return {method: configured(shared_experiment, method, 0) for method in ("taug", "crossdistil")}


def test_each_method_is_measured_once_and_kept(child, experiments, prepared, tmp_path):
    file = tmp_path / "costs.json"
    measured = measure_costs(experiments, prepared, file)
    assert measured == {"taug": Cost(4, 20, 10, 1.5), "crossdistil": Cost(11, 20, 10, 1.5)}
    assert child.started() == [f"taug {prepared.directory}", f"crossdistil {prepared.directory}"]
    assert measure_costs(experiments, prepared, file) == measured
    # A call with other methods leaves what it does not ask for.
    assert [*measure_costs({"crossdistil": experiments["crossdistil"]}, prepared, file)] == ["crossdistil"]
    assert len(child.started()) == 2
    assert [*json.loads(file.read_text())] == ["taug", "crossdistil"]


def test_what_says_nothing_of_a_step_changes_no_cost(child, experiments, prepared, tmp_path):
    file = tmp_path / "costs.json"
    measured = measure_costs(experiments, prepared, file)
    changes = {"seed": 7, "epochs": 3, "early_stopping": None, "checkpoints": Checkpoints(every_steps=5)}
    for method, experiment in experiments.items():
        training = experiment.training.model_copy(update=changes)
        experiments[method] = experiment.model_copy(update={"training": training})
    assert measure_costs(experiments, prepared, file) == measured
    assert len(child.started()) == 2


def test_a_comparison_has_the_costs_of_methods_of_earlier_calls(fake, run, monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "measure_costs", measure_costs)
    asked = []

    def measured(method, *_):
        asked.append(method)
        return Cost(1, 20, 10, 1.5)

    monkeypatch.setattr(costs, "_measured", measured)
    run(["taug", "mmoe"], [0])
    # Without a cost of its own, a method stays without.
    file = tmp_path / "out/costs.json"
    file.write_text(json.dumps({method: cost for method, cost in json.loads(file.read_text()).items() if method != "mmoe"}))
    assert [*run(["ple"], [1]).costs] == ["ple", "taug"]
    assert asked == ["taug", "mmoe", "ple"]


def test_a_changed_configuration_is_measured_anew(child, experiments, prepared, tmp_path):
    file = tmp_path / "costs.json"
    measure_costs(experiments, prepared, file)
    training = experiments["taug"].training.model_copy(update={"batch_size": 64})
    experiments["taug"] = experiments["taug"].model_copy(update={"training": training})
    assert [*measure_costs(experiments, prepared, file)] == ["taug", "crossdistil"]
    assert [line.split()[0] for line in child.started()] == ["taug", "crossdistil", "taug"]
    # What is written has the digest of each.
    assert [*measure_costs(experiments, prepared, file)] == ["taug", "crossdistil"]
    assert len(child.started()) == 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; print('noise', file=sys.stderr); sys.exit('no such backbone')", "no such backbone"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("raise SystemExit(3)", "exit code 3"),
        ("pass", ""),
        ("print('{}')", ""),
        ("print('no numbers')", ""),
    ],
)
def test_a_method_whose_measurement_fails_has_no_cost_and_a_warning_in_one_sentence(
    child, experiments, prepared, tmp_path, caplog, script, reason
):
    file = tmp_path / "costs.json"
    child.use(script)
    with caplog.at_level(logging.WARNING):
        assert measure_costs({"taug": experiments["taug"]}, prepared, file) == {}
    message = caplog.messages[-1]
    assert message.startswith("the cost of taug is unknown, since its measurement failed: ") and reason in message
    assert "\n" not in message and not file.exists()


def test_a_damaged_file_is_named_and_a_damaged_entry_measured_anew(child, experiments, prepared, tmp_path):
    file = tmp_path / "costs.json"
    file.write_text("{")
    with pytest.raises(CrossDistilError, match=r"costs\.json is damaged"):
        measure_costs(experiments, prepared, file)
    measure_costs(experiments, prepared, file.with_name("whole.json"))
    content = json.loads(file.with_name("whole.json").read_text())
    del content["taug"]["parameters"]
    content["crossdistil"] = 7
    file.write_text(json.dumps(content))
    assert [*measure_costs(experiments, prepared, file)] == ["taug", "crossdistil"]
    assert len(child.started()) == 4


def test_ctrl_c_ends_the_child(child, experiments, prepared, tmp_path):
    number = tmp_path / "number"
    child.use(DEAF.format(number=str(number)))

    def interrupt():
        while not number.exists() or not number.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        measure_costs(experiments, prepared, tmp_path / "costs.json")
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(number.read_text()), 0)


@pytest.mark.slow
def test_a_real_measurement(shared_experiment, prepared, tmp_path, trained):
    from tf_crossdistil.export.served_model import ServedModel

    experiments = {"ple": configured(shared_experiment, "ple", 0), "crossdistil": shared_experiment}
    # Larger than the child would be, were its peak taken for that of this process.
    ballast = bytearray(b"1" * (2 << 30))
    measured = measure_costs(experiments, prepared, tmp_path / "costs.json")
    del ballast
    plain, whole = measured["ple"], measured["crossdistil"]
    model = trained.load(trained.best_epoch())
    served = ServedModel(model, trained.vocabularies).student_variables
    assert plain.served_parameters == whole.served_parameters == sum(v.shape.num_elements() for v in served)
    assert plain.parameters == plain.served_parameters < whole.parameters
    # P and Q of each teacher beside the network.
    assert whole.parameters == sum(v.shape.num_elements() for v in model.trainable_variables) + 2 * 2
    assert 0 < plain.step_milliseconds < whole.step_milliseconds
    assert all(200 < cost.memory_mebibytes < 2000 for cost in measured.values())
