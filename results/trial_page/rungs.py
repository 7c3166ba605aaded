"""What trials reached at their rungs, and what they needed there, derived from the tables of their run."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from results.ranking.rung_bar import bar


@dataclass(frozen=True)
class RungReached:
    """A rung that a trial reached."""

    rung: int
    """Its number, from 1."""
    epoch: int
    val_accuracy: float
    earlier: int
    """How many other trials had reached it before."""
    needed: float | None
    """The least accuracy with which ASHA let it pass; None if nothing was needed, or the factor is unknown."""


def rungs_of(
    trial: int, epochs: Iterable[Mapping[str, Any]], inside: set[int], factor: int | None, last: int | None
) -> list[RungReached]:
    """The rungs of `trial`, in order; the arguments are those of `rungs_by_trial`."""
    return rungs_by_trial(epochs, inside, factor, last).get(trial, [])


def rungs_by_trial(
    epochs: Iterable[Mapping[str, Any]], inside: set[int], factor: int | None, last: int | None
) -> dict[int, list[RungReached]]:
    """The rungs of every trial, in order, up to epoch `last`, from all rows of the epochs table of its run.

    Only trials `inside` the run's limits are compared, as a resumed search does. `factor` is the reduction factor.
    """
    at_rungs = (
        (row["time_s"], row["trial"], row["epoch"], row["rung"], row["val_accuracy"])
        for row in epochs
        if row["rung"] is not None and (last is None or row["epoch"] <= last)
    )
    before: dict[int, list[float]] = {}
    found: dict[int, list[RungReached]] = {}
    for _, number, epoch, rung, value in sorted(at_rungs):
        values = before.setdefault(epoch, [])
        needed = bar(values, factor) if values and factor and epoch != last else None
        found.setdefault(number, []).append(RungReached(rung, epoch, value, len(values), needed))
        if number in inside and not math.isnan(value):
            insort(values, value)
    return found
