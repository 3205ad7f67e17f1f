# SPDX-License-Identifier: Apache-2.0
"""What a user of a model should know of its weak places, as far as its data tells."""

from tf_crossdistil.config import Experiment, MultiValueFeature, VocabularyFeature
from tf_crossdistil.evaluation.record import Evaluation
from tf_crossdistil.metrics.summary import format_value
from tf_crossdistil.schema import Metadata

# Out-of-vocabulary values above this share of a split are told.
_NOTABLE = 0.05


def find_limitations(experiment: Experiment, metadata: Metadata, evaluation: Evaluation | None) -> list[str]:
    """A sentence on each weak place.

    Args:
        experiment: the configuration.
        metadata: of the data that the model was trained on.
        evaluation: of the model on the test split, where there is one.
    """
    return [
        *_of_evaluation(metadata, evaluation),
        *_of_values(experiment, metadata),
        *_of_vocabularies(experiment, metadata),
        *_of_rows(experiment, metadata),
    ]


def _of_evaluation(metadata: Metadata, evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["The test split was not evaluated: the validation metrics chose the epoch, and so flatter the model."]
    sentences = []
    if evaluation.data_run != metadata.run:
        sentences.append(f"The test metrics are of data run {evaluation.data_run}, and the run was trained on {metadata.run}.")
    for task, metrics in evaluation.summary["tasks"].items():
        entropy, explained = metrics.get("normalized_entropy"), metrics.get("r2")
        if entropy is not None and entropy > 1:
            sentences.append(
                f"The normalised entropy of {task} is {format_value(entropy)}: its probabilities are worse than the same one, "
                "its positive rate, for every row."
            )
        if explained is not None and explained < 0:
            sentences.append(
                f"The R² of {task} is {format_value(explained)}: its values are worse than the same one, the label's mean, for "
                "every row."
            )
    unlabelled = [task for task, metrics in evaluation.summary["tasks"].items() if not metrics["rows"]]
    return [*sentences, *(f"No row of the test split has a label of {task}." for task in unlabelled)]


def _of_values(experiment: Experiment, metadata: Metadata) -> list[str]:
    labels = {task: metadata.numeric[task] for task in experiment.regression_names}
    return [
        f"A value of {task} has no bounds, and may leave the range of its labels in the training split, "
        f"{label.minimum:,g} to {label.maximum:,g}."
        for task, label in labels.items()
    ]


def _of_vocabularies(experiment: Experiment, metadata: Metadata) -> list[str]:
    sentences = []
    if metadata.vocabulary_from is not None:
        sentences.append(f"Vocabularies and statistics are those of data run {metadata.vocabulary_from}, not the data's own.")
    # The split that is nearest to what will be asked.
    split = next(name for name in ("test", "validation", "train") if sum(metadata.counts.get(name, {}).values()))
    if split not in metadata.rates:
        return sentences
    rates = metadata.rates[split]
    for feature in experiment.features:
        share = rates.oov.get(feature.name, 0.0)
        if isinstance(feature, VocabularyFeature) and share > _NOTABLE:
            buckets = experiment.vocabulary_owner(feature).oov_buckets
            sentences.append(
                f"{100 * share:.1f} % of the values of {feature.name} in the {split} split are out of its vocabulary and share "
                f"{buckets} oov embedding{'' if buckets == 1 else 's'}."
            )
    return sentences


def _of_rows(experiment: Experiment, metadata: Metadata) -> list[str]:
    longest = {feature.name: feature.max_length for feature in experiment.features if isinstance(feature, MultiValueFeature)}
    sentences = [
        f"{rows:,} rows have more values of {name} than the {longest[name]} that the model reads."
        for name, rows in sorted(metadata.truncated.items())
        if rows
    ]
    if left_out := sum(metadata.dead_letters.values()):
        sentences.append(f"{left_out:,} of {metadata.rows_in:,} rows of the logs could not be read and were left out.")
    return [*sentences, *(f"Preparing the data warned: {warning}." for warning in metadata.warnings)]
