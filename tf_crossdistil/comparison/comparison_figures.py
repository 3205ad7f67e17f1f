# SPDX-License-Identifier: Apache-2.0
"""The metrics of a comparison, method by method and seed by seed."""

from dataclasses import dataclass

from tf_crossdistil.comparison.compare import Comparison
from tf_crossdistil.comparison.method_names import without_suffixes
from tf_crossdistil.comparison.paired_statistics import Estimate, differences, estimate
from tf_crossdistil.comparison.study_table import STUDENTS, TEACHERS
from tf_crossdistil.evaluation.results import METRICS

# By method, task, metric and seed.
_Values = dict[str, dict[str, dict[str, dict[int, float]]]]


@dataclass(frozen=True)
class Figures:
    """The metrics of a comparison over its seeds.

    Attributes:
        comparison: what they are of.
        values: the students', by method, task, metric and seed; undefined values are left out.
        teachers: theirs, alike; a method without teachers has no tasks.
    """

    comparison: Comparison
    values: _Values
    teachers: _Values

    @classmethod
    def of(cls, comparison: Comparison) -> "Figures":
        """Collects them."""
        return cls(comparison, _collected(comparison, "tasks"), _collected(comparison, "teachers"))

    @property
    def baseline(self) -> str:
        """The method that others are compared with."""
        return self.comparison.baseline

    def values_of(self, role: str) -> _Values:
        """The values of students or teachers."""
        return {STUDENTS: self.values, TEACHERS: self.teachers}[role]

    def estimate(self, method: str, task: str, metric: str, role: str = STUDENTS) -> Estimate:
        """The metric of the method's students or teachers over its seeds."""
        return estimate(list(self._by_seed(method, task, metric, role).values()))

    def differences(self, method: str, baseline: str, task: str, metric: str) -> list[float]:
        """The method's students less the baseline's, for each seed that both have."""
        return differences(self._by_seed(method, task, metric), self._by_seed(baseline, task, metric))

    def seeds(self, method: str) -> set[int]:
        """Those with which the method has a result."""
        return {result.seed for result in self.comparison.results if result.method == method}

    @property
    def with_suffixes(self) -> list[str]:
        """The methods that have suffixes, and beside which the same without any was measured."""
        methods = self.comparison.methods
        return [name for name in methods if name != (plain := without_suffixes(name)) and plain in methods]

    def tasks_with(self, metric: str) -> list[str]:
        """The tasks that have a metric, in order; empty where no cell has a result."""
        measured = next((tasks for tasks in self.values.values() if tasks), {})
        return [task for task, metrics in measured.items() if metric in metrics]

    def _by_seed(self, method: str, task: str, metric: str, role: str = STUDENTS) -> dict[int, float]:
        return self.values_of(role)[method].get(task, {}).get(metric, {})


def _collected(comparison: Comparison, role: str) -> _Values:
    """The metrics that summaries have of a role."""
    values: _Values = {method: {} for method in comparison.methods}
    for result in comparison.results:
        for task, metrics in result.summary[role].items():
            # A summary holds more than metrics, such as the number of rows.
            for metric in (metric for metric in metrics if metric in METRICS):
                by_seed = values[result.method].setdefault(task, {}).setdefault(metric, {})
                if metrics[metric] is not None:
                    by_seed[result.seed] = metrics[metric]
    return values
