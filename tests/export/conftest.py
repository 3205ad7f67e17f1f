# SPDX-License-Identifier: Apache-2.0
"""What several tests of the exported model ask it."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.conftest import request_rows
from tf_crossdistil.data.records import split_batches
from tf_crossdistil.export.version_one import VersionOneModel
from tf_crossdistil.models.predict import SplitPredictor


@dataclass(frozen=True)
class Asked:
    """Rows of the test split as clients send them, and the live model's probabilities by task."""

    rows: list
    expected: dict


@pytest.fixture(scope="session")
def asked(prepared, shared_experiment, raw_rows, trained):
    """Every row of the test split, with the live model's answers from the records that Beam wrote of them."""
    numbers = np.concatenate([c["row"].numpy() for c in split_batches(prepared, shared_experiment, "test", 512)]).astype(int)
    predictions = SplitPredictor(trained.load_best(), shared_experiment)(prepared, "test")
    rows = request_rows(shared_experiment, [raw_rows[1][number] for number in numbers])
    assert len(rows) > 400
    return Asked(rows, {task: predictions.students[:, index] for index, task in enumerate(predictions.tasks)})


@pytest.fixture(scope="session")
def served(exported):
    """The exported version, loaded as TF Serving loads it."""
    with VersionOneModel(exported / "1") as model:
        yield model
