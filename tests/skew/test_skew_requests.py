# SPDX-License-Identifier: Apache-2.0
"""Files of requests: what is read, what is left out and told, and what is refused."""

import base64
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.client.columns import to_model_columns
from serving.client.file_predictions import fitting_rows
from serving.client.tables import read_table
from serving.client.transports import ModelInput
from tests.skew.conftest import (
    classify_log,
    context_log,
    example,
    examples_log,
    json_bodies,
    json_rows,
    raw_log,
    write_lines,
    write_records,
)
from tf_crossdistil.data.raw_features import raw_fields
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.skew.json_requests import read_json_request
from tf_crossdistil.skew.prediction_logs import read_prediction_log
from tf_crossdistil.skew.raw_values import BrokenRequestError, RequestReader, join_requests
from tf_crossdistil.skew.request_files import Reading, find_request_files, read_requests
from tf_crossdistil.skew.skew import measure_skew


@pytest.fixture
def reader(shared_experiment):
    return RequestReader(shared_experiment)


@pytest.fixture
def read(shared_experiment):
    """All requests of files, and what was met."""

    def read_files(*files):
        reading = Reading()
        return list(read_requests(list(files), shared_experiment, reading)), reading

    return read_files


def json_request(reader, document):
    return read_json_request(json.dumps(document).encode(), reader)[0].columns


def test_values_become_the_text_that_preparing_gives_them(reader):
    values = ["a", " 7 ", 7, 7.0, 2.5, True, None, {"b64": "YWI="}, "日本"]
    columns = json_request(reader, {"inputs": {"word": values}})
    assert columns["word"] == [b"a", b"7", b"7", b"7", b"2.5", b"true", b"", b"ab", "日本".encode()]


def test_numbers_in_a_row_may_be_text_as_predict_reads_them(reader):
    inputs = {name: ModelInput("DT_FLOAT", is_list=False) for name in ("duration", "row", "quartile", "third")}
    inputs |= {"word": ModelInput("DT_STRING", is_list=False), "tags": ModelInput("DT_STRING", is_list=True)}
    row = {"duration": "45916", "row": " 2.5e3 ", "quartile": "", "third": "nan", "word": "7", "tags": " "}
    columns = json_request(reader, row)
    sent = fitting_rows([row], inputs, Path("rows.jsonl"), "shared")
    predicted = to_model_columns(read_table(sent, inputs), inputs)
    for name in ("duration", "row", "quartile", "third"):
        np.testing.assert_array_equal(np.float32(columns[name]), predicted[name])
    assert columns["duration"] == [45916.0] and math.isnan(columns["quartile"][0])
    assert (columns["word"], columns["tags"]) == ([b"7"], [[]])


@pytest.mark.parametrize("body", ["inputs", "unnamed inputs", "instances", "unnamed instances"])
def test_rest_bodies_of_predict_examples(body, reader, training_rows):
    serialized = [example(row).SerializeToString() for row in training_rows[:5]]
    values = [{"b64": base64.b64encode(one).decode()} for one in serialized]
    bodies = {
        "inputs": {"signature_name": "predict_examples", "inputs": {"examples": values}},
        "unnamed inputs": {"signature_name": "predict_examples", "inputs": values},
        "instances": {"signature_name": "predict_examples", "instances": [{"examples": value} for value in values]},
        "unnamed instances": {"signature_name": "predict_examples", "instances": values},
    }
    found = read_json_request(json.dumps(bodies[body]).encode(), reader)
    logged = read_prediction_log(examples_log(training_rows[:5]), reader)
    assert found[0].rows == 5
    assert repr(found) == repr(logged)


def test_names_that_are_not_known_are_given_back(reader):
    request, unknown = read_json_request(b'{"word": "a", "colour": 1, "tags_weights": [1]}', reader)
    assert (request.rows, list(request.columns), unknown) == (1, ["word", "tags_weights"], ["colour"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "is no JSON object"),
        (b'{"colour": 1}', "has none of the data set's features"),
        (b'{"instances": []}', "has none of the data set's features"),
        (b'{"instances": [1, 2]}', "has 'instances' that are no objects of features"),
        (b'{"inputs": {"word": "a"}}', "has 'inputs' that are no lists of values"),
        (b'{"inputs": {"word": []}}', "has no rows"),
        (b'{"inputs": {"word": ["a"], "row": [1, 2]}}', "has features with different numbers of rows"),
        (b'{"word": ["a"]}', "has a 'word' that is not text, a number or a boolean"),
        (b'{"word": "\\ud800"}', "has a 'word' that is not text, a number or a boolean"),
        (b'{"word": {"b64": "?"}}', "has a 'word' that is not text, a number or a boolean"),
        (b'{"row": "seven"}', "has a 'row' that is not a number within float32's range (at most 3.4e38)"),
        (b'{"row": 1e39}', "has a 'row' that is not a number within float32's range (at most 3.4e38)"),
        (b'{"row": "1e39"}', "has a 'row' that is not a number within float32's range (at most 3.4e38)"),
        (b'{"instances": [{"row": "7"}]}', "has a 'row' that is not a number within float32's range (at most 3.4e38)"),
        (b'{"inputs": {"row": ["7"]}}', "has a 'row' that is not a number within float32's range (at most 3.4e38)"),
        (b'{"inputs": {"examples": "YQ=="}}', "has 'inputs' that are no lists of values"),
        (b'{"inputs": {"examples": ["YQ=="]}}', "has an input that is no serialized tf.Example"),
        (b'{"inputs": {"examples": [{"b64": "?"}]}}', "has an input that is no serialized tf.Example"),
        (b'{"instances": [{"b64": "////"}]}', "has an input that is no serialized tf.Example"),
        (b'{"instances": [{"b64": ""}, 1]}', "has an input that is no serialized tf.Example"),
        (b'{"row": Infinity}', "has a 'row' that is not a number within float32's range (at most 3.4e38)"),
        (b'{"tags": "a|b"}', "has a 'tags' that is not a list, each value text, a number or a boolean"),
    ],
)
def test_broken_json(reader, line, reason):
    with pytest.raises(BrokenRequestError) as caught:
        read_json_request(line, reader)
    assert str(caught.value) == reason


def _log(**inputs):
    log = prediction_log_pb2.PredictionLog()
    for name, values in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return log


def _undecodable():
    log = _log(word=["a"])
    log.predict_log.request.inputs["word"].dtype = 999
    return log


def _two_values():
    log = prediction_log_pb2.PredictionLog()
    given = example({"row": 1.0})
    given.features.feature["row"].float_list.value.append(2.0)
    log.regress_log.request.input.example_list.examples.append(given)
    return log


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\xff\xff", "is no PredictionLog"),
        (b"", "is a PredictionLog without a request"),
        (
            prediction_log_pb2.PredictionLog(session_run_log=prediction_log_pb2.SessionRunLog()).SerializeToString(),
            "is a session_run_log, which has no rows of features",
        ),
        (_undecodable().SerializeToString(), "has a tensor that cannot be decoded"),
        (_log(word="a").SerializeToString(), "has a tensor without rows"),
        (_log(examples=["\xff\xff"]).SerializeToString(), "has an input that is no serialized tf.Example"),
        (_log(examples=[1.0]).SerializeToString(), "has an input that is no serialized tf.Example"),
        (_log(word=[["a"]]).SerializeToString(), "has a 'word' that is not text, a number or a boolean"),
        (_log(pixels=[1.0]).SerializeToString(), "has none of the data set's features"),
        (_two_values().SerializeToString(), "has a 'row' with more than one value"),
    ],
)
def test_broken_logs(reader, record, reason):
    with pytest.raises(BrokenRequestError) as caught:
        read_prediction_log(record, reader)
    assert str(caught.value) == reason


@pytest.mark.parametrize("log", [raw_log, examples_log, classify_log, context_log])
def test_logs_hold_the_rows(log, reader, training_rows, shared_experiment):
    rows = [dict(row, word="same") for row in training_rows[:9]]
    fields = raw_fields(shared_experiment)
    request, unknown = read_prediction_log(log(rows), reader)
    assert (request.rows, unknown) == (9, [])
    found = join_requests(fields, [request])
    plain = [read_json_request(line, reader)[0] for line in json_rows(rows).splitlines()]
    for name, values in join_requests(fields, plain).items():
        for value, same in zip(values, found[name], strict=True):
            if isinstance(value, list):
                assert _present(same) == _present(value), name
            else:
                assert same == pytest.approx(value, rel=1e-6, nan_ok=True) if isinstance(value, float) else same == value


def _present(values):
    return [value for value in values if value and not (isinstance(value, float) and math.isnan(value))]


def test_broken_ones_are_counted_and_the_others_read(read, tmp_path, training_rows):
    lines = json_rows(training_rows[:3]).splitlines()
    path = write_lines(tmp_path / "rows", b"\n".join([lines[0], b"oops", b"", lines[1], b"{}", b"also oops", lines[2]]))
    requests, reading = read(path)
    assert len(requests) == 3
    assert reading.records == 6
    assert reading.broken == {"is not JSON": 2, "has none of the data set's features": 1}
    assert reading.present["word"] == 3
    logs = write_records(tmp_path / "log", [raw_log(training_rows[:4]), b"\xff", classify_log(training_rows[:2])])
    requests, reading = read(path, logs)
    assert [request.rows for request in requests] == [1, 1, 1, 4, 2]
    assert (reading.records, reading.broken["is no PredictionLog"]) == (9, 1)


@pytest.mark.parametrize("name", ["log", "log.gz", "rows.gz"])
@pytest.mark.parametrize("part", [0.3, 0.66, 0.999])
def test_a_file_that_was_cut_is_read_up_to_there(name, part, read, tmp_path, training_rows):
    path = tmp_path / name
    if name.startswith("log"):
        write_records(path, [raw_log(training_rows[first : first + 8]) for first in range(0, 800, 8)])
    else:
        write_lines(path, json_bodies(training_rows[:800], 8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    requests, reading = read(path)
    assert 0 < len(requests) <= (100 if path.suffix else 99)
    assert reading.unfinished == {str(path): "it was cut off, or is still being written"}


def test_a_log_cut_within_the_head_of_a_record(read, tmp_path, training_rows):
    """TensorFlow's reader takes such a file for a whole one."""
    record = raw_log(training_rows[:8])
    path = write_records(tmp_path / "log", [record, record])
    path.write_bytes(path.read_bytes()[: len(record) + 16 + 5])
    requests, reading = read(path)
    assert (len(requests), list(reading.unfinished)) == (1, [str(path)])


def test_a_flipped_byte_in_a_log_costs_one_record(read, tmp_path, training_rows):
    records = [raw_log(training_rows[first : first + 8]) for first in range(0, 80, 8)]
    path = write_records(tmp_path / "log", records)
    content = bytearray(path.read_bytes())
    content[len(records[0]) + 16 + 100] ^= 1
    path.write_bytes(content)
    requests, reading = read(path)
    assert (len(requests), reading.records, reading.unfinished) == (9, 10, {})
    assert reading.broken == {"is corrupt: its checksum is another": 1}


def test_damage_is_not_called_a_cut(read, tmp_path, training_rows):
    records = [raw_log(training_rows[first : first + 8]) for first in range(0, 80, 8)]
    path = write_records(tmp_path / "log", records)
    content = bytearray(path.read_bytes())
    content[len(records[0]) + 16] ^= 1
    path.write_bytes(content)
    requests, reading = read(path)
    assert len(requests) == 1
    assert "damaged" in reading.unfinished[str(path)] and "length of record 2 does not match" in reading.unfinished[str(path)]
    rows = write_lines(tmp_path / "rows.gz", json_bodies(training_rows[:80], 8))
    rows.write_bytes(rows.read_bytes()[:-8] + bytes(8))
    requests, reading = read(rows)
    assert len(requests) == 10 and "damaged or cannot be read: CRC check failed" in reading.unfinished[str(rows)]


def test_unknown_kind_is_refused(read, tmp_path):
    path = write_lines(tmp_path / "model.bin", bytes(range(256)))
    with pytest.raises(CrossDistilError, match="neither a TFRecord file of PredictionLogs nor text with a JSON object a line"):
        read(path)


def test_damaged_gzip_is_refused(read, tmp_path):
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(b"{}")[:4] + b"\xff" * 40)
    with pytest.raises(CrossDistilError, match=r"cannot read .*rows\.gz"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
@pytest.mark.parametrize("name", ["rows", "rows.gz"])
def test_nothing_in_a_file(prepared, tmp_path, name, content):
    with pytest.raises(CrossDistilError, match=r"rows.* has no request; give a request log"):
        measure_skew(prepared, [write_lines(tmp_path / name, content)])


def test_all_broken_is_an_error_that_names_the_features(prepared, tmp_path):
    path = write_lines(tmp_path / "rows", b'{"pixel": 1}\n{"pixel": 2}\noops\n')
    with pytest.raises(CrossDistilError) as caught:
        measure_skew(prepared, [path])
    assert "none of 3 requests can be compared; of 2, each has none of the data set's features" in str(caught.value)
    assert "user, word, author" in str(caught.value)


def test_patterns_of_files(tmp_path):
    for name in ("b.log", "a.log", "c.txt", "odd[1].log"):
        (tmp_path / name).touch()
    assert [path.name for path in find_request_files(str(tmp_path / "*.log"))] == ["a.log", "b.log", "odd[1].log"]
    assert [path.name for path in find_request_files(str(tmp_path / "odd[1].log"))] == ["odd[1].log"]
    with pytest.raises(UsageError, match="there is no file"):
        find_request_files(str(tmp_path / "*.gz"))
    with pytest.raises(UsageError, match="is a directory"):
        find_request_files(str(tmp_path))
