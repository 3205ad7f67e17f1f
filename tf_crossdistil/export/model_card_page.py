# SPDX-License-Identifier: Apache-2.0
"""The model card as a page to read: `MODEL_CARD.md`, made of nothing but what `model_card.json` says."""

from collections.abc import Iterable, Sequence
from typing import Any

from tf_crossdistil.evaluation.results import METRICS
from tf_crossdistil.export.model_card import InputFacts, ModelCard, SplitFacts, TaskFacts, TensorFacts
from tf_crossdistil.metrics.summary import format_amount, format_value

PAGE_FILE = "MODEL_CARD.md"
# By kind of task, in the order of columns.
_METRICS = {
    "binary": {
        "rows": "rows",
        "auc": "AUC",
        "multi_auc": "Multi-AUC",
        "gauc": "GAUC",
        "log_loss": "log loss",
        "normalized_entropy": "normalised entropy",
        "ece": "ECE",
        "calibration_ratio": "calibration ratio",
        "positive_rate": "positive rate",
        "mean_prediction": "mean prediction",
    },
    "regression": {
        "rows": "rows",
        "mse": "MSE",
        "rmse": "RMSE",
        "mae": "MAE",
        "r2": "R²",
        "mean_label": "mean label",
        "mean_prediction": "mean prediction",
    },
}
_FORMATS = {"binary": format_value, "regression": format_amount}


def page(card: ModelCard) -> str:
    """The whole page in Markdown."""
    sections = {
        f"# {card.name}, version {card.version}": _summary(card),
        "## Tasks": _table(["task", "kind", "label"], ([task.name, task.kind, _label(task)] for task in card.tasks)),
        "## Quality on the test split": _test(card),
        "## Quality on the validation split": _validation(card),
        "## Limitations": [f"- {_line(sentence)}" for sentence in card.limitations] or ["None that the data tells."],
        "## Data": _data(card),
        "## Inputs": _inputs(card.inputs),
        "## Signatures": _signatures(card),
        "## How to ask it": _examples(card),
        "## Made with": _table(["package", "version"], card.packages.items()),
    }
    return "\n\n".join("\n".join([heading, "", *lines]) for heading, lines in sections.items()) + "\n"


def _summary(card: ModelCard) -> list[str]:
    facts = {
        "made": card.created.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "backbone": card.backbone,
        "method": card.method,
        "training run": card.run_directory,
        "epoch": f"{card.best_epoch}, checkpoint {card.checkpoint}",
        "configuration": card.configuration_hash,
    }
    if card.mutual is not None:
        facts["mutual towers"] = ", ".join(f"{part} by {kind}" for part, kind in card.mutual.items())
    if card.score is not None:
        facts["score"] = _score(card.score)
    outputs = "its output `score` fuses them" if card.score is not None else "there is no fused score"
    return [
        f"{_answers(card.tasks)} from raw features; {outputs}.",
        "",
        *_table(["", ""], facts.items()),
    ]


def _answers(tasks: Sequence[TaskFacts]) -> str:
    names = {kind: [f"`{task.name}`" for task in tasks if task.kind == kind] for kind in _METRICS}
    said = [f"Probabilities of {', '.join(names['binary'])}"]
    if names["regression"]:
        said.append(f"values of {', '.join(names['regression'])}")
    return " and ".join(said)


def _label(task: TaskFacts) -> str:
    if task.value is None:
        return f"positive where {task.positive}"
    scale = f"mean {format_amount(task.mean)}, deviation {format_amount(task.deviation)} in the training split"
    return f"{task.value}; {scale}"


def _score(score: dict[str, Any]) -> str:
    if score["kind"] == "powers":
        return "product of " + ", ".join(f"{task} ^ {weight:g}" for task, weight in score["weights"].items())
    return "sum of " + ", ".join(f"{weight:g} {task}" for task, weight in score["weights"].items())


def _test(card: ModelCard) -> list[str]:
    if card.test is None:
        return ["Not evaluated."]
    lines = [f"{card.test.rows:,} rows of data run {card.test.data_run}."]
    for kind, titles in _METRICS.items():
        measured = {task.name: card.test.tasks[task.name] for task in card.tasks if task.kind == kind}
        names = [name for name in titles if any(metrics.get(name) is not None for metrics in measured.values())]
        rows = [[task, *(_number(kind, name, metrics.get(name)) for name in names)] for task, metrics in measured.items()]
        if rows:
            lines += ["", *_table(["task", *(titles[name] for name in names)], rows)]
    return lines


def _number(kind: str, name: str, value: float | None) -> str:
    if name == "rows" and value is not None:
        return f"{value:,.0f}"
    return METRICS[name].text(value) if name in METRICS else _FORMATS[kind](value)


def _validation(card: ModelCard) -> list[str]:
    # Names end in the metric, such as `like_auc` and `mse`.
    kinds = {name: "regression" if name.rsplit("_", 1)[-1] in _METRICS["regression"] else "binary" for name in card.validation}
    rows = ([name, _FORMATS[kinds[name]](value)] for name, value in card.validation.items())
    return _table(["metric", f"epoch {card.best_epoch}"], rows)


def _data(card: ModelCard) -> list[str]:
    titles = [f"{'positive rate' if task.value is None else 'mean'} of {task.name}" for task in card.tasks]
    rows = [
        [split, f"{facts.rows:,}", *(_rate(facts, task) for task in card.tasks)] for split, facts in card.data.splits.items()
    ]
    table = _table(["split", "rows", *titles], rows)
    return [f"Data run {card.data.run}, schema {card.data.schema_hash}.", "", *table]


def _rate(facts: SplitFacts, task: TaskFacts) -> str:
    return _FORMATS[task.kind]((facts.positive_rates | facts.label_means).get(task.name))


def _inputs(inputs: Sequence[InputFacts]) -> list[str]:
    titles = ["input", "kind", "type", "shape", "if missing", "vocabulary", "oov buckets", "missing", "oov"]
    return _table(titles, (_input(each) for each in inputs))


def _input(facts: InputFacts) -> list[str]:
    rates = [facts.missing_rate, facts.oov_rate]
    vocabulary = facts.vocabulary_size if facts.hash_buckets is None else f"hashed to {facts.hash_buckets}"
    return [
        facts.name,
        facts.kind,
        facts.type,
        _shape(facts.shape),
        "empty text" if facts.default == "" else "no values" if facts.default == [] else f"{facts.default:g}",
        "" if vocabulary is None else str(vocabulary),
        "" if facts.oov_buckets is None else str(facts.oov_buckets),
        *("" if rate is None else f"{100 * rate:.1f} %" for rate in rates),
    ]


def _signatures(card: ModelCard) -> list[str]:
    rows = [
        [name, facts.method_name.rsplit("/", 1)[-1], _tensors(facts.inputs), _tensors(facts.outputs)]
        for name, facts in card.signatures.items()
    ]
    return _table(["signature", "method", "inputs", "outputs"], rows)


def _tensors(tensors: dict[str, TensorFacts]) -> str:
    return ", ".join(f"{name} {facts.type} {_shape(facts.shape)}" for name, facts in tensors.items())


def _shape(shape: Sequence[int]) -> str:
    """`[batch, n]`: how requests and answers are written everywhere."""
    sizes = ["n" if size < 0 else str(size) for size in shape]
    if shape and shape[0] < 0:
        sizes[0] = "batch"
    return f"[{', '.join(sizes)}]"


def _examples(card: ModelCard) -> list[str]:
    grpc, rest = card.examples.grpc, card.examples.rest
    return ["Through gRPC:", "", "```python", grpc, "```", "", "Through REST:", "", "```sh", rest, "```"]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]


def _line(text: str) -> str:
    return " ".join(text.split())
