# SPDX-License-Identifier: Apache-2.0
"""Configuration files and overrides: what is read, and what is refused."""

import pytest

from tf_crossdistil.config_file import load_config
from tf_crossdistil.errors import UsageError

TEXT = """
name: example
tasks: [{name: finish, column: finish}]
features: [{name: uid, kind: categorical}]
split: {by: hash, key: [uid]}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x.yaml").write_text(TEXT)
    return tmp_path / "x.yaml"


def test_overrides_replace_single_values(path):
    experiment = load_config(path, ["training.epochs=3", "model.towers=[8, 4]"])
    assert experiment.training.epochs == 3
    assert experiment.model.towers == [8, 4]
    assert experiment.training.batch_size == load_config(path).training.batch_size


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "cannot read"),
        ("a: [", "not valid YAML"),
        ("name: 2020-13-45", "not valid YAML"),
        ("- 1", "received list"),
        ("", "received NoneType"),
    ],
)
def test_bad_files_are_usage_errors(path, text, words):
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(path)


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.epochs", "needs KEY=VALUE"),
        ("=3", "needs KEY=VALUE"),
        ("training..epochs=3", "needs KEY=VALUE"),
        ("name=2020-13-45", "the value is not valid YAML"),
        ("training.epochs=[", "the value is not valid YAML"),
        ("name.x=1", "'name' is not a section with keys"),
        ("training.epoch=3", "did you mean 'epochs'"),
    ],
)
def test_bad_overrides_are_usage_errors(path, override, words):
    with pytest.raises(UsageError, match=words):
        load_config(path, [override])
