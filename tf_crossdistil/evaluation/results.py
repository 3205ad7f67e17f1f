"""What was measured of each method, and the rows in which every table shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tf_crossdistil.metrics.predictions import Predictions


@dataclass(frozen=True)
class MethodResult:
    """One trained method.

    Attributes:
        name: how tables and plots call it.
        summary: of `tf_crossdistil.metrics.summary.summarize`.
        predictions: what the summary was computed from.
        history: one entry an epoch, each with `epoch` from 1 and the numbers logged at its end.
    """

    name: str
    summary: dict[str, Any]
    predictions: Predictions
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Metric:
    """A metric of a task in a summary: its title, and whether more of it is better."""

    title: str
    higher_is_better: bool


METRICS = {
    "auc": Metric("AUC", higher_is_better=True),
    "multi_auc": Metric("Multi-AUC", higher_is_better=True),
    "log_loss": Metric("Log loss", higher_is_better=False),
    "ece": Metric("ECE", higher_is_better=False),
}


@dataclass(frozen=True)
class ResultRow:
    """One metric of one task: the value of each method and the best reachable one; None where undefined or unknown."""

    task: str
    metric: Metric
    values: list[float | None]
    reachable: float | None

    def is_best(self, value: float | None) -> bool:
        """Whether no method has a better value."""
        choose = max if self.metric.higher_is_better else min
        return value is not None and value == choose(known for known in self.values if known is not None)


def result_rows(summaries: Sequence[dict[str, Any]]) -> list[ResultRow]:
    """Every task's metrics over the summaries of several methods on the same rows, task by task."""
    reachable: dict[str, dict[str, float | None]] = next((summary["best"] for summary in summaries if "best" in summary), {})
    return [
        ResultRow(task, metric, [summary["tasks"][task][key] for summary in summaries], reachable.get(task, {}).get(key))
        for task in summaries[0]["tasks"]
        for key, metric in METRICS.items()
    ]
