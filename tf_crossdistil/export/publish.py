# SPDX-License-Identifier: Apache-2.0
"""A run's students published as a version of a served model."""

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from tf_crossdistil.errors import CrossDistilError, UsageError
from tf_crossdistil.evaluation.record import Evaluation, read_evaluations
from tf_crossdistil.export.check import check_answers
from tf_crossdistil.export.live_model import live_answers
from tf_crossdistil.export.model_card import JSON_FILE, ModelCard, describe, read_signatures
from tf_crossdistil.export.model_card_page import PAGE_FILE, page
from tf_crossdistil.export.score import Score
from tf_crossdistil.export.served_model import ServedModel
from tf_crossdistil.export.signatures import SERVING_SIGNATURE, classify_signature, regress_signature
from tf_crossdistil.export.versions import clear_dead, find_versions, only_publisher, prune, publish, workspace
from tf_crossdistil.export.warm_up import read_sample, write_warm_up
from tf_crossdistil.model_versions import HIGHEST_VERSION
from tf_crossdistil.models.run import BestEpoch, Run
from tf_crossdistil.models.run_vocabularies import checked_vocabularies
from tf_crossdistil.training.reasons import reason_of


@dataclass(frozen=True)
class Exported:
    """A published version.

    Attributes:
        directory: its folder.
        variables: how many it has.
        bytes: of all its files.
        difference: the largest between its answers and the live model's, over the run's sample rows, as `check_answers` has it.
        warnings: a sentence on each thing that its user should know.
    """

    directory: Path
    variables: int
    bytes: int
    difference: float
    warnings: list[str]

    @property
    def card(self) -> Path:
        """The model card to read."""
        return self.directory / PAGE_FILE


def export(run: Run, target: Path, version: int | None = None, score: Score | None = None, keep: int | None = None) -> Exported:
    """Writes the students of a run's best epoch as `target/<version>`, which appears whole and checked, or not at all.

    Args:
        run: a training run.
        target: the model's folder, `DIR/NAME`; NAME is the name that clients ask for.
        version: default one more than the newest there, or 1.
        score: a further output; default none.
        keep: how many of the newest versions stay, beside this one; default all.

    Raises:
        UsageError: the version exists already or is no positive 63-bit integer, `keep` is below 1, the score does not suit
            the tasks, or the target is itself a version, a file, or has no name that a model can have.
        CrossDistilError: the run has no finished epoch, its vocabularies are not those it was trained with, the version's
            answers are not the live model's, or the target cannot be written.
    """
    _check_arguments(target, version, keep)
    name = _model_name(target)
    if score is not None:
        score.check_tasks(run.experiment)
    epoch, rows, vocabularies = run.best_epoch(), _sample(run), checked_vocabularies(run)
    try:
        target.mkdir(parents=True, exist_ok=True)
        warnings = clear_dead(target)
        evaluation = _test_evaluation(run, epoch, warnings)
        with workspace(target) as aside:
            ready = aside / "version"
            model = run.load(epoch)
            served = ServedModel(model, vocabularies, score)
            served.save(ready)
            write_warm_up(ready, name, run.experiment, rows)
            live = partial(live_answers, run, model=model)
            difference = check_answers(ready, live, run.experiment, run.metadata, rows, score)
            directory = None
            with only_publisher(target):
                while directory is None:
                    number = _number(target, version)
                    card = describe(run, epoch, evaluation, score, rows, ready, name, number)
                    _write_card(ready, card)
                    size = sum(path.stat().st_size for path in ready.rglob("*") if path.is_file())
                    directory = publish(ready, target, number)
                warnings += _other_outputs(target, card)
            if keep is not None:
                warnings += prune(target, keep, directory, aside)
    except (OSError, tf.errors.OpError) as error:
        raise CrossDistilError(
            f"cannot export to {target}: {_reason(error)}; no version was written; make room, or give another --to"
        ) from error
    if number < (newest := max(find_versions(target), default=number)):
        warnings.append(
            f"version {number} is not the newest, which is {newest}, and TF Serving serves the newest; name the version in its "
            "configuration to have this one served"
        )
    return Exported(directory, len(served.student_variables), size, difference, warnings)


def _check_arguments(target: Path, version: int | None, keep: int | None) -> None:
    if version is not None and not 1 <= version <= HIGHEST_VERSION:
        raise UsageError(f"--version must be from 1 to {HIGHEST_VERSION}; received {version}")
    if keep is not None and keep < 1:
        raise UsageError(f"--keep must be at least 1; received {keep}")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file, and a model's versions need a folder; give DIR/NAME")
    if (target / "saved_model.pb").exists():
        raise UsageError(f"{target} is itself a version; give the folder above it, and the number by --version")
    _number(target, version)


def _model_name(target: Path) -> str:
    """What clients ask for: the last part of the path; a link goes by its own name."""
    name = (target.resolve() if target.name in ("", "..") else target).name
    # TF Serving's REST addresses have a colon behind the name.
    if not name or ":" in name or not name.isprintable():
        raise UsageError(
            f"--to must be DIR/NAME, where NAME is what clients ask for, printable and without ':'; received '{target}', whose "
            f"name is {name!r}"
        )
    return name


def _number(target: Path, version: int | None) -> int:
    """The number that the version gets, as the folder is now."""
    found = find_versions(target)
    if version is None:
        version = max(found, default=0) + 1
        if version > HIGHEST_VERSION:
            raise UsageError(f"{target} has a version {HIGHEST_VERSION}, the highest that there is; give a --version")
    elif version in found:
        raise UsageError(f"{found[version]} exists already; give another --version, or none for the next one")
    return version


def _sample(run: Run) -> list[dict[str, Any]]:
    mending = f"restore it from the prepared data, run {run.metadata.run}, or train again, in another --run"
    try:
        rows = read_sample(run.sample_file)
    except (OSError, ValueError) as error:
        raise CrossDistilError(f"cannot read {run.sample_file}: {error}; {mending}") from error
    if not rows:
        raise CrossDistilError(f"{run.sample_file} has no rows to check the export with; {mending}")
    return rows


def _test_evaluation(run: Run, epoch: BestEpoch, warnings: list[str]) -> Evaluation | None:
    """The evaluation of the exported weights on the test split, where there is one; a warning where it is not of the training's
    data, or there is none.
    """
    lacking, evaluation = "the test split was not evaluated", None
    try:
        evaluations = read_evaluations(run, "test")
        evaluation = next((each for each in evaluations if each.is_of(epoch)), None)
        if evaluations:
            lacking = f"the test split was evaluated before epoch {epoch.number}, which is exported, became the best"
    except CrossDistilError as error:
        lacking = str(error)
    trained_on = run.metadata.run
    if evaluation is None:
        fault = f"{lacking}, so the model card lacks test metrics"
    elif evaluation.data_run != trained_on:
        fault = f"the model card's test metrics are of data run {evaluation.data_run}, and the run was trained on {trained_on}"
    else:
        return evaluation
    warnings.append(
        f"{fault}: run `crossdistil evaluate --run {shlex.quote(str(run.directory))} --data DIR --split test`, with data run "
        f"{trained_on} as DIR, then export again"
    )
    return evaluation


def _other_outputs(target: Path, card: ModelCard) -> list[str]:
    """A sentence where the newest of a model's other versions has other outputs, or tasks of other kinds."""
    others = [number for number in find_versions(target) if number != card.version]
    try:
        newest = max(others)
        signatures = read_signatures(find_versions(target)[newest])
        former = signatures[SERVING_SIGNATURE].outputs
    except (ValueError, KeyError, IndexError, OSError, DecodeError):
        # There is none, or it is none of ours.
        return []
    outputs = card.signatures[SERVING_SIGNATURE].outputs
    if outputs.keys() == former.keys():
        return [
            f"'{task.name}' is of another kind in version {card.version} than in version {newest}, one of which answers a "
            "probability and the other a value: a client takes the one for the other; export to another --to"
            for task in card.tasks
            if regress_signature(task.name) in signatures
            and (classify_signature(task.name) in card.signatures) != (classify_signature(task.name) in signatures)
        ]
    return [
        f"version {card.version} answers {', '.join(outputs)}, and version {newest} {', '.join(former)}: a client that asks "
        "for what only one of them has fails on the other; if it is not meant, export with the same --score as before, or none"
    ]


def _write_card(ready: Path, card: ModelCard) -> None:
    (ready / JSON_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (ready / PAGE_FILE).write_text(page(card), encoding="utf-8")


def _reason(error: OSError | tf.errors.OpError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return reason_of(error)
