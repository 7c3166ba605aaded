"""What a configuration says to one part of a search: the ladder of its rungs, the resources of a trial, the budgets."""

from __future__ import annotations

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

    def expected_epochs(self, trials: int) -> float:
        """Epochs of `trials` trials together when exactly one of `reduction_factor` passes each rung."""
        total, before, alive = 0.0, 0, float(trials)
        for epochs in self.rungs:
            total += alive * (epochs - before)
            before, alive = epochs, max(1.0, alive / self.reduction_factor)
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
