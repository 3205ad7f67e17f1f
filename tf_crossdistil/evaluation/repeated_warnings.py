# SPDX-License-Identifier: Apache-2.0
"""Warnings that every training of a comparison or a search would say again."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Holds back warnings that were logged already since it was entered."""
    handlers = [*logging.root.handlers, *([logging.lastResort] if logging.lastResort is not None else [])]
    filters = [(handler, _new_warnings()) for handler in handlers]
    for handler, is_new in filters:
        handler.addFilter(is_new)
    try:
        yield
    finally:
        for handler, is_new in filters:
            handler.removeFilter(is_new)


@contextmanager
def without_retracing_warnings() -> Iterator[None]:
    """Holds back the warning that functions of the same name are traced again, as those of another model must be."""
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_retracing)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_retracing)


def _new_warnings() -> Callable[[logging.LogRecord], bool]:
    shown: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno != logging.WARNING or message not in shown:
            shown.add(message)
            return True
        return False

    return is_new


def _is_no_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()
