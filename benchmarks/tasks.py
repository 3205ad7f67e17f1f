# SPDX-License-Identifier: Apache-2.0
"""What more tasks cost: a training step with 2, 4, 8 and 16 tasks, of networks with and without mutual learning.

python -m benchmarks.tasks --json tasks.json

Networks are the plain one, with CTFM (`model.mutual.features: ctfm`), with GKD (`model.mutual.distillation: gkd`), with both,
and CrossDistil without and with both. All have the same rows: 4096, ten features of dimension 16, four experts of 64 units,
towers of 32, dropout 0.1. CrossDistil draws 128 rows of each label combination on top; tasks are a funnel, so that there is one
combination more than tasks. Steps of all networks take turns in one process on one core; medians of its processor time count.

`step_NETWORK_over_plain_8`: the step over that of the plain network with as many tasks. `extra_growth_NETWORK_8`: what the step
takes beyond that, over the same with half the tasks: 2 where the cost is linear in the tasks, 4 where it is quadratic.

`multiplications_plain_8` are those of the students' forward pass of one row, counted in the graph; `multiplications_NETWORK_8`
are those that are added, and with T tasks `multiplications_a_task_NETWORK * T + multiplications_a_pair_NETWORK * T * T`.
A pair of tasks costs CTFM twice the width of what the backbone gives (64 here): an entry of the attention matrix, and a share
in what that mixes. GKD's equation itself has a matrix for each pair, since each task's information is one dense layer of all
last hidden layers: a pair costs the square of their units (32 here).
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.numbers_file import add_json_option, write_numbers
from tf_crossdistil.startup import load_tensorflow

TASKS = (2, 4, 8, 16)
_STEPS_A_TURN = 5
# Variants whose multiplications are told apart; CrossDistil's students are those of its plain network.
COUNTED = ("ctfm", "gkd", "both")


def measure(tasks: Sequence[int], backbone: str, batch_size: int, turns: int) -> dict[str, float]:
    """All numbers, from steps in this process, which is pinned to one core before TensorFlow is loaded."""
    load_tensorflow()
    import tensorflow as tf

    from benchmarks.task_steps import VARIANTS, TaskSteps, multiplications, tasks_experiment

    # Each model has a step of its own, which it warns of.
    tf.get_logger().setLevel("ERROR")
    console = Console(stderr=True)
    cells = [(variant, count) for count in tasks for variant in VARIANTS]
    steps = {
        (variant, count): TaskSteps(tasks_experiment(count, variant, backbone, batch_size))
        for variant, count in track(cells, "making models", console=console)
    }
    seconds: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    for _ in track(range(turns), "training steps", console=console):
        for cell in cells:
            seconds[cell] += [steps[cell].seconds() for _ in range(_STEPS_A_TURN)]
    medians = {cell: median(values) for cell, values in seconds.items()}
    counted = [(variant, count) for variant, count in cells if variant in ("plain", *COUNTED)]
    counts = {cell: multiplications(steps[cell].model) for cell in counted}
    return step_numbers(medians, tasks) | multiplication_numbers(counts, tasks)


def step_numbers(medians: Mapping[tuple[str, int], float], tasks: Sequence[int]) -> dict[str, float]:
    """Milliseconds, ratios to the plain network, and growth of the difference, from seconds by variant and number of tasks."""
    variants = list(dict.fromkeys(variant for variant, _ in medians))
    result = {f"step_milliseconds_{variant}_{count}": 1000 * value for (variant, count), value in medians.items()}
    for variant in variants[1:]:
        extra = {count: medians[variant, count] - medians["plain", count] for count in tasks}
        result |= {f"step_{variant}_over_plain_{count}": 1 + extra[count] / medians["plain", count] for count in tasks}
        result |= {f"extra_growth_{variant}_{count}": extra[count] / extra[before] for before, count in pairwise(tasks)}
    return result


def multiplication_numbers(counts: Mapping[tuple[str, int], int], tasks: Sequence[int]) -> dict[str, float]:
    """The plain network's multiplications, what variants add, and how that is made of tasks and of pairs of tasks."""
    result: dict[str, float] = {f"multiplications_plain_{count}": counts["plain", count] for count in tasks}
    for variant in COUNTED:
        added = {count: counts[variant, count] - counts["plain", count] for count in tasks}
        result |= {f"multiplications_{variant}_{count}": value for count, value in added.items()}
        few, many = tasks[0], tasks[-1]
        a_pair = (added[many] / many - added[few] / few) / (many - few)
        result[f"multiplications_a_task_{variant}"] = added[few] / few - a_pair * few
        result[f"multiplications_a_pair_{variant}"] = a_pair
    return result


def show(result: Mapping[str, float], tasks: Sequence[int], console: Console) -> None:
    """Prints steps and multiplications as two tables, a row a network."""
    prefix = "step_milliseconds_"
    names = dict.fromkeys(name.removeprefix(prefix).rsplit("_", 1)[0] for name in result if name.startswith(prefix))
    steps = Table("network", title="a step in ms, over the plain network, and growth of the extra cost from half the tasks")
    added = Table("network", title="multiplications a row and forward pass; below plain, those that are added")
    for count in tasks:
        steps.add_column(f"{count} tasks", justify="right")
        added.add_column(f"{count} tasks", justify="right")
    added.add_column("of T tasks", justify="right")
    for variant in names:
        steps.add_row(variant, *(_step_cell(result, variant, count) for count in tasks))
    for variant in ("plain", *COUNTED):
        key = f"_{variant}"
        formula = (
            f"{result['multiplications_a_task' + key]:,.0f} T + {result['multiplications_a_pair' + key]:,.0f} T²"
            if variant in COUNTED
            else ""
        )
        added.add_row(variant, *(f"{result[f'multiplications{key}_{count}']:,.0f}" for count in tasks), formula)
    console.print(steps, added)


def _step_cell(result: Mapping[str, float], variant: str, count: int) -> str:
    shown = f"{result[f'step_milliseconds_{variant}_{count}']:.1f}"
    if f"step_{variant}_over_plain_{count}" in result:
        shown += f"  {result[f'step_{variant}_over_plain_{count}']:.2f}x"
    if f"extra_growth_{variant}_{count}" in result:
        shown += f"  {result[f'extra_growth_{variant}_{count}']:+.1f}"
    return shown


def main() -> None:
    """Prints the tables, and writes the numbers as JSON on request."""
    parser = argparse.ArgumentParser(description="Training steps by the number of tasks, with and without mutual learning.")
    parser.add_argument("--tasks", type=int, nargs="+", default=TASKS, help="numbers of tasks, each twice the last")
    parser.add_argument("--backbone", default="mmoe", help="such as mmoe (default) or shared_bottom")
    parser.add_argument("--batch-size", type=int, default=4096, help="rows of a step (default 4096)")
    parser.add_argument("--turns", type=int, default=8, help=f"turns of {_STEPS_A_TURN} steps each (default 8)")
    add_json_option(parser)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = measure(arguments.tasks, arguments.backbone, arguments.batch_size, arguments.turns)
    show(result, arguments.tasks, Console())
    write_numbers(arguments.json, result)


if __name__ == "__main__":
    main()
