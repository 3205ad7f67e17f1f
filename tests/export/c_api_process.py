# SPDX-License-Identifier: Apache-2.0
"""Runs a SavedModel through TensorFlow's C API, the loader and the session of TF Serving, without TensorFlow's Python.

Reads a job as JSON, and prints the answers so:
{"directory":, "runs": [{"feeds": {tensor: {"shape": [...], "floats" or "texts": [...]}}, "fetches": [tensor, ...]}]}
Texts, which may be any bytes, are Latin-1; every fetched tensor is of floats.
"""

import json
import sys
from ctypes import CDLL, POINTER, RTLD_GLOBAL, Structure, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p, cast
from math import prod
from pathlib import Path

sys.modules["tensorflow"] = None  # type: ignore[assignment]  # an import of it fails

FLOAT, STRING = 1, 7
SIZE_OF_STRING = 24


class Output(Structure):
    """TF_Output: a place in the graph."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


def load_libraries():
    """TensorFlow's shared libraries, with the types of the functions that are called."""
    # Looked for as a file, since an import is refused.
    folder = next(Path(path) / "tensorflow" for path in sys.path if (Path(path) / "tensorflow/libtensorflow_cc.so.2").exists())
    CDLL(str(folder / "libtensorflow_framework.so.2"), RTLD_GLOBAL)
    library = CDLL(str(folder / "libtensorflow_cc.so.2"), RTLD_GLOBAL)
    pointer, pointers, size = c_void_p, POINTER(c_void_p), c_size_t
    for name, result, arguments in [
        ("TF_NewStatus", pointer, []),
        ("TF_GetCode", c_int, [pointer]),
        ("TF_Message", c_char_p, [pointer]),
        ("TF_NewGraph", pointer, []),
        ("TF_NewSessionOptions", pointer, []),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [pointer, pointer, c_char_p, POINTER(c_char_p), c_int, pointer, pointer, pointer],
        ),
        ("TF_GraphOperationByName", pointer, [pointer, c_char_p]),
        ("TF_AllocateTensor", pointer, [c_int, POINTER(c_int64), c_int, size]),
        ("TF_TensorType", c_int, [pointer]),
        ("TF_TensorElementCount", c_int64, [pointer]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_StringInit", None, [pointer]),
        ("TF_StringCopy", None, [pointer, c_char_p, size]),
        (
            "TF_SessionRun",
            None,
            [
                pointer,
                pointer,
                *(POINTER(Output), pointers, c_int),
                *(POINTER(Output), pointers, c_int),
                *(pointers, c_int),
                pointer,
                pointer,
            ],
        ),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Model:
    """A loaded SavedModel."""

    def __init__(self, directory):
        self.library = load_libraries()
        self.status = self.library.TF_NewStatus()
        self.graph = self.library.TF_NewGraph()
        options = self.library.TF_NewSessionOptions()
        self.session = self.library.TF_LoadSessionFromSavedModel(
            options, None, directory.encode(), (c_char_p * 1)(b"serve"), 1, self.graph, None, self.status
        )
        self.check()

    def check(self):
        if self.library.TF_GetCode(self.status):
            raise RuntimeError(self.library.TF_Message(self.status).decode())

    def run(self, feeds, fetches):
        inputs = (Output * len(feeds))(*[self.place(name) for name in feeds])
        values = (c_void_p * len(feeds))(*[self.tensor(**value) for value in feeds.values()])
        outputs = (Output * len(fetches))(*[self.place(name) for name in fetches])
        results = (c_void_p * len(fetches))()
        self.library.TF_SessionRun(
            self.session, None, inputs, values, len(feeds), outputs, results, len(fetches), None, 0, None, self.status
        )
        self.check()
        return {name: self.floats(result) for name, result in zip(fetches, results, strict=True)}

    def place(self, tensor):
        name, _, index = tensor.partition(":")
        operation = self.library.TF_GraphOperationByName(self.graph, name.encode())
        if not operation:
            raise RuntimeError(f"the graph has no {name}")
        return Output(operation, int(index))

    def tensor(self, shape, floats=None, texts=None):
        count = prod(shape)
        dtype, size = (FLOAT, 4) if texts is None else (STRING, SIZE_OF_STRING)
        tensor = self.library.TF_AllocateTensor(dtype, (c_int64 * len(shape))(*shape), len(shape), count * size)
        data = self.library.TF_TensorData(tensor)
        if texts is None:
            (c_float * count).from_address(data)[:] = floats
            return tensor
        for number, text in enumerate(texts):
            value = text.encode("latin-1")
            self.library.TF_StringInit(data + number * size)
            self.library.TF_StringCopy(data + number * size, value, len(value))
        return tensor

    def floats(self, tensor):
        assert self.library.TF_TensorType(tensor) == FLOAT
        return cast(self.library.TF_TensorData(tensor), POINTER(c_float))[: self.library.TF_TensorElementCount(tensor)]


def main():
    job = json.load(sys.stdin)
    model = Model(job["directory"])
    print(json.dumps([model.run(**run) for run in job["runs"]]))


if __name__ == "__main__":
    main()
