"""What a record's events add up to: the trials, their reports, the sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from results.errors import RecordError

Event = Mapping[str, Any]
OPEN_STATUSES: Final = ("suggested", "running", "interrupted")
"""Statuses of trials that go on: proposed, at work, and left open by a driver that stopped or died."""


@dataclass(frozen=True, slots=True)
class Report:
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


@dataclass(slots=True)
class TrialState:
    """One trial, as far as the record tells."""

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
    retries: dict[str, int] = field(default_factory=dict)
    """How often it was started again, by reason: out-of-memory, lost."""

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe's fields that the record has; a line that is older than a field leaves it null."""
        return {name: value for name, value in self.recipe.items() if value is not None}

    @property
    def ended(self) -> bool:
        """Whether the trial has reached its final status."""
        return self.status not in OPEN_STATUSES


@dataclass(slots=True)
class RunState:
    """The fold of a record's events."""

    trials: dict[int, TrialState] = field(default_factory=dict)
    reports: dict[int, list[Report]] = field(default_factory=dict)
    sessions: dict[int, SessionState] = field(default_factory=dict)
    epochs: int = 0
    """Epochs reported by all trials."""
    skipped: list[str] = field(default_factory=list)
    """A sentence for each line of the record that was not a valid event."""

    @property
    def is_empty(self) -> bool:
        """Whether no event has been folded in."""
        return not self.sessions and not self.trials

    def accepts(self, event: Event) -> bool:
        """Whether the checked event adds something: False for a repeated end or epoch.

        Raises:
            RecordError: the event cannot follow the ones before it.
        """
        name = event["event"]
        if name == "session":
            if event["session"] in self.sessions:
                raise RecordError(
                    f"session {event['session']} is in the record already; number it {self._next_session()}"
                )
            return True
        if "session" in event and event["session"] not in self.sessions:
            raise RecordError(f"{name}: session {event['session']} is unknown; append its session event first")
        if name == "session-ended":
            return self.sessions[event["session"]].reason is None
        if name == "suggested":
            if event["trial"] in self.trials:
                raise RecordError(f"trial {event['trial']} is suggested already; number it {max(self.trials) + 1}")
            return True
        trial = self.trials.get(event["trial"])
        if trial is None:
            raise RecordError(f"{name}: trial {event['trial']} is unknown; append its suggested event first")
        if name == "ended":
            return not trial.ended
        if name == "report" and event["epoch"] <= trial.epochs:
            return False
        if name in ("started", "report", "retried") and trial.ended:
            raise RecordError(f"{name}: trial {trial.trial} is {trial.status} already; suggest a new trial")
        if name == "report" and event["rung"] is not None and event["rung"] <= trial.rung:
            raise RecordError(f"report: trial {trial.trial} is past rung {event['rung']}; report rung {trial.rung + 1}")
        return True

    def apply(self, event: Event) -> bool:
        """Folds a checked event in and returns whether it added something.

        Raises:
            RecordError: the event cannot follow the ones before it; nothing is changed.
        """
        if not self.accepts(event):
            return False
        _FOLDS[event["event"]](self, event)
        return True

    def _next_session(self) -> int:
        return max(self.sessions, default=0) + 1

    def _session(self, event: Event) -> None:
        names = ("session", "concurrency", "pid", "resources")
        self._interrupt()  # of a driver that died without a word
        self.sessions[event["session"]] = SessionState(**_pick(event, names), started_s=event["time_s"])

    def _session_ended(self, event: Event) -> None:
        session = self.sessions[event["session"]]
        session.reason, session.wall_time_s = event["reason"], event["wall_time_s"]
        session.ended_s = event["time_s"]
        self._interrupt()

    def _interrupt(self) -> None:
        """No driver is at work: what ran is interrupted."""
        for trial in self.trials.values():
            if trial.status == "running":
                trial.status = "interrupted"

    def _suggested(self, event: Event) -> None:
        names = ("trial", "layout", "layout_id", "params", "flops", "depth", "recipe", "seed", "proposal")
        self.trials[event["trial"]] = TrialState(**_pick(event, names), suggested_s=event["time_s"])
        self.reports[event["trial"]] = []

    def _started(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status = "running"
        if trial.started_s is None:
            trial.started_s = event["time_s"]

    def _report(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status = "running"
        self.reports[trial.trial].append(Report(**_pick(event, Report.__slots__)))
        self.epochs += 1
        trial.epochs = event["epoch"]
        trial.train_time_s += event["train_time_s"]
        trial.eval_time_s += event["eval_time_s"]
        if event["rung"] is not None:
            trial.rung, trial.rung_epoch = event["rung"], event["epoch"]
            trial.val_accuracy, trial.val_loss = event["val_accuracy"], event["val_loss"]

    def _retried(self, event: Event) -> None:
        retries = self.trials[event["trial"]].retries
        retries[event["reason"]] = retries.get(event["reason"], 0) + 1

    def _ended(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status, trial.error, trial.ended_s = event["status"], event["error"], event["time_s"]

    def _evaluated(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.test_accuracy, trial.test_loss = event["test_accuracy"], event["test_loss"]
        trial.test_epoch = event["epoch"]


_FOLDS: dict[str, Callable[[RunState, Event], None]] = {
    "session": RunState._session,
    "session-ended": RunState._session_ended,
    "suggested": RunState._suggested,
    "started": RunState._started,
    "report": RunState._report,
    "retried": RunState._retried,
    "ended": RunState._ended,
    "evaluated": RunState._evaluated,
}


def _pick(event: Event, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: event[name] for name in names}
