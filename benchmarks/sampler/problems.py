"""The problems for the comparison of samplers: objectives under a parameter budget with an exactly known optimum."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.sampler.analytic_layouts import Floats, analytic_accuracy
from benchmarks.sampler.nas_bench_201 import TableCells, cell_params, read_table
from model_zoo import count_params
from search.layouts import LayoutSpace
from search.layouts.batch import LayoutBatch
from search.layouts.enumeration import enumerate_batches
from search.recipes.dimensions import Values
from search.sampling import CandidateSpace, JointSpace


class Outcome(NamedTuple):
    """The outcome of a trial with the proposed values."""

    key: Hashable
    accuracy: float | None
    """In [0, 1]; None outside the parameter window."""
    excess: float
    """How far the parameters are outside the window, relative to the budget; at most 0 inside."""


@dataclass(frozen=True)
class Problem:
    """A problem whose optimum is known."""

    name: str
    title: str
    candidates: CandidateSpace[Any]
    evaluate: Callable[[Values], Outcome]
    optimum: float
    worst: float
    """The lowest accuracy of a feasible candidate."""


def layouts_problem(space: LayoutSpace) -> Problem:
    """The analytic function over the layouts of `space`, with its optimum found by enumeration.

    Widths are sorted before the evaluation, so that only the parameter window makes a proposal infeasible; this favours
    samplers that do not know about the order.
    """
    candidates = JointSpace(space)
    lowest, highest, count = np.inf, -np.inf, 0
    for batch in enumerate_batches(space):
        accuracies = batch_accuracy(batch)
        lowest, highest = min(lowest, float(accuracies.min())), max(highest, float(accuracies.max()))
        count += len(batch)

    def evaluate(values: Values) -> Outcome:
        layout, _ = candidates.decode(_widths_in_order(values, candidates.decode(values).layout.stages))
        params = count_params(layout)
        excess = max(params - space.max_params, space.min_params - params) / space.max_params
        if excess > 0:
            return Outcome(layout, None, excess)
        (accuracy,) = analytic_accuracy(np.array([layout.blocks]), np.array([layout.channels]), np.array([params]))
        return Outcome(layout, float(accuracy), excess)

    return Problem("layouts", f"An analytic function of {count:,} layouts", candidates, evaluate, highest, lowest)


def table_problem(path: Path, quantile: float) -> Problem:
    """NAS-Bench-201's cells for CIFAR-10 up to the quantile `quantile` of their parameters."""
    accuracies = read_table(path)
    budget = int(np.quantile([cell_params(cell) for cell in accuracies], quantile, method="inverted_cdf"))
    candidates = TableCells(accuracies, budget)
    feasible = [accuracies[cell] for cell in candidates.in_order()]

    def evaluate(values: Values) -> Outcome:
        cell = candidates.decode(values)
        excess = cell_params(cell) / budget - 1
        return Outcome(cell, None if excess > 0 else accuracies[cell], excess)

    title = f"NAS-Bench-201, {len(feasible):,} of its {len(accuracies):,} cells"
    return Problem("table", title, candidates, evaluate, max(feasible), min(feasible))


def batch_accuracy(batch: LayoutBatch) -> Floats:
    """The analytic accuracy of a batch of layouts with any numbers of stages, (N,)."""
    found = np.empty(len(batch))
    for stages in np.unique(batch.stages).tolist():
        rows = batch.stages == stages
        found[rows] = analytic_accuracy(batch.blocks[rows, :stages], batch.channels[rows, :stages], batch.params[rows])
    return found


def _widths_in_order(values: Values, stages: int) -> Values:
    names = [name for name in (f"width_{i}" for i in range(1, stages + 1)) if name in values]
    return values | dict(zip(names, sorted(values[name] for name in names), strict=True))
