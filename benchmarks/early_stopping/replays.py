"""Replays the strategies on real learning curves: how good their picks are, and how well rungs rank layouts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.early_stopping.curves import SCHEDULES, Curve, Setup
from benchmarks.early_stopping.strategies import Curves, Pick, full_trainings, halving, short_then_top
from trainables.recipe import Schedule

OURS = "ASHA, rung-annealed"
STRATEGIES: dict[str, Schedule] = {
    OURS: "rung-annealed",
    "ASHA, one cosine": "cosine",
    "full trainings": "cosine",
    "short, then the top": "cosine",
}
"""The schedule with which each strategy trains a layout for the full length."""

Cell = tuple[str, str]
"""A row and a column of a table."""


class Estimate(NamedTuple):
    """An estimate from the curves of several pools, which are independent draws."""

    value: float
    standard_error: float
    """NaN for a single pool."""

    @classmethod
    def of_mean(cls, values: Sequence[float]) -> Estimate:
        """The mean of one value per pool."""
        pools = len(values)
        error = float(np.std(values, ddof=1)) / pools**0.5 if pools > 1 else float("nan")
        return cls(float(np.mean(values)), error)

    @classmethod
    def jackknifed(cls, value: float, without: Sequence[float]) -> Estimate:
        """`value` for all pools together, with the jackknife error from the values `without` each pool in turn.

        Source: Tukey, Bias and confidence in not-quite large samples, Ann. Math. Statist. 29 (1958).
        """
        pools = len(without)
        error = float(np.std(without)) * (pools - 1) ** 0.5 if pools > 1 else float("nan")
        return cls(value, error)


@dataclass(frozen=True)
class Pool:
    """The curves of some layouts, by numbers that are unique over all pools."""

    curves: Mapping[Schedule, Curves]
    """Validation accuracies by schedule."""
    held_out: Mapping[Schedule, Mapping[int, float]]
    """Accuracy after the last epoch on images that no strategy sees, by schedule and layout."""

    @property
    def truth(self) -> dict[int, float]:
        """For each layout, the held-out accuracy averaged over the schedules, which is less noisy than a single one."""
        return {
            number: float(np.mean([self.held_out[schedule][number] for schedule in SCHEDULES]))
            for number in self.held_out[SCHEDULES[0]]
        }


def pools_of(curves: Sequence[Curve]) -> list[Pool]:
    """The pools of `curves`, by seed; their layouts are numbered over all pools."""
    places = sorted({(curve.seed, curve.number) for curve in curves})
    numbers = {place: number for number, place in enumerate(places)}
    pools = []
    for seed in sorted({seed for seed, _ in places}):
        validation: dict[Schedule, dict[int, Sequence[float]]] = {schedule: {} for schedule in SCHEDULES}
        held_out: dict[Schedule, dict[int, float]] = {schedule: {} for schedule in SCHEDULES}
        for curve in (curve for curve in curves if curve.seed == seed):
            number = numbers[curve.seed, curve.number]
            validation[curve.schedule][number] = curve.val_accuracy
            held_out[curve.schedule][number] = curve.held_out_accuracy
        pools.append(Pool(validation, held_out))
    return pools


def together(pools: Sequence[Pool]) -> Pool:
    """One pool of all layouts in `pools`."""
    return Pool(
        {s: {number: curve for pool in pools for number, curve in pool.curves[s].items()} for s in SCHEDULES},
        {s: {number: value for pool in pools for number, value in pool.held_out[s].items()} for s in SCHEDULES},
    )


def picks(pool: Pool, setup: Setup, budget: int, workers: int, order: Sequence[int]) -> dict[str, Pick]:
    """The pick of each strategy from `pool` with `budget` epochs, where ASHA has `workers` workers.

    The short training is the start of a rung-annealed one, because both anneal to zero at the first rung.
    """
    annealed, cosine = (pool.curves[schedule] for schedule in SCHEDULES)
    short = {number: curve[: setup.rungs[0]] for number, curve in annealed.items()}
    found = (
        halving(annealed, order, setup.rungs, setup.reduction_factor, budget, workers),
        halving(cosine, order, setup.rungs, setup.reduction_factor, budget, workers),
        full_trainings(cosine, order, budget),
        short_then_top(short, cosine, order, budget),
    )
    return dict(zip(STRATEGIES, found, strict=True))


def outcomes(pool: Pool, setup: Setup, budget: int, workers: int, orders: Sequence[Sequence[int]]) -> dict[Cell, float]:
    """How good each strategy's picks are, as means over the orders of arrival; layouts outside `pool` are skipped.

    `validation` and `held out` are the final accuracies of the pick under the strategy's own schedule, and `truth` is
    that of `Pool.truth`. They are followed by our lead over each other strategy, and by `truth` of the average and of
    the best layout for comparison.
    """
    truth = pool.truth
    found: dict[Cell, list[float]] = defaultdict(list)
    for order in orders:
        here = [number for number in order if number in truth]
        for name, (number, epochs) in picks(pool, setup, budget, workers, here).items():
            schedule = STRATEGIES[name]
            found[name, "validation"].append(pool.curves[schedule][number][-1])
            found[name, "held out"].append(pool.held_out[schedule][number])
            found[name, "truth"].append(truth[number])
            found[name, "epochs"].append(epochs)
    means = {cell: float(np.mean(values)) for cell, values in found.items()}
    for name in STRATEGIES:
        if name != OURS:
            ahead = {c: means[OURS, c] - means[name, c] for c in ("validation", "held out", "truth")}
            means |= {(f"ours ahead of {name}", column): value for column, value in ahead.items()}
    return means | {
        ("any layout", "truth"): float(np.mean(list(truth.values()))),
        ("the best layout", "truth"): max(truth.values()),
    }


def replayed(
    pools: Sequence[Pool], setup: Setup, budget: int, workers: int, orders: Sequence[Sequence[int]]
) -> dict[Cell, Estimate]:
    """The estimates of `outcomes` for searches among the layouts of all `pools`."""
    cells = outcomes(together(pools), setup, budget, workers, orders)
    without = [
        outcomes(together([*pools[:i], *pools[i + 1 :]]), setup, budget, workers, orders)
        for i in range(len(pools) if len(pools) > 1 else 0)
    ]
    return {cell: Estimate.jackknifed(value, [table[cell] for table in without]) for cell, value in cells.items()}


def correlations(pool: Pool, setup: Setup) -> dict[Cell, float]:
    """Rank correlations of the accuracies at each rung, by schedule, and the difference between the schedules.

    They are with the final validation accuracy of the same training, with `Pool.truth`, and with the held-out accuracy
    of the training with the other schedule, which has only seed and layout in common with the rung.
    """
    found: dict[Cell, float] = {}
    for epochs in setup.rungs:
        for schedule, other in zip(SCHEDULES, reversed(SCHEDULES), strict=True):
            curves = pool.curves[schedule]
            at_rung = {number: curve[epochs - 1] for number, curve in curves.items()}
            targets = {
                "own final": {number: curve[-1] for number, curve in curves.items()},
                "truth": pool.truth,
                "other schedule": pool.held_out[other],
            }
            for name, target in targets.items():
                found[f"rung {epochs}, {schedule}", name] = rank_correlation(at_rung, target)
        for name in ("own final", "truth", "other schedule"):
            annealed, cosine = (found[f"rung {epochs}, {schedule}", name] for schedule in SCHEDULES)
            found[f"rung {epochs}, difference", name] = annealed - cosine
    return found


def rank_correlation(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Spearman's rank correlation over the layouts, with mean ranks for ties; 0 if all values of one side are equal."""
    first, second = (pd.Series([side[number] for number in one]).rank().to_numpy() for side in (one, other))
    if min(np.ptp(first), np.ptp(second)) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def over_pools(tables: Sequence[Mapping[Cell, float]]) -> dict[Cell, Estimate]:
    """The mean of each cell over the pools' tables."""
    return {cell: Estimate.of_mean([table[cell] for table in tables]) for cell in tables[0]}
