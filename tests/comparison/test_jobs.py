# SPDX-License-Identifier: Apache-2.0
"""Several cells of a comparison at a time, each in a process of its own."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.comparison.fake_training import SMALL
from tf_crossdistil.comparison import cell_process, cell_runner, cells, compare
from tf_crossdistil.comparison.cell_process import CellProcess, Outcome
from tf_crossdistil.comparison.cells import Cell, attempt
from tf_crossdistil.comparison.settings import Setting


class FakeProcess:
    """Trains in this process, when it is asked for the outcome; the first of them dies over its second cell."""

    made: list["FakeProcess"]

    def __init__(self, data, split):
        self.connection, self._other = multiprocessing.Pipe()
        self.told_to_stop, self.is_alive = False, True
        self._data, self._split = data, split
        self._cells: list[Cell] = []
        self.made.append(self)

    def start(self, cell):
        self._cells.append(cell)
        self._other.send(None)

    def outcome(self):
        self.connection.recv()
        cell = self._cells[-1]
        if self is self.made[0] and len(self._cells) == 2:
            self.is_alive = False
            return Outcome("its process was killed by SIGKILL", ())
        return Outcome(attempt(cell, self._data, self._split), [("some.module", "thin strata")])

    def tell_to_stop(self):
        self.told_to_stop = True

    def wait_until_stopped(self):
        self.connection.close()


@pytest.fixture
def processes(monkeypatch):
    FakeProcess.made = []
    monkeypatch.setattr(cell_runner, "CellProcess", FakeProcess)
    return FakeProcess.made


def test_cells_are_divided_and_a_process_that_dies_is_one_failed_cell(fake, run, processes, caplog):
    screen = io.StringIO()
    comparison = run(["ple", "taug", "mmoe"], [0, 1], jobs=2, console=Console(file=screen))
    assert len(comparison.results) == 5
    assert [failure.error for failure in comparison.failures] == ["its process was killed by SIGKILL"]
    # One more took the place of that which died, and nobody is left at work.
    assert len(processes) == 3 and all(process.told_to_stop for process in processes if process.is_alive)
    assert [line.split()[0] for line in screen.getvalue().splitlines()[:6]] == [f"{number}/6" for number in range(1, 7)]
    assert [record.message for record in caplog.records if record.name == "some.module"] == ["thin strata"]
    again = run(["ple", "taug", "mmoe"], [0, 1], jobs=2)
    # A single cell needs no further process.
    assert again.missing == [] and len(processes) == 3


def test_tuning_chooses_before_the_other_seeds_begin(fake, run, processes):
    comparison = run(["ple", "taug"], [5, 6], ["training.learning_rate=0.001,1e-2"], jobs=2)
    chosen = {(result.method, result.seed): result.setting.values["training.learning_rate"] for result in comparison.results}
    assert {key: value for key, value in chosen.items() if key[0] == "ple"} == {("ple", 5): 0.01, ("ple", 6): 0.01}


def test_ctrl_c_stops_every_process(fake, run, processes, monkeypatch):
    monkeypatch.setattr(FakeProcess, "outcome", lambda self: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="stopped; 0 finished cells and what is saved of unfinished ones"):
        run(["ple", "taug", "mmoe"], [0, 1], jobs=2)
    assert len(processes) == 2 and all(process.told_to_stop for process in processes)


def test_a_cell_that_another_call_is_at_work_on_is_left_alone(fake, run, monkeypatch):
    train, of_other_call = fake.train, []

    def train_beside_another_call(*arguments, **named):
        trained = train(*arguments, **named)
        # There are finished epochs, with which the other call would go on.
        of_other_call.append(run(["ple"], [0]))
        return trained

    monkeypatch.setattr(cells, "train", train_beside_another_call)
    comparison = run(["ple"], [0])
    assert comparison.failures == [] and comparison.missing == []
    (other,) = of_other_call
    assert [failure.error for failure in other.failures] == [
        "another call is at work on it; wait for it to end, and compare again"
    ]
    assert other.missing == [("ple", 0)] and fake.trained == [("ple", 0.001, 0)]


def test_a_process_that_is_gone_before_it_is_given_a_cell_is_one_failed_cell(monkeypatch, prepared, shared_experiment):
    monkeypatch.setattr(cell_process, "_train_cells", sys.exit)
    process = CellProcess(prepared, "test")
    wait_for(lambda: not process.is_alive)
    process.start(Cell("ple", 0, Setting({}, shared_experiment), shared_experiment, prepared.directory))
    assert str(process.outcome().result).startswith("its process ended with exit code 1, ")
    process.wait_until_stopped()


@pytest.fixture
def without_costs(monkeypatch):
    monkeypatch.setattr(compare, "measure_costs", lambda experiments, data, file: {})


@pytest.mark.slow
@pytest.mark.usefixtures("without_costs")
def test_results_do_not_depend_on_how_many_run_at_a_time(run):
    together, alone = (run(["shared_bottom", "crossdistil"], [1, 2], out=f"jobs{jobs}", jobs=jobs) for jobs in (3, 1))
    assert together.missing == alone.missing == []
    assert [result.summary for result in together.results] == [result.summary for result in alone.results]
    assert multiprocessing.active_children() == []


DYING = """
import os
import signal

from tf_crossdistil.backbones.shared_bottom import SharedBottom


class Dying(SharedBottom):
    def call(self, inputs, tasks, training=False):
        # The three rows that backbones are tried on before a training pass.
        if training and inputs.shape[0] != 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().call(inputs, tasks, training)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("without_costs")
def test_a_killed_process_is_one_failed_cell(run, tmp_path, monkeypatch):
    (tmp_path / "dying_backbone.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    comparison = run(["dying_backbone:Dying", "shared_bottom"], [0], jobs=2)
    (failure,) = comparison.failures
    assert failure.error.startswith("its process was killed by SIGKILL") and failure.error.endswith("fewer --jobs")
    assert [result.method for result in comparison.results] == ["shared_bottom"]


def children_of(process):
    """The trainings of a comparison; Python's own tracker of shared memory ends by itself, a moment after its parent."""
    children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [child for child in children if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture
def command(config_file, prepared, tmp_path):
    """Starts a comparison whose trainings last for long, and waits until both are in their epochs."""
    words = [sys.executable, "-m", "tf_crossdistil.cli.main", "compare", config_file, "--data", prepared.directory]
    words += ["--out", tmp_path / "out", "--methods", "shared_bottom,single", "--jobs", "2"]
    long = ["training.epochs=100000", "training.early_stopping=null", "training.checkpoints.every_steps=1"]
    overrides = [part for value in [*SMALL[1:], *long] for part in ("--set", value)]

    def start():
        process = subprocess.Popen([*map(str, words), *overrides], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: len(list((tmp_path / "out/cells").glob("*/default/seed=0/history.json"))) == 2)
        return process

    return start


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_all_trainings_and_leaves_no_process(command, sent, code):
    process = command()
    trainings = children_of(process.pid)
    assert len(trainings) == 2
    process.send_signal(sent)
    _, told = process.communicate(timeout=90)
    assert process.returncode == code and "Traceback" not in told
    assert "0 finished cells and what is saved of unfinished ones are kept" in told
    assert not any(map(is_running, trainings))


@pytest.mark.slow
def test_trainings_end_with_a_comparison_that_is_killed(command):
    process = command()
    trainings = children_of(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(is_running, trainings)))
