# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.strategies import sharded_tables

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_large_tables_are_in_shards_and_trained(config_file, prepared, tmp_path):
    content = json.loads(config_file.read_text(encoding="utf-8"))
    rows = 50_000
    next(feature for feature in content["features"] if feature["name"] == "author")["buckets"] = rows
    (tmp_path / "large.yaml").write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-m", sharded_tables.__name__, str(tmp_path / "large.yaml"), str(prepared.directory.parent)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    result = json.loads(ended.stdout.splitlines()[-1])
    large = [(shape, device) for shape, device in result["tables"] if shape[0] > 1000]
    assert [shape for shape, _ in large] == [[rows // 2, 4], [rows // 2, 4]]
    assert len({device for _, device in large}) == 2
    assert result["calibration"] == [[2], [2]]
    # All other tables are whole.
    assert len(result["tables"]) == 7
    # A step that changes nothing made the optimizers' variables; five steps were left of the epoch.
    assert (result["steps"], result["iterations"]) == ([6], 6)
    assert result["slots"][0] == result["slots"][1] > 0
