# SPDX-License-Identifier: Apache-2.0
"""A run's vocabularies, which must be those it was trained with wherever raw values are looked up."""

import hashlib
from pathlib import Path

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import Vocabulary

_CHUNK_BYTES = 1 << 20


def checked_vocabularies(run: Run) -> Path:
    """The folder of a run's vocabularies, after a look at every file in it.

    Raises:
        CrossDistilError: a file is missing, or is not the one that the run was trained with.
    """
    mending = f"restore it from the prepared data, run {run.metadata.run}, or train again, in another --run"
    for owner, known in run.metadata.vocabularies.items():
        check_vocabulary(run.vocabularies / f"{owner}.txt", known, mending)
    return run.vocabularies


def check_vocabulary(file: Path, known: Vocabulary, mending: str) -> None:
    """Compares a file with what its run knows of it; `mending` ends the sentence of an error.

    Raises:
        CrossDistilError: the file is missing, or is another one.
    """
    digest = hashlib.sha256()
    try:
        # Not `hashlib.file_digest`, which Python 3.10 lacks.
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise CrossDistilError(f"cannot read {file}: {error.strerror}; {mending}") from error
    if digest.hexdigest() != known.sha256:
        raise CrossDistilError(
            f"{file} is not the vocabulary that its run was trained with, so that ids would mean other values; {mending}"
        )
