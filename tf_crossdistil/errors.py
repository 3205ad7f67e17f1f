# SPDX-License-Identifier: Apache-2.0
"""Errors that the command line shows as one sentence, without a traceback."""


class CrossDistilError(Exception):
    """Something went wrong while working: what happened, what was expected, what was received, how to mend it."""

    exit_code = 1


class UsageError(CrossDistilError):
    """The program was asked for something that cannot be: a wrong option, configuration or path."""

    exit_code = 2
