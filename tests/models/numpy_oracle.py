# SPDX-License-Identifier: Apache-2.0
"""CrossDistil on PLE in plain NumPy, written from the papers' equations and sharing no code with the package.

Everything works on complex numbers: the derivative by a parameter is the imaginary part after a tiny imaginary step, exact
to rounding, so that no gradient is derived by hand.
"""

import numpy as np

STEP = 1e-30
SHARED = "(shared)"
BINARY = ("finish", "like")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def relu(x):
    return np.where(x.real > 0, x, 0)


def softmax(x):
    exponential = np.exp(x - x.real.max(axis=1, keepdims=True))
    return exponential / exponential.sum(axis=1, keepdims=True)


def cross_entropy(target, logit):
    return softplus(logit) - target * logit


def parameters_of(model):
    """Every trainable array of the model by a readable name, and the variable it came from."""
    network = model.network
    (encoder,) = network.encoders.values()
    variables = {name: table.embeddings for name, table in encoder.tables.items()}
    variables["age"] = encoder.encoders["age"].table.embeddings
    for depth, level in enumerate(network.backbone.levels):
        for owner, experts in level.experts.items():
            for index, expert in enumerate(experts):
                variables[f"expert/{depth}/{owner}/{index}/w"], variables[f"expert/{depth}/{owner}/{index}/b"] = expert.dense[
                    0
                ].weights
        for owner, gate in level.gates.items():
            variables[f"gate/{depth}/{owner}/w"], variables[f"gate/{depth}/{owner}/b"] = gate.weights
    for task, tower in network.towers.items():
        variables[f"tower/{task}/w"], variables[f"tower/{task}/b"] = tower.hidden.dense[0].weights
        variables |= dict(zip([f"logit/{task}/w", f"logit/{task}/b"], tower.logit.weights, strict=False))
    return variables


def pooled(table, ids, weights):
    """The weighted sum of the embeddings of each row's ids, and the sum of their weights; id 0 is padding."""
    counted = weights * (ids > 0)
    return (counted[:, :, None] * table[ids]).sum(axis=1), counted.sum(axis=1, keepdims=True)


def encode(p, features):
    """The features of `small_experiment`, side by side."""
    duration = (features["duration"].astype(np.float64) - 2.0) / 4.0
    tags, weight = pooled(p["tags"], features["tags"], features["tags_weights"])
    friends, _ = pooled(p["user"], features["friends"], np.ones(features["friends"].shape))
    bucket = (features["age"] >= 1.5).astype(int) + (features["age"] >= 4.0)
    return np.concatenate(
        [
            p["user"][features["user"]],
            p["author"][features["author"]],
            duration[:, None],
            tags / np.where(weight, weight, 1),
            friends,
            p["age"][bucket],
        ],
        axis=1,
    )


def forward(p, features, students, teachers, levels):
    """Logits of all tasks by PLE (Tang et al. 2020, Eq. 1-6)."""
    tasks = [*students, *teachers]
    state = dict.fromkeys([*tasks, SHARED], encode(p, features))
    for depth in range(levels):

        def experts_of(owner, depth=depth, state=state):
            count = 2 if owner == SHARED else 1
            names = [f"expert/{depth}/{owner}/{index}" for index in range(count)]
            return [relu(state[owner] @ p[name + "/w"] + p[name + "/b"]) for name in names]

        def gated(owner, reads, depth=depth, state=state, experts_of=experts_of):
            gate = softmax(state[owner] @ p[f"gate/{depth}/{owner}/w"] + p[f"gate/{depth}/{owner}/b"])
            outputs = [output for other in reads for output in experts_of(other)]
            return sum(gate[:, [index]] * output for index, output in enumerate(outputs))

        following = {task: gated(task, [task, SHARED]) for task in tasks}
        if depth < levels - 1:
            following[SHARED] = gated(SHARED, [*students, SHARED])
        state = following
    logits = {}
    for task in tasks:
        hidden = relu(state[task] @ p[f"tower/{task}/w"] + p[f"tower/{task}/b"])
        logits[task] = (hidden @ p[f"logit/{task}/w"])[:, 0] + p.get(f"logit/{task}/b", 0)
    return logits


def losses(p, batch, soft_labels, settings, counts, levels=1, students=BINARY, standard=(0.0, 1.0)):
    """All terms of the model's loss; `soft_labels` `[rows, 2]` are constants, since teachers get no gradient from them.

    Students other than the two are regressions, of labels with this mean and deviation.
    """
    teachers = ["finish+", "like+"]
    logits = forward(p, batch["features"], students, teachers, levels)
    task_weights = {"finish": 1.0, "like": 0.5}
    terms = {}
    for task, labels in zip(students, batch["labels"].T, strict=True):
        natural = logits[task]
        if task not in BINARY:
            terms[task] = (((labels - standard[0]) / standard[1] - natural) ** 2).mean()
            continue
        weight = task_weights[task]
        terms[task] = weight * (1 - settings.alpha) * cross_entropy(labels, natural).mean()
        soft = cross_entropy(soft_labels[:, BINARY.index(task)], natural / settings.temperature).mean()
        terms[f"{task}/distillation"] = weight * settings.alpha * soft
    ranked = forward(p, batch["strata"], students, teachers, levels)
    drawn = {task: ranked[task].reshape(4, -1) for task in teachers}

    def pairs(scores, above, below):
        return softplus(scores[below][None, :] - scores[above][:, None]).mean()

    minus_minus, minus_plus, plus_minus, plus_plus = range(4)
    for task, finer_positive, finer_negative, positive, negative in (
        ("finish+", (plus_plus, plus_minus), (minus_plus, minus_minus), (plus_plus, plus_minus), (minus_plus, minus_minus)),
        ("like+", (plus_plus, minus_plus), (plus_minus, minus_minus), (plus_plus, minus_plus), (plus_minus, minus_minus)),
    ):
        scores = drawn[task]
        value = settings.beta1 * pairs(scores, *finer_positive) + settings.beta2 * pairs(scores, *finer_negative)
        of = [counts["00"], counts["01"], counts["10"], counts["11"]]
        for above in positive:
            for below in negative:
                chance = of[above] / sum(of[i] for i in positive) * of[below] / sum(of[i] for i in negative)
                value = value + chance * pairs(scores, above, below)
        terms[task] = settings.ranking_weight * value
    return terms


def soft_labels_of(p, batch, scale, offset, settings, levels=1, students=BINARY):
    """Eq. 8 and 10: calibrated, corrected teacher probabilities at the temperature."""
    logits = forward(p, batch["features"], students, ["finish+", "like+"], levels)
    teacher = np.stack([logits["finish+"], logits["like+"]], axis=1).real
    sign = 2 * batch["labels"][:, [students.index(task) for task in BINARY]] - 1
    corrected = sign * np.maximum(sign * (scale * teacher + offset), settings.margin)
    return sigmoid(corrected / settings.temperature), teacher


def gradients(p, loss):
    """The derivative of `loss(p)` by every entry of every array."""
    result = {}
    for name, value in p.items():
        gradient = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.copy()
            moved[index] += 1j * STEP
            gradient[index] = loss(p | {name: moved}).imag / STEP
        result[name] = gradient
    return result


def adagrad_step(value, gradient, rate):
    """Duchi et al. 2011, as Keras has it, with accumulators that start at 1e-5."""
    return value - rate * gradient / (np.sqrt(1e-5 + gradient**2) + 1e-7)


def adam_step(value, gradient, rate):
    """The first step of Kingma and Ba 2015 in its rearranged form (end of their section 2)."""
    mean, square = 0.1 * gradient, 0.001 * gradient**2
    return value - rate * np.sqrt(1 - 0.999) / (1 - 0.9) * mean / (np.sqrt(square) + 1e-7)
