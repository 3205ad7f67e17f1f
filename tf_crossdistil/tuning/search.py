# SPDX-License-Identifier: Apache-2.0
"""A search for hyper-parameters: trial after trial is drawn, trained, and given up early where it is worse than others.

OUT/study.db               the finished trials
OUT/trials/<number>/       the run of each; only the best one keeps its checkpoints
OUT/best                   a link to the best run
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import tensorflow as tf
from optuna.trial import TrialState
from rich.console import Console

from tf_crossdistil.comparison.cells import release_memory, selection_metric
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.repeated_warnings import each_warning_once, without_retracing_warnings
from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.models.run import Run
from tf_crossdistil.schema import PreparedData
from tf_crossdistil.training.checks import check_defined, check_trainable
from tf_crossdistil.training.divergence import DivergedError
from tf_crossdistil.training.interruption import Interrupted, Terminated
from tf_crossdistil.training.pretrained import check_pretrained
from tf_crossdistil.training.reasons import reason_of
from tf_crossdistil.training.trainer import train
from tf_crossdistil.tuning.results import SearchResult, TrialResult
from tf_crossdistil.tuning.space import Space, shown, with_values
from tf_crossdistil.tuning.study import KeptStudy, only_search_in

TRIALS_FOLDER = "trials"
BEST_LINK = "best"


def tune(space: Space, data: PreparedData, out: Path, trials: int, console: Console) -> SearchResult:
    """Searches until the study in `out` has so many finished trials; asked again, it goes on where it was.

    The same configuration, data and seed draw the same trials, in one call or in several.

    Args:
        space: what to try.
        data: prepared data of the configuration.
        out: the folder of the search.
        trials: how many, those of earlier calls included, at least one.
        console: where progress is shown.

    Raises:
        UsageError: a point of the space cannot be trained, or `out` holds something else.
        CrossDistilError: the data does not fit the configuration, or the study cannot be read or written.
    """
    _check_points(space, data)
    with only_search_in(out):
        experiment = space.experiment
        fingerprint = {
            "configuration": experiment.model_dump(mode="json"),
            "tuning section": experiment.tuning.model_dump(mode="json"),
            "data set": [data.metadata.run, data.metadata.schema_hash],
        }
        study = KeptStudy(out, experiment.tuning, experiment.training.seed, fingerprint)
        search = _Search(space, data, out, study, console)
        with each_warning_once(), without_retracing_warnings(), _told_what_is_kept(study, out):
            search.run(trials)
        return SearchResult.of(study, space)


def _check_points(space: Space, data: PreparedData) -> None:
    """Refuses whatever could only fail later."""
    strategy = space.experiment.training.strategy
    if strategy not in ("none", "mirrored"):
        raise UsageError(f"a search runs on one host, and training.strategy is {strategy}; set it to none or mirrored")
    for point in (space.experiment, *space.points):
        check_trainable(point, data)
    check_defined("tuning.metric", space.experiment.tuning.metric, data.metadata)
    check_pretrained(space.experiment, data)


class _Search:
    """Runs one trial after another and tells how far it is."""

    def __init__(self, space: Space, data: PreparedData, out: Path, study: KeptStudy, console: Console):
        self._space, self._data, self._out, self._study, self._console = space, data, out, study, console
        self._metric = space.experiment.tuning.metric
        self._training = console if console.is_terminal else Console(quiet=True)

    def run(self, trials: int) -> None:
        """Goes on until there are so many trials."""
        kept = len(self._study.trials)
        if kept:
            self._tell(f"{_counted(kept)} of an earlier call kept in {self._out}")
        self._tidy()
        for _ in range(kept, trials):
            result = self._run_next()
            self._tidy()
            self._tell(f"{result.number + 1}/{trials} {self._line(result)}")

    def _run_next(self) -> TrialResult:
        trial = self._study.draw(self._space.distributions)
        directory = self._out / TRIALS_FOLDER / str(trial.number)
        if directory.exists():
            self._tell(f"trial {trial.number} was interrupted; it is run again")
            shutil.rmtree(directory)
        started, epochs = time.perf_counter(), 0
        value: float | None = None
        notes: dict[str, Any] = {}

        def after_epoch(entry: dict[str, Any]) -> None:
            nonlocal epochs
            epochs = entry["epoch"]
            reached = entry[f"validation_{self._metric}"]
            if reached is not None:
                trial.report(reached, epochs)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            experiment = with_values(self._space.experiment, self._space.values(trial.params))
            run = train(experiment, self._data, directory, self._training, after_epoch=after_epoch)
            value, state = _value_of(run, self._metric), TrialState.COMPLETE
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except Exception as error:
            if (fault := _storage_fault(error)) is not None:
                raise CrossDistilError(
                    f"stopped in trial {trial.number}: {fault}; {_kept(self._study, self._out)} when that is mended"
                ) from error
            # The user's own code may fail in any way, and so may an unlucky setting; other trials need not.
            state, notes["error"] = TrialState.FAIL, _message(error)
        finally:
            release_memory()
        notes |= {"epochs": epochs, "seconds": round(time.perf_counter() - started, 3)}
        return TrialResult.of(self._study.finish(trial, value, state, notes), self._space)

    def _tidy(self) -> None:
        """Removes the checkpoints of all trials but the best one, to which the link then leads."""
        best = self._study.best
        kept = None if best is None else str(best.number)
        for trial in self._study.trials:
            if str(trial.number) != kept:
                shutil.rmtree(self._out / TRIALS_FOLDER / str(trial.number) / "checkpoints", ignore_errors=True)
        if kept is not None:
            aside = self._out / f".{BEST_LINK}"
            aside.unlink(missing_ok=True)
            aside.symlink_to(Path(TRIALS_FOLDER) / kept, target_is_directory=True)
            aside.replace(self._out / BEST_LINK)

    def _line(self, result: TrialResult) -> str:
        start = f"trial {result.number} {shown(result.set)}"
        if result.error is not None:
            return f"{start}: failed: {' '.join(result.error.split())}"
        best = self._study.best
        text = METRICS[self._metric].text
        so_far = "" if best is None else f", best {text(best.value)} (trial {best.number})"
        pruned = "pruned, " if result.state == "pruned" else ""
        return (
            f"{start}: {pruned}validation {self._metric} {text(result.value)}{so_far}, "
            f"{result.epochs} epoch{'s' * (result.epochs != 1)}, {result.seconds:.0f} s"
        )

    def _tell(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _value_of(run: Run, metric: str) -> float:
    """The metric of the epoch whose model is kept as the best."""
    chooses = METRICS[selection_metric(run.experiment)]
    name = f"validation_{selection_metric(run.experiment)}"
    defined = [entry for entry in run.history() if entry[name] is not None]
    value: float | None = (
        max(defined, key=lambda entry: chooses.goodness(entry[name]))[f"validation_{metric}"] if defined else None
    )
    if value is None:
        raise CrossDistilError(
            f"validation {metric} is undefined on the validation split, whatever the epoch; choose another tuning.metric"
        )
    return value


def _counted(trials: int) -> str:
    return f"{trials} finished trial{'s' * (trials != 1)}"


def _message(error: Exception) -> str:
    if isinstance(error, DivergedError):
        return error.fault
    return str(error) if isinstance(error, CrossDistilError) else f"{type(error).__name__}: {error}"


def _storage_fault(error: Exception) -> str | None:
    """Why a file could not be read or written, as other trials would find, too; None for any other error."""
    # Keras, in whose loop checkpoints are written, takes the cause away.
    if isinstance(error, CrossDistilError) and isinstance(error.__context__, OSError | tf.errors.OpError):
        # What follows tells how a single training goes on.
        return str(error).split("; ", 1)[0]
    # TensorFlow has one type for a full disk and for a lack of memory.
    return reason_of(error) if os.strerror(errno.ENOSPC) in str(error) else None


def _kept(study: KeptStudy, out: Path) -> str:
    finished = _counted(sum(trial.state.is_finished() for trial in study.trials))
    return f"{finished} kept in {out}, and the same command goes on from there"


@contextmanager
def _told_what_is_kept(study: KeptStudy, out: Path) -> Iterator[None]:
    """After Ctrl-C or SIGTERM, says what the next call goes on with, in place of what a single training would say."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        sentence = f"stopped; {_kept(study, out)}"
        raise (Terminated if isinstance(stop, Terminated) else Interrupted)(sentence) from stop
