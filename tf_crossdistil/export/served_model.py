# SPDX-License-Identifier: Apache-2.0
"""The served model: student towers only, raw features in, probabilities and values out."""

from pathlib import Path

import tensorflow as tf

from tf_crossdistil.data.feature_lookup import FeatureLookup
from tf_crossdistil.data.records import Columns
from tf_crossdistil.export.score import SCORE, Score
from tf_crossdistil.export.signatures import SERVING_SIGNATURE, make_signatures, write_method_names
from tf_crossdistil.models.crossdistil import CrossDistilModel


class ServedModel(tf.Module):
    """The students with their feature look-ups; it tracks the variables that the students read, and nothing else.

    A module that held the network would carry the teachers along, and one that held the compiled model the optimizers
    too. So the network is traced for the students alone, and what the trace captured is what is kept: right for every
    backbone, however it shares variables.

    Args:
        model: the trained model.
        vocabularies: the folder with one file a vocabulary.
        score: a further output, fused from the tasks' answers.

    Raises:
        UsageError: the score does not suit the tasks.
    """

    def __init__(self, model: CrossDistilModel, vocabularies: Path, score: Score | None = None) -> None:
        super().__init__()
        experiment, network = model.experiment, model.network
        if score is not None:
            score.check_tasks(experiment)
        self.lookup = FeatureLookup(experiment, vocabularies)
        lookup = self.lookup

        def answer(raw: Columns) -> dict[str, tf.Tensor]:
            logits = network(lookup(raw), tasks=experiment.task_names, training=False)
            answers = {task: model.task_outputs.answer(task, logits[task]) for task in experiment.task_names}
            return answers if score is None else answers | {SCORE: score(answers)}

        self._experiment = experiment
        self.served_signatures = make_signatures(experiment, answer)
        self.student_variables = list(self.served_signatures[SERVING_SIGNATURE].variables)

    def save(self, directory: Path) -> None:
        """Writes the SavedModel into a folder that is new or empty.

        Raises:
            OSError: it cannot be written.
        """
        tf.saved_model.save(self, str(directory), signatures=self.served_signatures)
        write_method_names(directory, self._experiment)
