# SPDX-License-Identifier: Apache-2.0
"""Training in one process on one device."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tf_crossdistil.data.training_batches import TrainingBatches
from tf_crossdistil.models.crossdistil import CrossDistilModel
from tf_crossdistil.training.strategies.base import AfterStep, Strategy, fit_elements


class OneDevice(Strategy):
    """The first GPU of this host, or its CPU."""

    acts_alone = True
    watches_input = True
    lost_peer_errors = ()

    def scope(self) -> AbstractContextManager[object]:
        """Changes nothing."""
        return nullcontext()

    def fit(
        self, model: CrossDistilModel, batches: TrainingBatches, epoch: int, first_step: int, after_step: AfterStep
    ) -> None:
        """Trains to the end of an epoch; `after_step` is called after each step."""
        fit_elements(model, batches.epoch(epoch, first_step), batches.steps, first_step, after_step)

    def agree(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def checkpoint_directory(self, path: Path) -> Path:
        """The path itself."""
        return path
