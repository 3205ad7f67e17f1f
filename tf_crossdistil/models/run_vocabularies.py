"""A run's vocabularies, which must be those it was trained with wherever raw values are looked up."""

import hashlib
from pathlib import Path

from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.models.run import Run


def checked_vocabularies(run: Run) -> Path:
    """The folder of a run's vocabularies, after a look at every file in it.

    Raises:
        CrossDistilError: a file is missing, or is not the one that the run was trained with.
    """
    mending = f"restore it from the prepared data, run {run.metadata.run}, or train again, in another --run"
    for owner, known in run.metadata.vocabularies.items():
        file = run.vocabularies / f"{owner}.txt"
        try:
            with file.open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise CrossDistilError(f"cannot read {file}: {error.strerror}; {mending}") from error
        if found != known.sha256:
            raise CrossDistilError(
                f"{file} is not the vocabulary that the run was trained with, so that ids would mean other values; {mending}"
            )
    return run.vocabularies
