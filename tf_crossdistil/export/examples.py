# SPDX-License-Identifier: Apache-2.0
"""How to ask an exported model, with a real row: what users copy from the model card."""

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from tf_crossdistil.config import Experiment, MultiValueFeature
from tf_crossdistil.data.raw_features import raw_fields


class Examples(BaseModel):
    """The same row asked through gRPC, in Python, and through REST, in a shell."""

    model_config = ConfigDict(frozen=True)

    grpc: str
    rest: str


def write_examples(experiment: Experiment, model: str, rows: Sequence[dict[str, Any]]) -> Examples:
    """The examples for a server on this machine with TF Serving's usual ports.

    Args:
        experiment: the configuration.
        model: the name that clients ask for.
        rows: real raw rows, at least one; that with the fewest missing values is taken.
    """
    row = _complete(experiment, min(rows, key=_missing))
    fields = "".join(f'    "{name}": {value!r},\n' for name, value in row.items())
    grpc = (
        f"from serving.client import Client\n\nrow = {{\n{fields}}}\n"
        f'with Client("127.0.0.1:8500", model={json.dumps(model)}) as client:\n    print(client.predict([row]))'
    )
    body = json.dumps({"instances": [row]}, ensure_ascii=False)
    rest = f"curl -d {shlex.quote(body)} http://127.0.0.1:8501/v1/models/{quote(model, safe='')}:predict"
    return Examples(grpc=grpc, rest=rest)


def _missing(row: dict[str, Any]) -> int:
    return sum(_is_missing(value) for value in row.values())


def _is_missing(value: Any) -> bool:
    return value is None or value in ("", []) or (isinstance(value, float) and math.isnan(value))


def _complete(experiment: Experiment, row: dict[str, Any]) -> dict[str, Any]:
    """The row with every input, since TF Serving's REST interface asks for all of them."""
    complete: dict[str, Any] = {}
    for name, field in raw_fields(experiment).items():
        missing: Any = [] if field.is_list else field.missing
        complete[name] = missing if _is_missing(row.get(name)) else row[name]
    for feature in experiment.features:
        if isinstance(feature, MultiValueFeature) and feature.weights and not complete[feature.weights_name]:
            complete[feature.weights_name] = [1.0] * len(complete[feature.name])
    return complete
