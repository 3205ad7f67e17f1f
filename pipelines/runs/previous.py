# SPDX-License-Identifier: Apache-2.0
"""Earlier runs that a new one is held to: the one whose vocabulary it takes over, and the newest one before it."""

from pipelines.runs.drift import drift_warnings, oov_warnings, unseen_split
from pipelines.runs.manifest import Run, latest_run
from pipelines.runs.storage import RunPath, open_prepared, run_path
from tf_crossdistil.config import Experiment
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.schema import Metadata, PreparedData, check_config_matches


def open_frozen(directory: str, experiment: Experiment) -> PreparedData:
    """The run whose vocabularies and numeric statistics are taken over.

    Raises:
        UsageError: there is no complete run, or its tasks or features are not those of the configuration.
    """
    try:
        data = open_prepared(run_path(directory))
        check_config_matches(experiment, data.metadata)
    except CrossDistilError as error:
        raise UsageError(f"--vocabulary-from {directory} cannot be used: {error}") from error
    return data


def find_previous(output: RunPath, run: Run, schema_hash: str) -> tuple[Metadata | None, list[str]]:
    """The metadata of the run that `LATEST` names, if `run` can be compared with it, and a warning if it cannot be read.

    A run of the same inputs and configuration, or of other tasks or features, is nothing to compare with.
    """
    try:
        identity = latest_run(output)
        if identity is None or identity.partition("-")[0] == run.identity.partition("-")[0]:
            return None, []
        metadata = open_prepared(Run(output, identity).directory).metadata
    except (CrossDistilError, OSError) as error:
        return None, [f"nothing was compared with the previous run, since it cannot be read: {error}"]
    return (metadata, []) if metadata.schema_hash == schema_hash else (None, [])


def compared(metadata: Metadata, previous: Metadata | None, frozen: Metadata | None, bound: float) -> Metadata:
    """The metadata with what earlier runs were and how it differs from them."""
    warnings = [
        *(drift_warnings(previous, metadata, bound) if previous else []),
        *(oov_warnings(frozen, metadata, bound) if frozen else []),
    ]
    return metadata.model_copy(
        update={
            "compared_with": previous and previous.run,
            "vocabulary_from": frozen and frozen.run,
            "vocabulary_oov": frozen.rates[unseen_split(frozen)].oov if frozen else {},
            "warnings": [*metadata.warnings, *warnings],
        }
    )
