"""Requests in lines of JSON: a row of raw features, or the body of a REST predict request."""

import json

from tf_crossdistil.skew.raw_values import BrokenRequestError, Request, RequestReader


def read_json_request(line: bytes, reader: RequestReader) -> tuple[Request, list[str]]:
    """The request of a line: `{"instances": [row, ...]}`, `{"inputs": {feature: [value, ...]}}`, or a row.

    Returns:
        The request, and the names in it that the data set does not know.

    Raises:
        BrokenRequestError: the line is no JSON object, or its features cannot be those of the data set.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenRequestError("is not JSON") from error
    match document:
        case {"instances": list(rows)}:
            if not all(isinstance(row, dict) for row in rows):
                raise BrokenRequestError("has 'instances' that are no objects of features")
            return reader.rows(rows)
        case {"inputs": dict(columns)}:
            if not all(isinstance(values, list) for values in columns.values()):
                raise BrokenRequestError("has 'inputs' that are no lists of values")
            return reader.request(columns)
        case dict():
            return reader.rows([document])
    raise BrokenRequestError("is no JSON object")
