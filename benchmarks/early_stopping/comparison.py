"""Does ASHA on rung-annealed training find better layouts than its rivals at equal numbers of epochs?

Usage: python -m benchmarks.early_stopping --dataset digits --seeds 5 --layouts 16 --store PATH

Trains what the store lacks (`curves`), then replays every strategy (`strategies`) on the curves of all pools, in many
orders of arrival (`replays`). Errors are standard errors with the pool as the unit: a jackknife over the pools, or for
rank correlations, which are taken pool by pool, that of the mean. The tables are Markdown, accuracies in percent; the
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.early_stopping.curves import SCHEDULES, SETUPS, Setup, complete
from benchmarks.early_stopping.replays import Cell, Estimate, Pool, correlations, over_pools, pools_of, replayed


def orders_of(layouts: int, orders: int) -> list[list[int]]:
    """So many random orders of arrival of the layouts 0 to `layouts` - 1, the same at every call."""
    generator = np.random.default_rng(0)
    return [[int(number) for number in generator.permutation(layouts)] for _ in range(orders)]


def annealing_gain(pool: Pool) -> float:
    """Mean over the layouts of what rung-annealed training ends above one cosine, held out."""
    annealed, cosine = (pool.held_out[schedule] for schedule in SCHEDULES)
    return float(np.mean([annealed[number] - cosine[number] for number in annealed]))


def report(
    setup: Setup, pools: Sequence[Pool], budgets: Sequence[int], workers: Sequence[int], orders: Sequence[Sequence[int]]
) -> Iterator[str]:
    """The lines of all tables, then the JSON line; `budgets` are in full trainings."""
    gain = Estimate.of_mean([annealing_gain(pool) for pool in pools])
    ranks = over_pools([correlations(pool, setup) for pool in pools])
    size = len(orders[0]) // len(pools)
    yield f"{len(pools)} pools of {size} layouts on {setup.dataset}, rungs at {setup.rungs} epochs"
    yield f"rung-annealed ends {percent(gain)} points above one cosine, held out"
    yield from ("", "Rank correlation of the accuracies at a rung with", "", *markdown(ranks, in_percent=False))
    figures: dict[str, object] = {"annealing_gain": gain, "rank_correlation": as_json(ranks)}
    for count in workers:
        for budget in budgets:
            cells = replayed(pools, setup, budget * setup.rungs[-1], count, orders)
            title = f"{budget} full trainings, ASHA with {count} at a time"
            yield from ("", title, "", *markdown(cells, in_percent=True))
            figures[title] = as_json(cells)
    facts = {
        "setup": setup.to_dict(),
        "pools": len(pools),
        "layouts": size,
        "orders": len(orders),
    }
    yield json.dumps(facts | figures)


def markdown(cells: Mapping[Cell, Estimate], in_percent: bool) -> Iterator[str]:
    """The lines of a table of estimates; a cell that is not there is empty, epochs are whole."""
    columns = list(dict.fromkeys(column for _, column in cells))
    yield f"| | {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for row in dict.fromkeys(row for row, _ in cells):
        texts = []
        for column in columns:
            cell = cells.get((row, column))
            if cell is None:
                texts.append("")
            elif column == "epochs":
                texts.append(f"{cell.value:.0f}")
            else:
                texts.append(percent(cell) if in_percent else f"{cell.value:.2f} ± {cell.standard_error:.2f}")
        yield f"| {row} | {' | '.join(texts)} |"


def percent(cell: Estimate) -> str:
    """An estimate of an accuracy in percent, of a difference in points."""
    return f"{100 * cell.value:.2f} ± {100 * cell.standard_error:.2f}"


def as_json(cells: Mapping[Cell, Estimate]) -> dict[str, object]:
    """Mean and standard error by row and column."""
    return {f"{row}, {column}": cell for (row, column), cell in cells.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what is missing, replays, prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.early_stopping", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--dataset", choices=sorted(SETUPS), default="digits")
    parser.add_argument("--seeds", type=int, default=5, help="pools")
    parser.add_argument("--layouts", type=int, default=16, help="layouts of a pool")
    parser.add_argument("--store", type=Path, required=True, help="file of the curves; what it holds is not trained")
    parser.add_argument("--budgets", type=int, nargs="+", default=[3, 6, 12], help="in full trainings")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4], help="trials of ASHA at a time")
    parser.add_argument("--orders", type=int, default=300, help="orders of arrival that are averaged")
    given = parser.parse_args(arguments)
    setup = SETUPS[given.dataset]
    try:
        pools = pools_of(complete(setup, given.store, given.seeds, given.layouts))
        orders = orders_of(given.seeds * given.layouts, given.orders)
        lines = list(report(setup, pools, given.budgets, given.workers, orders))
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
