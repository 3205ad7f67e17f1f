# SPDX-License-Identifier: Apache-2.0
"""The study of a search: its finished trials in a local SQLite file, from which a later command goes on.

A trial at work is in memory only. One that is killed leaves nothing in the file, and is run again with the same values.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from tf_crossdistil.config import Tuning
from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.training.lock import lock

STUDY_FILE = "study.db"
_LOCK_FILE = ".lock"
_NAME = "search"
_SAMPLERS = {"tpe": lambda seed: TPESampler(seed=seed), "random": lambda seed: RandomSampler(seed=seed)}
_PRUNERS = {"median": MedianPruner, "successive_halving": SuccessiveHalvingPruner, "none": NopPruner}


class KeptStudy:
    """Draws trials and keeps the finished ones.

    A trial is drawn by a sampler that is seeded with the number of the trial, so that a search that was resumed draws what an
    undisturbed one would.

    Args:
        out: the folder of the search, inside `only_search_in`.
        tuning: how to search.
        seed: of the sampler.
        fingerprint: what all trials share, by what errors call it.

    Raises:
        UsageError: the folder has a study of another fingerprint.
        CrossDistilError: the file is damaged or cannot be written.
    """

    def __init__(self, out: Path, tuning: Tuning, seed: int, fingerprint: Mapping[str, Any]):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._file, self._sampler, self._seed = out / STUDY_FILE, _SAMPLERS[tuning.sampler], seed
        direction = StudyDirection.MAXIMIZE if tuning.larger_is_better else StudyDirection.MINIMIZE
        with self._explained():
            url = URL.create("sqlite", database=str(self._file.absolute())).render_as_string()
            self._kept = optuna.create_study(storage=url, study_name=_NAME, direction=direction, load_if_exists=True)
            known = self._kept.user_attrs
            for what, content in fingerprint.items():
                if what in known and (place := _difference(known[what], content)) is not None:
                    raise UsageError(
                        f"{out} holds a search with another {what} than the one given{place and f', at {place}'}; give "
                        "another --out"
                    )
                self._kept.set_user_attr(what, content)
            self.study = optuna.create_study(direction=direction, pruner=_PRUNERS[tuning.pruning]())
            self.study.add_trials(self._kept.get_trials())

    @property
    def trials(self) -> list[FrozenTrial]:
        """The finished trials, in order."""
        return self.study.get_trials(deepcopy=False)

    @property
    def best(self) -> FrozenTrial | None:
        """The best complete trial, the first of equals; None before there is one."""
        return self.study.best_trial if any(trial.state == TrialState.COMPLETE for trial in self.trials) else None

    def draw(self, distributions: dict[str, BaseDistribution]) -> optuna.Trial:
        """Begins the next trial."""
        words = np.random.SeedSequence([self._seed, len(self.trials)]).generate_state(1)
        self.study.sampler = self._sampler(int(words[0]))
        return self.study.ask(distributions)

    def finish(self, trial: optuna.Trial, value: float | None, state: TrialState, notes: Mapping[str, Any]) -> FrozenTrial:
        """Keeps a trial with what is to be known about it.

        Raises:
            CrossDistilError: the file cannot be written.
        """
        for name, note in notes.items():
            trial.set_user_attr(name, note)
        finished = self.study.tell(trial, value, state)
        with self._explained():
            self._kept.add_trial(finished)
        return finished

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            fault = f"cannot use the study in {self._file}: {' '.join(str(cause).split())}"
            if isinstance(cause, sqlite3.OperationalError):
                raise CrossDistilError(
                    f"{fault}; make room there, see that you may write there, or give another --out"
                ) from error
            raise CrossDistilError(f"{fault}; it is damaged or no study of this version: give another --out") from error


def _difference(known: Any, given: Any) -> str | None:
    """The first key at which two contents differ, empty where they differ as a whole; None where they do not."""
    if known == given:
        return None
    if not (isinstance(known, dict) and isinstance(given, dict)):
        return ""
    key = next(key for key in {**known, **given} if key not in known or key not in given or known[key] != given[key])
    below = _difference(known.get(key), given.get(key))
    return f"{key}.{below}" if below else key


@contextmanager
def only_search_in(out: Path) -> Iterator[None]:
    """Makes the folder of a search and keeps other processes from searching there; the kernel lets them in when this one ends.

    Raises:
        UsageError: it holds something else, or cannot be written.
        CrossDistilError: another process is at work there.
    """
    names = {path.name for path in out.iterdir()} if out.is_dir() else {""} if out.exists() else set()
    if names - {_LOCK_FILE} and STUDY_FILE not in names:
        raise UsageError(f"{out} holds something that is no search; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}; give another --out") from error
    try:
        lock(descriptor, CrossDistilError(f"another search is at work in {out}; wait for it to end, or give another --out"))
        yield
    finally:
        os.close(descriptor)
