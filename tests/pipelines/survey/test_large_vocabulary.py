# SPDX-License-Identifier: Apache-2.0
"""Five million values are counted, settled and looked up in bounded memory."""

import subprocess
import sys

import pytest

SCRIPT = """
import pickle
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.checking.validate import Validator
from pipelines.encoding.records import RowEncoder
from pipelines.sources.blocks import Block, InputRange
from pipelines.survey.settle import read_vocabularies, settle
from pipelines.survey.survey import Survey
from tf_crossdistil.config_file import parse_config

VALUES, ROWS, BLOCK = 5_000_000, 20_000_000, 125_000
run = Path(sys.argv[1])
(run / "work").mkdir()
experiment = parse_config(
    {
        "name": "large",
        "tasks": [{"name": "label", "column": "label"}],
        "features": [{"name": "user", "kind": "categorical"}],
        "split": {"by": "column", "column": "split"},
    },
    "test",
)
validator = Validator(experiment)


def block(first):
    rows = np.arange(first, first + BLOCK)
    users = pa.array(rows * 2_654_435_761 % VALUES + 10_000_000).cast(pa.string())
    columns = {"user": pc.binary_join_element_wise("u", users, ""), "label": pa.array(rows % 2)}
    return Block({**columns, "split": pa.array(["train"] * BLOCK)}, np.arange(BLOCK))


total = Survey.empty(experiment)
ranges = [InputRange(index, "logs", 0, None) for index in range(ROWS // BLOCK // 4)]
for part in ranges:
    survey = Survey.empty(experiment)
    survey.open_range(part.index)
    for number in range(4):
        read = block((4 * part.index + number) * BLOCK)
        survey.add(part.index, read, validator(read.columns))
    total.merge(survey)
total = pickle.loads(pickle.dumps(total))
report = settle(total, experiment, run, ranges, 0.0)
assert report.vocabularies["user"].size == VALUES
encoder = RowEncoder(experiment, read_vocabularies(run, report))
tally = encoder.encode(validator(block(0).columns)).tallies["train"]
assert (tally.values, tally.oov) == ({"user": BLOCK}, {"user": 0})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
"""


@pytest.mark.slow
def test_five_million_values_take_at_most_one_and_a_half_gigabytes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1.5
