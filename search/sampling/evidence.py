"""What the trials of a study say about candidates: a row for each value that was measured, and one for each failure.

A value that a trial reported at a step is evidence of lower fidelity; a failed trial counts as if it had been as bad as
the worst value. What a trial says is read once, when it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

Floats = NDArray[np.float64]

NO_FAULT = "no_fault"
"""User attribute of a failed trial that says nothing about its candidate, such as one whose machine died."""

MOST_STEPS = 4
"""Most values of one trial that count; each is at most half as many steps as the next, and the last is always one."""

FEW = 5
"""Values at one step from which their lower tail is cut."""

TAIL = 10.0
"""The lower tail is cut this many times as far below the median as the best value is above it."""


class Measured(NamedTuple):
    """A value that a trial had at one step."""

    step: float
    """Infinite for the final value of a trial that reported nothing else."""
    value: float


class Evidence(NamedTuple):
    """N rows, in the order of the trials."""

    numbers: NDArray[np.intp]
    """The trial of each, (N,)."""
    fidelity: Floats
    """The share of the largest logarithm of a step, in [0, 1], (N,)."""
    values: Floats
    """Higher is better; variance 1, mean 0, with the lower tail cut, (N,)."""
    noise: Floats
    """The known variance of each, in the same units, (N,)."""
    failed: NDArray[np.bool_]
    """Which rows are failures, (N,)."""


def measured(trial: FrozenTrial, sign: int) -> list[Measured]:
    """What a trial has measured so far, lowest step first, with `sign` 1 if higher values are better and -1 if not."""
    steps = {float(step): value for step, value in trial.intermediate_values.items()}
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        steps[max(steps, default=math.inf)] = trial.value
    kept: list[Measured] = []
    for step in sorted(steps, reverse=True):
        if math.isfinite(steps[step]) and (not kept or 2 * step <= kept[-1].step) and len(kept) < MOST_STEPS:
            kept.append(Measured(step, sign * steps[step]))
    return kept[::-1]


def fails(trial: FrozenTrial) -> bool:
    """Whether a trial has failed in a way that says something about its candidate."""
    return trial.state is TrialState.FAIL and not trial.user_attrs.get(NO_FAULT, False)


def sign_of(study: Study) -> int:
    """1 if higher values are better in the study, otherwise -1."""
    return 1 if study.direction == StudyDirection.MAXIMIZE else -1


def evidence_of(found: Mapping[int, Sequence[Measured]], failures: Sequence[int], images: int | None) -> Evidence:
    """The evidence of what trials have measured, at least one value, and of the `failures`, by their numbers.

    A failure is the worst value at the lowest fidelity. With `images` the values are accuracies on so many images, from
    which their noise follows.
    """
    rows = [(number, *one) for number, values in found.items() for one in values]
    numbers, steps, values = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    noise = np.zeros(len(values))
    if images:
        share = (np.clip(np.abs(values), 0, 1) * images + 1) / (images + 2)  # never quite 0 or 1
        noise = share * (1 - share) / images
    scale = np.log1p(steps[np.isfinite(steps)]).max(initial=0.0) or 1.0
    fidelity = np.minimum(np.log1p(steps) / scale, 1.0)
    for level in np.unique(fidelity):
        at = fidelity == level
        if at.sum() >= FEW:
            middle = np.median(values[at])
            values[at] = np.maximum(values[at], middle - TAIL * (values[at].max() - middle))
    lowest = fidelity.min()
    count, worst = len(failures), values[fidelity == lowest].min()
    numbers, fidelity = np.append(numbers, failures), np.append(fidelity, np.full(count, lowest))
    values, noise = np.append(values, np.full(count, worst)), np.append(noise, np.zeros(count))
    order = np.argsort(numbers, kind="stable")
    spread = float(values.std()) or 1.0
    return Evidence(
        numbers[order].astype(np.intp),
        fidelity[order],
        (values - values.mean())[order] / spread,
        noise[order] / spread**2,
        (np.arange(len(numbers)) >= len(rows))[order],
    )


def kept(evidence: Evidence, most: int) -> NDArray[np.intp]:
    """The places of at most `most` rows: the best half, and of the others every so many in the order of the trials."""
    n = len(evidence.values)
    if n <= most:
        return np.arange(n)
    order = np.argsort(-evidence.values, kind="stable")
    best, others = order[: most // 2], np.sort(order[most // 2 :])
    spread = others[np.linspace(0, len(others) - 1, most - len(best)).astype(np.intp)]
    return np.sort(np.concatenate([best, spread]))
