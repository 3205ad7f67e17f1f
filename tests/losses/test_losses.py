import numpy as np
import pytest
import tensorflow as tf

from tf_crossdistil.errors import UsageError
from tf_crossdistil.losses.augmented_ranking import augmented_ranking_loss, ranked_pairs
from tf_crossdistil.losses.distillation import correct_errors, soft_label_loss
from tf_crossdistil.losses.student_losses import find_student_loss
from tf_crossdistil.tags import pair_weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_augmented_ranking_loss_equals_eq_4_over_all_pairs_of_draws():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 6)).astype(np.float32)
    minus_minus, minus_plus, plus_minus, plus_plus = logits
    counts = {"00": 50, "01": 5, "10": 30, "11": 15}
    beta1, beta2 = 0.5, 2.0

    def term(above, below):
        return np.mean([[-np.log(sigmoid(a - b)) for b in below] for a in above])

    positive, negative = {"11": 15 / 45, "10": 30 / 45}, {"01": 5 / 55, "00": 50 / 55}
    draws = {"00": minus_minus, "01": minus_plus, "10": plus_minus, "11": plus_plus}
    expected = beta1 * term(plus_plus, plus_minus) + beta2 * term(minus_plus, minus_minus)
    expected += sum(p * n * term(draws[a], draws[b]) for a, p in positive.items() for b, n in negative.items())

    pairs = ranked_pairs(pair_weights(["a", "b"], "a", ["b"], counts, beta1, beta2), [6, 6, 6, 6])
    assert float(augmented_ranking_loss(logits.ravel(), pairs)) == pytest.approx(expected, rel=1e-5)


def test_pairs_of_tags_with_different_draws_weigh_all_draws_alike():
    """Six draws of one tag against three of another, and against one, give the mean over all pairs."""
    logits = np.random.default_rng(0).normal(size=10).astype(np.float32)
    high, low, lowest = logits[:6], logits[6:9], logits[9:]
    weights = np.array([[0, 2, 0.5], [0, 0, 0], [0, 0, 0]], np.float32)

    def mean(below):
        return np.mean(np.log1p(np.exp(below[None, :] - high[:, None])))

    loss = augmented_ranking_loss(logits, ranked_pairs(weights, [6, 3, 1]))
    assert float(loss) == pytest.approx(2 * mean(low) + 0.5 * mean(lowest), rel=1e-5)


@pytest.mark.parametrize("draws", [(4, 4), (40, 40), (3, 50)])
@pytest.mark.parametrize("tasks", [["a", "b"], ["c", "a", "b"]], ids=len)
def test_sampled_augmented_ranking_loss_is_unbiased_with_shared_draws(tasks, draws):
    """The mean over many draws is within three standard errors of Eq. 4 enumerated over all pairs of rows."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, (60, len(tasks)))
    scores = generator.normal(size=len(labels)).astype(np.float32)
    beta1, beta2 = 1.5, 0.5
    target, *auxiliary = [tasks.index(name) for name in ("b", "a", "c") if name in tasks]

    def term(above, below):
        return np.mean([np.log1p(np.exp(low - high)) for high in scores[above] for low in scores[below]])

    own = labels[:, target] == 1
    exact = term(own, ~own)
    for index in auxiliary:
        other = labels[:, index] == 1
        exact += beta1 * term(own & other, own & ~other) + beta2 * term(~own & other, ~own & ~other)

    tags = np.array(["".join(map(str, row)) for row in labels])
    counts = {tag: int((tags == tag).sum()) for tag in sorted(set(tags))}
    weights = pair_weights(tasks, "b", [tasks[index] for index in auxiliary], counts, beta1, beta2)
    sizes = [draws[index % 2] for index in range(len(counts))]
    pairs = ranked_pairs(weights, sizes)
    loss = tf.function(lambda logits: augmented_ranking_loss(logits, pairs))
    estimates = [
        float(
            loss(np.concatenate([generator.choice(scores[tags == tag], size) for tag, size in zip(counts, sizes, strict=True)]))
        )
        for _ in range(1500)
    ]
    assert abs(np.mean(estimates) - exact) < 3 * np.std(estimates) / np.sqrt(len(estimates))


def test_pairs_that_weigh_nothing_neither_count_nor_poison_the_gradient():
    """Rows without a label of the task have a stratum that its loss never compares."""
    weights = pair_weights(["a", "b"], "a", ["b"], {"00": 5, "10": 3, "11": 2, "x1": 4}, 1.0, 1.0)
    logits = tf.Variable([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.inf, np.nan])
    with tf.GradientTape() as tape:
        loss = augmented_ranking_loss(logits, ranked_pairs(weights, [2, 2, 2, 2]))
    gradient = tf.convert_to_tensor(tape.gradient(loss, logits)).numpy()
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert (gradient[6:] == 0).all() and (gradient[:6] != 0).all()


@pytest.mark.parametrize("margin", [-1.0, 0.0, 2.0])
def test_error_correction_lifts_contradicting_logits_to_the_margin_and_keeps_the_others(margin):
    logits = np.linspace(-4, 4, 41, dtype=np.float32)
    for label, sign in ((1.0, 1), (0.0, -1)):
        corrected = correct_errors(logits, np.full_like(logits, label), margin).numpy()
        kept = sign * logits >= margin
        np.testing.assert_array_equal(corrected[kept], logits[kept])
        np.testing.assert_allclose(sign * corrected[~kept], margin)


def test_soft_label_loss_equals_eq_6_and_gives_the_teacher_no_gradient():
    student, teacher = tf.Variable([0.3, -1.2, 2.0]), tf.Variable([1.0, -0.5, -2.0])
    with tf.GradientTape() as tape:
        losses = soft_label_loss(student, tf.sigmoid(teacher / 2.0), temperature=2.0)
        loss = tf.reduce_mean(losses)
    soft, predicted = sigmoid(teacher.numpy() / 2), sigmoid(student.numpy() / 2)
    np.testing.assert_allclose(losses, -soft * np.log(predicted) - (1 - soft) * np.log(1 - predicted), rtol=1e-5)
    student_gradient, teacher_gradient = tape.gradient(loss, [student, teacher])
    np.testing.assert_allclose(student_gradient, (predicted - soft) / 2 / 3, rtol=1e-5)
    assert teacher_gradient is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return tf.reduce_mean(logits)", "one number a row, \\[2\\] for two rows; received shape \\[\\]"),
        ("return logits[:, None]", "received shape \\[2, 1\\]"),
        ("return logits + labels[5]", "fails on two rows"),
    ],
)
def test_own_losses_that_would_spoil_a_training_are_refused(tmp_path, monkeypatch, body, said):
    """A scalar or a column would broadcast against the mask of missing labels."""
    name = f"loss_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"import tensorflow as tf\n\ndef own(labels, logits):\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=said):
        find_student_loss(f"{name}:own")
