"""The state that a record's events add up to: the trials, their reports, the sessions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from results.errors import RecordError
from results.record.trial_state import Limits, MeasuredTest, Report, SessionState, TrialState

Event = Mapping[str, Any]


@dataclass(slots=True)
class RunState:
    """The state of a run, built by applying the events of its record in order."""

    trials: dict[int, TrialState] = field(default_factory=dict)
    reports: dict[int, list[Report]] = field(default_factory=dict)
    sessions: dict[int, SessionState] = field(default_factory=dict)
    epochs: int = 0
    """Epochs that the run's trials trained, without those reused from earlier runs."""
    confirmed: int = 0
    """Trials that were confirmed since a trial was suggested or the limits changed."""
    test_openings: int = 0
    """How often the test set was opened for a measurement."""
    skipped: list[str] = field(default_factory=list)
    """A sentence for each line of the record that was not a valid event."""
    limits: Limits | None = None
    """The run's present limits; None in a record of a version without limits."""

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a session nor a trial."""
        return not self.sessions and not self.trials

    @property
    def open_trials(self) -> list[int]:
        """Numbers of the trials that have not ended, ascending."""
        return sorted(number for number, trial in self.trials.items() if not trial.ended)

    @property
    def ended(self) -> int:
        """The number of trials that have ended."""
        return sum(trial.ended for trial in self.trials.values())

    def left(self, trials: int) -> int:
        """The number of `trials` that have not ended, whether or not they have been suggested."""
        return max(0, trials - self.ended)

    def rung_reports(self, trial: int) -> list[Report]:
        """The reports of `trial` at rungs within the limits, in order."""
        last = self.limits.max_epochs if self.limits else None
        return [r for r in self.reports[trial] if r.rung is not None and (last is None or r.epoch <= last)]

    def accepts(self, event: Event) -> bool:
        """Whether the checked event changes the state: not for a repeated end or epoch, or for unchanged limits.

        Raises:
            RecordError: the event cannot follow the ones before it.
        """
        name = event["event"]
        if name == "session":
            if event["session"] in self.sessions:
                raise RecordError(
                    f"session {event['session']} is already in the record; number it {self._next_session()}"
                )
            return True
        if "session" in event and event["session"] not in self.sessions:
            raise RecordError(f"{name}: session {event['session']} is unknown; append its session event first")
        if name == "limits":
            return self.limits != _limits_of(event)
        if name == "session-ended":
            return self.sessions[event["session"]].reason is None
        if name == "suggested":
            if event["trial"] in self.trials:
                raise RecordError(f"trial {event['trial']} is already in the record; number it {max(self.trials) + 1}")
            return True
        numbers = event["trials"] if name == "confirmed" else [event["trial"]]
        if unknown := [number for number in numbers if number not in self.trials]:
            raise RecordError(f"{name}: trial {unknown[0]} is unknown; append its suggested event first")
        if name == "confirmed":
            return all(self.trials[number].ended for number in numbers)
        trial = self.trials[event["trial"]]
        if name == "ended":
            return not trial.ended
        if name == "reopened":
            return trial.ended
        if name == "report" and event["epoch"] <= trial.epochs:
            return False
        if name in ("started", "report", "retried") and trial.ended:
            raise RecordError(f"{name}: trial {trial.trial} is already {trial.status}; suggest a new trial")
        if name == "report" and event["rung"] is not None and event["rung"] <= trial.rung:
            raise RecordError(
                f"report: trial {trial.trial} has already reached rung {trial.rung}; report rung {trial.rung + 1}"
            )
        return True

    def apply(self, event: Event) -> bool:
        """Applies a checked event and returns whether it changed the state.

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
        self._interrupt()  # the previous driver may have died without ending its session
        self.sessions[event["session"]] = SessionState(**_pick(event, names), started_s=event["time_s"])

    def _session_ended(self, event: Event) -> None:
        session = self.sessions[event["session"]]
        session.reason, session.wall_time_s = event["reason"], event["wall_time_s"]
        session.ended_s = event["time_s"]
        self._interrupt()

    def _interrupt(self) -> None:
        """Marks running trials as interrupted, because their driver no longer runs."""
        for trial in self.trials.values():
            if trial.status == "running":
                trial.status = "interrupted"

    def _suggested(self, event: Event) -> None:
        names = ("trial", "layout", "layout_id", "params", "flops", "depth", "recipe", "seed", "proposal")
        self.confirmed = 0
        self.trials[event["trial"]] = TrialState(**_pick(event, names), suggested_s=event["time_s"])
        self.reports[event["trial"]] = []
        self._hold(self.trials[event["trial"]])

    def _started(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status = "running"
        if trial.started_s is None:
            trial.started_s = event["time_s"]

    def _report(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.status = "running"
        self.reports[trial.trial].append(_report_of(event))
        self.epochs += event["reused"] is None
        trial.epochs = event["epoch"]
        trial.train_time_s += event["train_time_s"]
        trial.eval_time_s += event["eval_time_s"]
        trial.reused = event["reused"] or trial.reused
        if event["rung"] is not None:
            self._measure(trial)

    def _retried(self, event: Event) -> None:
        retried = self.trials[event["trial"]].retried
        retried[event["reason"]] = retried.get(event["reason"], 0) + 1

    def _ended(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.ending, trial.ended_s = (event["status"], event["error"]), event["time_s"]
        self._conclude(trial)

    def _reopened(self, event: Event) -> None:
        self._reopen(self.trials[event["trial"]])

    def _reopen(self, trial: TrialState) -> None:
        trial.status, trial.error, trial.ending, trial.ended_s = "interrupted", None, None, None

    def _confirmed(self, event: Event) -> None:
        for number in event["trials"]:
            self.trials[number].confirmed_epochs = event["epochs"]
            self._reopen(self.trials[number])
        self.confirmed += len(event["trials"])

    def _evaluated(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        self.test_openings += 1
        names = ("test_accuracy", "test_loss", "flip", "classes", "confusion")
        trial.tests[event["epoch"]] = MeasuredTest(*(event[name] for name in names))
        self._show_test(trial, event["epoch"])

    def _limits(self, event: Event) -> None:
        self.limits, self.confirmed = _limits_of(event), 0
        for trial in self.trials.values():
            self._hold(trial)
            self._measure(trial)
            self._conclude(trial)

    def _hold(self, trial: TrialState) -> None:
        """Applies the limits to the trial: whether it is within them, and the epochs of its recipe."""
        if self.limits is None:
            return
        trial.within_limits = self.limits.min_params <= trial.params <= self.limits.max_params
        if trial.recipe.get("epochs") is not None:
            trial.recipe = {**trial.recipe, "epochs": self.limits.max_epochs}

    def _measure(self, trial: TrialState) -> None:
        """Takes the trial's results from its last rung within the limits, and the test result of that same epoch."""
        last = next(reversed(self.rung_reports(trial.trial)), None)
        before = trial.rung_epoch
        if last is None:
            trial.rung, trial.rung_epoch = 0, None
            trial.val_accuracy = trial.val_loss = trial.answers = None
        else:
            trial.rung, trial.rung_epoch = last.rung or 0, last.epoch
            trial.val_accuracy = None if math.isnan(last.val_accuracy) else last.val_accuracy
            trial.val_loss, trial.answers = last.val_loss, last.answers
        if trial.rung_epoch != before:
            self._show_test(trial, trial.rung_epoch)

    def _show_test(self, trial: TrialState, epoch: int | None) -> None:
        """Takes the trial's test result from that of the weights of `epoch`."""
        measured = trial.tests.get(epoch or 0)
        trial.test_epoch = epoch if measured else None
        trial.test_accuracy = measured.accuracy if measured else None
        trial.test_loss = measured.loss if measured else None
        trial.test_flip = measured.flip if measured else None

    def _conclude(self, trial: TrialState) -> None:
        """Sets the status of an ended trial, which under new limits may be completed, or no longer completed."""
        if trial.ending is None:
            return
        trial.status, trial.error = trial.ending
        if self.limits is None:
            return
        if trial.rung_epoch == self.limits.max_epochs:
            trial.status, trial.error = "completed", None
        elif trial.status == "completed":
            trial.status = "stopped"


_FOLDS: dict[str, Callable[[RunState, Event], None]] = {
    "session": RunState._session,
    "session-ended": RunState._session_ended,
    "suggested": RunState._suggested,
    "started": RunState._started,
    "report": RunState._report,
    "retried": RunState._retried,
    "ended": RunState._ended,
    "reopened": RunState._reopened,
    "confirmed": RunState._confirmed,
    "limits": RunState._limits,
    "evaluated": RunState._evaluated,
}


_REPORT_FIELDS = itemgetter(*Report._fields)


def _report_of(event: Event) -> Report:
    return Report(*_REPORT_FIELDS(event))


def _limits_of(event: Event) -> Limits:
    return Limits(**_pick(event, Limits.__slots__))


def _pick(event: Event, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: event[name] for name in names}
