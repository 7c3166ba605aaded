"""What a configuration says to one part of a search: the ladder of its rungs, the resources of a trial, the budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of a search and which part of the trials passes each."""

    rungs: tuple[int, ...]
    """Epochs at which trials are compared, ascending; the last is the length of a trial that is never stopped."""
    reduction_factor: int
    """One of this many trials passes a rung."""

    @property
    def max_epochs(self) -> int:
        """Epochs of a trial that is never stopped."""
        return self.rungs[-1]

    def passing(self, there: int, arriving: float) -> float:
        """How many of `arriving` trials pass a rung that `there` others reached, on average, if all are equally good.

        The first one passes, and of m + 1 trials the last passes with probability (m - q (m - 1)) / (m + 1), where q is
        the quantile: its place among them is any with the same probability. Harmonic numbers add this up over m.
        """
        if not arriving:
            return 0.0
        share = 1 / self.reduction_factor
        early = (1 - 2 * share) * math.log((there + arriving + 0.5) / (there + 0.5))
        first = 0.0 if there else share * min(1.0, arriving)
        return min(arriving, share * arriving + early + first)

    def expected_epochs(self, trials: int) -> float:
        """Epochs of `trials` trials together, on average, if all are equally good."""
        total, before, alive = 0.0, 0, float(trials)
        for epochs in self.rungs:
            total += alive * (epochs - before)
            before, alive = epochs, self.passing(0, alive)
        return total

    def confirmation_epochs(self, trials: int) -> int:
        """The most epochs of `trials` trials that were stopped early and are trained to the end."""
        return trials * (self.max_epochs - self.rungs[0])


@dataclass(frozen=True, slots=True)
class Resources:
    """What one trial takes of a machine, and how many run at a time."""

    cpus: int
    """CPU cores of a trial."""
    gpus: float
    """GPUs of a trial; below 1 it is a share of one."""
    concurrency: int | None
    """Trials at a time; None for as many as fit."""

    @property
    def per_trial(self) -> dict[str, float]:
        """CPU cores and GPUs of a trial, by the names that the record has."""
        return {"cpu": self.cpus, "gpu": self.gpus}


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a run may spend."""

    trials: int
    """Trainings in all."""
    time_s: float | None
    """Seconds of a session; None for no limit."""
    epochs: int | None
    """Epochs of all trials of the run; None for no limit."""
    max_retries: int
    """How often a trial whose process died is tried again."""
    fail_fast: int
    """Trials after which a session ends if all of them failed with one error; 0 never ends it."""
    checkpoints: int
    """Finished trials whose checkpoints are kept."""
    disk_bytes: int | None
    """Most bytes of the run's folder; None for as many as the disk has."""
