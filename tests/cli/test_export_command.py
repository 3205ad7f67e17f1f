# SPDX-License-Identifier: Apache-2.0
"""What `crossdistil export` prints, and what it refuses."""

import sys

import pytest

from tests.export.stand_ins import names, without_tensorflow
from tf_crossdistil.cli import main as cli


@pytest.fixture
def command(monkeypatch, capsys, exported, trained, tmp_path):
    """Exports in no time; gives exit code and standard error."""
    without_tensorflow(monkeypatch, exported / "1")

    def run(*arguments):
        to = ["--run", trained.directory, "--to", tmp_path / "shared"]
        monkeypatch.setattr(sys, "argv", ["crossdistil", "export", *map(str, [*to, *arguments])])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return exited.value.code or 0, capsys.readouterr().err

    return run


def test_tells_what_was_exported_and_what_to_know(command, tmp_path):
    assert command("--version", 7)[0] == 0
    code, err = command("--version", 3, "--keep", 1, "--score", "weights:finish=1,like=0.5")
    assert code == 0
    directory = tmp_path / "shared/3"
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert f"exported 2 variables, {size:,} bytes, to {directory}\n" in err
    assert "it answers as the live model does, to 3.0e-08\n" in err
    assert f"model card: {directory}/MODEL_CARD.md\n" in err
    assert "warning: version 3 is not the newest, which is 7, and TF Serving serves the newest" in err
    assert "| score | sum of 1 finish, 0.5 like |" in (directory / "MODEL_CARD.md").read_text()
    assert names(tmp_path / "shared") == ["3", "7"]
    assert command("--keep", 1)[0] == 0
    assert names(tmp_path / "shared") == ["8"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--version", "0"], "--version"),
        (["--version", str(2**63)], "--version"),
        (["--version", "new"], "--version"),
        (["--keep", "0"], "--keep"),
        (["--score", "weights:finsh=1"], "finsh"),
        (["--score", "finish"], "weights:finish=1"),
    ],
)
def test_wrong_use_writes_nothing(command, tmp_path, arguments, words):
    code, err = command(*arguments)
    assert code == 2 and words in err and "Traceback" not in err
    assert not (tmp_path / "shared").exists()
