"""Four search strategies with a budget of epochs, replayed on known learning curves.

A curve is the validation accuracy of one layout after each epoch, from the first one; `order` is the order in which the
layouts arrive. No strategy spends more epochs than its budget, and in a tie the layout that arrived first wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from search.config.views import Ladder
from search.runs.rungs import AshaRungs

Curves = Mapping[int, Sequence[float]]
"""Curves by the number of the layout."""


class Pick(NamedTuple):
    """The outcome of a strategy."""

    layout: int
    """The layout that it recommends."""
    epochs: int
    """Epochs that it trained."""


def halving(
    curves: Curves, order: Sequence[int], rungs: tuple[int, ...], factor: int, budget: int, workers: int = 1
) -> Pick:
    """Asynchronous successive halving; picks the best layout at the furthest rung that any layout reached.

    The workers train one epoch each in turn, a free worker takes the next layout, and `search.runs.rungs` decides
    which ones stop. When the budget is spent, the search ends wherever the layouts are.

    Raises:
        ValueError: the budget ends before the first rung.
    """
    asha = AshaRungs(Ladder(rungs, factor))
    waiting = iter(order)
    at_work: list[tuple[int, int] | None] = [None] * workers  # layout and epochs trained
    spent = 0
    while spent < budget:
        before = spent
        for worker, held in enumerate(at_work):
            layout, epochs = held or (next(waiting, None), 0)
            if layout is None or spent == budget:
                continue
            spent += 1
            goes_on = asha.goes_on(layout, epochs + 1, curves[layout][epochs])
            at_work[worker] = (layout, epochs + 1) if goes_on else None
        if spent == before:  # every layout was tried
            break
    reached = next((asha.values[epochs] for epochs in reversed(rungs) if asha.values[epochs]), None)
    if reached is None:
        raise ValueError(f"budget: {budget} epochs given, but the first rung is later; use at least {rungs[0]}")
    return Pick(max(reached, key=reached.__getitem__), spent)


def full_trainings(curves: Curves, order: Sequence[int], budget: int) -> Pick:
    """Random search: trains as many layouts as the budget allows for the full length, and picks the best one.

    Raises:
        ValueError: the budget is below one full training.
    """
    length = len(curves[order[0]])
    tried = order[: budget // length]
    if not tried:
        raise ValueError(f"budget: {budget} epochs given, but a full training has {length}; raise it")
    return Pick(max(tried, key=lambda layout: curves[layout][-1]), length * len(tried))


def short_then_top(short: Curves, full: Curves, order: Sequence[int], budget: int) -> Pick:
    """Trains every layout briefly, then the best ones again for the full length, and picks the best of these.

    Half the budget, but at least one full training, is kept for full trainings; the rest determines how many layouts
    are tried. If the layouts do not use it up, what remains also goes into full trainings.

    Raises:
        ValueError: the budget is below one short and one full training.
    """
    grace, length = len(short[order[0]]), len(full[order[0]])
    kept = length * max(1, budget // (2 * length))
    tried = order[: max(0, budget - kept) // grace]
    if not tried:
        needed = grace + length
        raise ValueError(f"budget: {budget} epochs given, but a short and a full training have {needed}; raise it")
    best_first = sorted(tried, key=lambda layout: -short[layout][-1])  # stable: ties stay in order of arrival
    top = best_first[: (budget - grace * len(tried)) // length]
    spent = grace * len(tried) + length * len(top)
    return Pick(max(sorted(top, key=order.index), key=lambda layout: full[layout][-1]), spent)
