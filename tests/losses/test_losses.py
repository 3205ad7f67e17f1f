# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_model import small_experiment
from tf_crossdistil.errors import UsageError
from tf_crossdistil.losses.augmented_ranking import augmented_ranking_loss
from tf_crossdistil.losses.distillation import correct_errors, soft_label_loss
from tf_crossdistil.losses.student_losses import cross_entropy, find_student_loss, squared_error, student_losses
from tf_crossdistil.tags import pair_weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_augmented_ranking_loss_equals_eq_4_over_all_pairs_of_draws():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 8)).astype(np.float32)
    minus_minus, minus_plus, plus_minus, plus_plus = logits
    counts = {"00": 50, "01": 5, "10": 30, "11": 15}
    beta1, beta2 = 0.5, 2.0

    def term(above, below):
        return np.mean([[-np.log(sigmoid(a - b)) for b in below] for a in above])

    positive, negative = {"11": 15 / 45, "10": 30 / 45}, {"01": 5 / 55, "00": 50 / 55}
    draws = {"00": minus_minus, "01": minus_plus, "10": plus_minus, "11": plus_plus}
    expected = beta1 * term(plus_plus, plus_minus) + beta2 * term(minus_plus, minus_minus)
    expected += sum(p * n * term(draws[a], draws[b]) for a, p in positive.items() for b, n in negative.items())

    weights = pair_weights(["a", "b"], "a", ["b"], counts, beta1, beta2)
    assert float(augmented_ranking_loss(logits, weights)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("tags", [2, 40, 60])
def test_more_draws_are_compared_block_by_block_and_the_parts_of_replicas_add_up(tags):
    """Every draw takes part, in as many pairs as any other; the mean over halves of the draws is the whole."""
    generator = np.random.default_rng(0)
    weights = np.triu(generator.random((tags, tags)), 1).astype(np.float32)
    logits = tf.constant(generator.normal(size=(tags, 48)), tf.float32)
    halves = [float(augmented_ranking_loss(half, weights)) for half in (logits[:, :16], logits[:, 16:32], logits[:, 32:])]
    assert float(augmented_ranking_loss(logits, weights)) == pytest.approx(np.mean(halves), rel=1e-5)
    alike = tf.Variable(tf.zeros([tags, 48]))
    with tf.GradientTape() as tape:
        loss = augmented_ranking_loss(alike, weights)
    gradient = tape.gradient(loss, alike).numpy()
    np.testing.assert_allclose(gradient, np.tile((weights.sum(0) - weights.sum(1))[:, None] / 96, 48), atol=1e-6)


@pytest.mark.parametrize("draws", [8, 40])
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
    loss = tf.function(lambda logits: augmented_ranking_loss(logits, weights))
    estimates = [float(loss(np.stack([generator.choice(scores[tags == tag], draws) for tag in counts]))) for _ in range(1500)]
    assert abs(np.mean(estimates) - exact) < 3 * np.std(estimates) / np.sqrt(len(estimates))


def test_pairs_that_weigh_nothing_neither_count_nor_poison_the_gradient():
    """Rows without a label of the task have a stratum that its loss never compares."""
    weights = pair_weights(["a", "b"], "a", ["b"], {"00": 5, "10": 3, "11": 2, "x1": 4}, 1.0, 1.0)
    logits = tf.Variable(np.vstack([np.arange(24.0).reshape(3, 8) / 10, [[np.inf, np.nan] * 4]]), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = augmented_ranking_loss(logits, weights)
    gradient = tf.convert_to_tensor(tape.gradient(loss, logits)).numpy()
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert (gradient[3] == 0).all() and (gradient[:3] != 0).all()


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


def test_squared_error_and_its_gradient():
    targets, outputs = np.array([0.5, -2.0, 3.0], np.float32), tf.constant([1.5, -2.0, -1.0])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        losses = squared_error(tf.constant(targets), outputs)
    np.testing.assert_allclose(losses, [1.0, 0.0, 16.0])
    np.testing.assert_allclose(tape.gradient(losses, outputs), [2.0, 0.0, -8.0])


def test_every_task_has_the_loss_of_its_kind_in_order():
    tasks = [{"name": name, "column": name, "kind": kind} for name, kind in (("a", "regression"), ("b", "binary"))]
    assert student_losses(small_experiment(tasks=tasks)) == [squared_error, cross_entropy]
