"""Who wins a search under a budget of epochs: four strategies replayed on known learning curves.

A curve is the validation accuracy of one layout after each epoch, from the first on; `order` is the order in which the
layouts arrive. No strategy spends an epoch more than its budget, and ties go to the layout that came first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from search.config.views import Ladder
from search.driver.rungs import AshaRungs

Curves = Mapping[int, Sequence[float]]
"""By layout."""


class Pick(NamedTuple):
    """What a strategy came to."""

    layout: int
    """The layout it would give its user."""
    epochs: int
    """Epochs it trained."""


def halving(
    curves: Curves, order: Sequence[int], rungs: tuple[int, ...], factor: int, budget: int, workers: int = 1
) -> Pick:
    """Asynchronous successive halving: the best at the furthest rung that any layout reached.

    The workers train an epoch each in turn, a free one takes the next layout, and `search.driver.rungs` decides who
    stops. The budget ends the search wherever the layouts are.

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
        raise ValueError(f"budget: {budget} epochs given, the first rung was not reached; use at least {rungs[0]}")
    return Pick(max(reached, key=reached.__getitem__), spent)


def full_trainings(curves: Curves, order: Sequence[int], budget: int) -> Pick:
    """Random search: as many layouts as the budget holds, each trained to the end; the best at the end.

    Raises:
        ValueError: the budget holds none.
    """
    length = len(curves[order[0]])
    tried = order[: budget // length]
    if not tried:
        raise ValueError(f"budget: {budget} epochs given, a full training has {length}; raise it")
    return Pick(max(tried, key=lambda layout: curves[layout][-1]), length * len(tried))


def short_then_top(short: Curves, full: Curves, order: Sequence[int], budget: int) -> Pick:
    """A short training each, then the best ones anew to the end; the best at the end.

    Half the budget is kept for trainings to the end, at least one; the other half decides how many are tried. Where the
    layouts do not use it up, the rest of it goes into trainings to the end.

    Raises:
        ValueError: the budget does not hold one of each.
    """
    grace, length = len(short[order[0]]), len(full[order[0]])
    kept = length * max(1, budget // (2 * length))
    tried = order[: max(0, budget - kept) // grace]
    if not tried:
        raise ValueError(f"budget: {budget} epochs given, a short and a full training have {grace + length}; raise it")
    best_first = sorted(tried, key=lambda layout: -short[layout][-1])  # stable: equals stay in order of arrival
    top = best_first[: (budget - grace * len(tried)) // length]
    spent = grace * len(tried) + length * len(top)
    return Pick(max(sorted(top, key=order.index), key=lambda layout: full[layout][-1]), spent)
