# SPDX-License-Identifier: Apache-2.0
"""What the model card tells of a model's weak places."""

from tf_crossdistil.evaluation.record import Evaluation
from tf_crossdistil.export.limitations import find_limitations


def test_a_task_that_is_worse_than_its_rate_is_told(shared_experiment, trained):
    tasks = {task: {"rows": 9, "normalized_entropy": entropy} for task, entropy in (("finish", 0.97), ("like", 1.0123))}
    worse = Evaluation(split="test", data_run=trained.metadata.run, epoch=1, checkpoint="0", summary={"tasks": tasks}, means={})
    told = [text for text in find_limitations(shared_experiment, trained.metadata, worse) if "entropy" in text]
    (sentence,) = told
    assert sentence.startswith("The normalised entropy of like is 1.0123: its probabilities are worse than ")


def test_weak_places_are_told(shared_experiment, trained):
    rates = trained.metadata.rates["test"]
    assert rates.oov["user"] > 0.05 > rates.oov["tags"]
    plain = find_limitations(shared_experiment, trained.metadata, None)
    share = f"{100 * rates.oov['user']:.1f} % of the values of user in the test split are out of its vocabulary and share 5 oov"
    assert any(sentence.startswith(share) for sentence in plain)
    user, *others = shared_experiment.features
    one = shared_experiment.model_copy(update={"features": [user.model_copy(update={"oov_buckets": 1}), *others]})
    assert any("and share 1 oov embedding." in sentence for sentence in find_limitations(one, trained.metadata, None))
    assert not any("values of tags in the test" in sentence for sentence in plain)
    assert f"{trained.metadata.truncated['tags']:,} rows have more values of tags than the 4 that the model reads." in plain
    metadata = trained.metadata.model_copy(
        update={
            "warnings": ["thin"],
            "dead_letters": {"bad": 1000, "worse": 234},
            "rows_in": 5234,
            "vocabulary_from": "0123",
            "counts": {"train": trained.metadata.counts["train"]},
        }
    )
    told = find_limitations(shared_experiment, metadata, None)
    assert "Preparing the data warned: thin." in told
    assert "1,234 of 5,234 rows of the logs could not be read and were left out." in told
    assert any("those of data run 0123" in sentence for sentence in told)
    assert any("in the train split" in sentence for sentence in told)
