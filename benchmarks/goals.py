# SPDX-License-Identifier: Apache-2.0
"""What the numbers of the benchmarks ought to be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A number ought to be at least, or at most, `bound`."""

    bound: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.bound:,g}"

    def met(self, value: float) -> bool:
        """Whether a number reaches the goal."""
        return value <= self.bound if self.at_most else value >= self.bound


GOALS = {
    "step_crossdistil_over_plain": Goal(1.2, at_most=True),
    "step_at_20m_over_10k": Goal(1.4, at_most=True),
    "memory_over_tables": Goal(2.2, at_most=True),
    "multiplications_a_pair_ctfm": Goal(128, at_most=True),
    "multiplications_a_pair_gkd": Goal(1024, at_most=True),
    "examples_over_deepctr_4_7m": Goal(3.0),
    "examples_over_deepctr_33k": Goal(0.9),
    "input_over_training": Goal(5.0),
    "in_memory_examples_per_second": Goal(2_000_000),
    "latency_over_training_model_1": Goal(1.0, at_most=True),
    "latency_over_training_model_64": Goal(1.0, at_most=True),
    "latency_over_training_model_512": Goal(1.0, at_most=True),
    "size_over_training_model": Goal(0.33, at_most=True),
    "latency_over_deepctr_1": Goal(1.0, at_most=True),
    "latency_over_deepctr_64": Goal(1.0, at_most=True),
    "latency_over_deepctr_512": Goal(1.0, at_most=True),
    "latency_ids_over_deepctr_1": Goal(1.0, at_most=True),
    "latency_ids_over_deepctr_64": Goal(1.0, at_most=True),
    "latency_ids_over_deepctr_512": Goal(1.0, at_most=True),
    "export_seconds_5m": Goal(60, at_most=True),
    "load_seconds_5m": Goal(20, at_most=True),
    "lookup_overhead_64": Goal(1.3, at_most=True),
}
