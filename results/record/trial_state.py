"""The state of a trial, its reports, and the sessions and limits of its run, according to the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

OPEN_STATUSES: Final = ("suggested", "running", "interrupted")
"""Statuses of trials that have not ended: proposed, running, and left open by a driver that stopped or died."""


class Report(NamedTuple):  # six times faster to make than a frozen dataclass, and a record has one per epoch
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
    """RUN/NUMBER of the earlier trial whose result was reused; None if this run trained the epoch."""
    answers: str | None
    """Which validation images were classified correctly; None between rungs, and in a record without this field.
    It is one bit per image, packed by NumPy, zlib, base 64."""
    time_s: float


class MeasuredTest(NamedTuple):
    """How the network of one epoch of a trial answered for the test set."""

    accuracy: float
    loss: float
    flip: bool
    """Whether the outputs were averaged over each image and its mirror image."""
    classes: list[str] | None
    """Name of each label; None in a record of a version without this field."""
    confusion: list[list[int]] | None
    """Images by true class (rows) and predicted class (columns); None as for `classes`."""


@dataclass(slots=True)
class SessionState:
    """One session of a run: the work of one driver."""

    session: int
    concurrency: int
    pid: int
    resources: dict[str, Any]
    started_s: float
    reason: str | None = None
    """Why it ended; None while it runs and after a crash."""
    wall_time_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run's trials since its last start."""

    min_params: int
    max_params: int
    max_epochs: int
    """The last rung, and the number of epochs in every trial's recipe."""


@dataclass(slots=True)
class TrialState:
    """One trial according to the record, under the run's present limits.

    Its results are those at its last rung within the limits, and it is completed if that is the last rung of the run.
    """

    trial: int
    layout: dict[str, Any]
    layout_id: str
    params: int
    flops: int
    depth: int | None
    """Weighted layers on the longest path; None in a record of a version without this field."""
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
    """Validation accuracy at the last rung reached, in [0, 1]; accuracies between rungs are not annealed. None without
    validation images."""
    val_loss: float | None = None
    """Validation loss at the last rung reached."""
    answers: str | None = None
    """`Report.answers` at the last rung reached."""
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_flip: bool | None = None
    """Whether the outputs were averaged over each test image and its mirror image."""
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
    """RUN/NUMBER of the earlier trial from which the last of its reused epochs come."""
    retried: dict[str, int] = field(default_factory=dict)
    """How often it was retried, by reason: out-of-memory, lost."""
    confirmed_epochs: int | None = None
    """The epochs to which it is trained whatever its rungs decide; None if it was never confirmed."""
    within_limits: bool = True
    """Whether its parameters are within the run's present limits."""
    ending: tuple[str, str | None] | None = None
    """Status and error with which it last ended, under the limits at that time."""
    tests: dict[int, MeasuredTest] = field(default_factory=dict)
    """The results on the test set by the epoch whose weights were measured."""

    @property
    def test_images(self) -> int | None:
        """Number of test images; None if the trial was not measured, or by a version that did not store it."""
        measured = self.tests.get(self.test_epoch or 0)
        return sum(map(sum, measured.confusion)) if measured and measured.confusion else None

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the trial's `Recipe` without those that are null because the record is older than the field."""
        return {name: value for name, value in self.recipe.items() if value is not None and name != "epochs"}

    @property
    def confirmed(self) -> bool:
        """Whether it was stopped early and then trained on, to compare it with the best at the full length."""
        return self.confirmed_epochs is not None

    @property
    def retries(self) -> int:
        """How often it was retried for any reason."""
        return sum(self.retried.values())

    @property
    def ended(self) -> bool:
        """Whether the trial has reached its final status."""
        return self.status not in OPEN_STATUSES
