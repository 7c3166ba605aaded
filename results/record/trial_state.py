"""One trial, its reports, and the sessions and limits of its run, as a record tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

OPEN_STATUSES: Final = ("suggested", "running", "interrupted")
"""Statuses of trials that go on: proposed, at work, and left open by a driver that stopped or died."""


class Report(NamedTuple):  # made in a sixth of a frozen dataclass's time, and a record has one an epoch
    """What a trial reported at the end of one epoch."""

    epoch: int
    """Epochs trained, 1-based."""
    rung: int | None
    """Number of the rung that ends at this epoch, 1-based; None between rungs."""
    val_accuracy: float
    val_loss: float
    train_accuracy: float
    train_loss: float
    learning_rate: float
    train_time_s: float
    eval_time_s: float
    session: int
    reused: str | None
    """The trial RUN/NUMBER of an earlier run that was trained instead; None for one that this run trained."""
    time_s: float


@dataclass(slots=True)
class SessionState:
    """One driver's run over the record."""

    session: int
    concurrency: int
    pid: int
    resources: dict[str, Any]
    started_s: float
    reason: str | None = None
    """How it ended; None while it runs and after a crash."""
    wall_time_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run's trials are held to since its last start."""

    min_params: int
    max_params: int
    max_epochs: int
    """The last rung; every trial's recipe has so many epochs."""


@dataclass(slots=True)
class TrialState:
    """One trial, as far as the record tells and within the run's present limits.

    Its measures are those of the last rung within the limits, and it is completed if that is the last rung of all.
    """

    trial: int
    layout: dict[str, Any]
    layout_id: str
    params: int
    flops: int
    depth: int | None
    """Weighted layers on the longest path; None in a record that is older than the field."""
    recipe: dict[str, Any]
    seed: int
    proposal: dict[str, Any]
    suggested_s: float
    status: str = "suggested"
    """suggested, running, interrupted, completed, stopped, diverged, out-of-memory, lost or failed."""
    epochs: int = 0
    """The last epoch reported; 0 if none."""
    rung: int = 0
    """Number of the last rung reached; 0 if none."""
    rung_epoch: int | None = None
    """Epoch of the last rung reached."""
    val_accuracy: float | None = None
    """Validation accuracy at the last rung reached, in [0, 1]; one measured between rungs is not annealed."""
    val_loss: float | None = None
    """Validation loss at the last rung reached."""
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_flip: bool | None = None
    """Whether each test image was judged together with its mirror image."""
    test_epoch: int | None = None
    """The epoch whose weights were measured on the test set."""
    train_time_s: float = 0.0
    """Sum over all reports."""
    eval_time_s: float = 0.0
    """Sum over all reports."""
    started_s: float | None = None
    """Unix seconds of the first launch."""
    ended_s: float | None = None
    """Unix seconds of the end."""
    error: str | None = None
    reused: str | None = None
    """The trial RUN/NUMBER of an earlier run whose results stand for the last of its epochs that were not trained."""
    retried: dict[str, int] = field(default_factory=dict)
    """How often it was started again, by reason: out-of-memory, lost."""
    within_limits: bool = True
    """Whether its parameters are within the run's present limits."""
    ending: tuple[str, str | None] | None = None
    """Status and error of its last end, under the limits of that time."""
    tests: dict[int, tuple[float, float, bool]] = field(default_factory=dict)
    """Test accuracy, loss and whether with mirror images, by the epoch of the network that was measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the trial's `Recipe` that the record has; a line that is older than a field leaves it null."""
        return {name: value for name, value in self.recipe.items() if value is not None and name != "epochs"}

    @property
    def retries(self) -> int:
        """How often it was started again, whatever the reason."""
        return sum(self.retried.values())

    @property
    def ended(self) -> bool:
        """Whether the trial has reached its final status."""
        return self.status not in OPEN_STATUSES
