"""The cost of a kill, from the record and the checkpoints right after it and the record of the finished run.

The training time in a report is measured to the nanosecond, so two trainings of one epoch never have the same one. An
epoch in the finished record with the time in the checkpoint at the kill was therefore not trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.between import ACTIONS
from benchmarks.chaos.points import POINTS
from benchmarks.chaos.scene import complete_lines
from results import RunState
from results.record.record import replay
from search.runs.checkpoint_files import checkpoint_path
from trainables.checkpoints.files import read
from trainables.errors import CheckpointError

INTERRUPTED = 130


@dataclass(frozen=True)
class Saved:
    """The progress of an open trial at a kill."""

    reported: int
    """Epochs in the record, of which the checkpoint must have as many."""
    epoch: int
    """Epochs in its checkpoint; 0 if there is none."""
    train_time_s: float | None
    """Training time of the checkpoint's last epoch, as measured by its trainer."""
    launched: bool
    """Whether the killed session had started it."""


@dataclass
class Kill:
    """One kill and its costs, which are known once the run is finished."""

    point: str
    record: bytes
    """The complete lines of the record at the kill."""
    trials: dict[int, Saved]
    """The open trials."""
    slots: int
    """Most epochs that can have been in progress: one if only a worker was killed, otherwise one per slot."""
    hung: bool = False
    """Whether the driver did not end by itself although it should, and had to be killed."""
    between: str | None = None
    """The action on the run before its resume."""
    lost: int = 0
    """Lines of the record that are gone, and reported epochs that are in no checkpoint."""
    repeated: int = 0
    """Epochs that were trained again although their checkpoint had been written."""
    redone: int = 0
    """Epochs that were in progress and were trained again from their start."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each loss and repetition."""


def look_after(folder: Path, point: str, driver: int, *, hung: bool = False) -> Kill:
    """The run after a strike at the process `driver`; a trial that ends meanwhile is left out."""
    content = complete_lines(folder)
    state = replay(content)
    last = state.sessions.get(max(state.sessions, default=0))
    # A driver that died before its session began had not started any trial.
    launched = _launched(content, last.session) if last and last.pid == driver else set()
    slots = last.concurrency if last and not POINTS[point].survived else 1
    kill = Kill(point, content, {}, slots, hung)
    again = _trained_again(content)
    damaged: dict[int, str] = {}
    for number, trial in state.trials.items():
        if trial.ended:
            continue
        path = checkpoint_path(folder, number)
        epoch, train_time_s = 0, None
        if path.exists():
            try:
                report = json.loads(read(path)[0]["report"])
                epoch, train_time_s = report["epoch"], report["train_time_s"]
            except CheckpointError as error:
                damaged[number] = f"trial {number}: {error}"
        reported = trial.epochs if number not in again else min(trial.epochs, epoch)
        kill.trials[number] = Saved(reported, epoch, train_time_s, number in launched)
    ended = {number for number, trial in replay(complete_lines(folder)).trials.items() if trial.ended}
    kill.trials = {number: saved for number, saved in kill.trials.items() if number not in ended}
    kill.notes += [sentence for number, sentence in damaged.items() if number not in ended]
    return kill


def wrong_ending(folder: Path, point: str, driver: int, exit_code: int, log: str) -> list[str]:
    """A sentence for each unexpected thing about the end of a driver that was struck."""
    expected = POINTS[point]
    found = []
    state = replay(complete_lines(folder))
    own = [session for session in state.sessions.values() if session.pid == driver]
    asked = expected.exit_code == INTERRUPTED
    all_ended = all(trial.ended for trial in state.trials.values())
    if exit_code != expected.exit_code and not (asked and exit_code == 0 and own and own[-1].reason == "done"):
        found.append(f"the driver's exit code is {exit_code}, expected {expected.exit_code}")
    if expected.message not in log:
        found.append(f"the driver did not print {expected.message!r}")
    if "Traceback" in log:
        found.append("the driver printed a traceback")
    if asked and own and own[-1].reason != "interrupted" and not (all_ended and own[-1].reason == "done"):
        found.append(f"the session ended as {own[-1].reason}, expected interrupted")
    return found


def settle_accounts(kills: Iterable[Kill], finished: RunState, record: bytes) -> None:
    """Fills in the cost of each kill from the finished run's record."""
    for kill in kills:
        if not record.startswith(kill.record):
            kill.lost += 1
            kill.notes.append("the record does not begin with its lines at the kill")
        in_flight = 0
        for number, saved in kill.trials.items():
            reports = {report.epoch: report for report in finished.reports.get(number, [])}
            if saved.epoch < saved.reported:
                kill.lost += saved.reported - saved.epoch
                kill.notes.append(
                    f"trial {number}: {saved.reported} epochs reported, but {saved.epoch} in its checkpoint"
                )
            elif saved.epoch > saved.reported:
                report = reports.get(saved.epoch)
                if report is None or report.train_time_s != saved.train_time_s:
                    kill.repeated += 1
                    kill.notes.append(f"trial {number}: epoch {saved.epoch} was saved but trained again")
            elif saved.launched and saved.epoch + 1 in reports:
                in_flight += 1
        kill.redone = min(in_flight, 1) if POINTS[kill.point].survived else in_flight
        if kill.redone > kill.slots:
            kill.notes.append(f"{kill.redone} epochs redone, but {kill.slots} trials at a time")
        if kill.hung:
            kill.notes.append("the driver did not end by itself")


def table(kills: Sequence[Kill]) -> Iterator[str]:
    """The kills as a Markdown table, by their point and by the action after them."""
    yield "| killed or stopped | times | lost | repeated | epochs redone | hung |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    rows = [(point.title, [kill for kill in kills if kill.point == name]) for name, point in POINTS.items()]
    rows.append(("all", list(kills)))
    rows += [
        (f"of these, before the resume: {action.title}", [kill for kill in kills if kill.between == name])
        for name, action in ACTIONS.items()
    ]
    for title, own in rows:
        if own:
            sums = [sum(getattr(kill, key) for kill in own) for key in ("lost", "repeated", "redone", "hung")]
            yield f"| {title} | {len(own)} | {' | '.join(map(str, sums))} |"


def _trained_again(content: bytes) -> set[int]:
    """The confirmed trials that have not reported since; without a checkpoint they are trained from their start."""
    again: set[int] = set()
    for event in map(json.loads, content.splitlines()):
        if event["event"] == "confirmed":
            again |= set(event["trials"])
        elif event["event"] == "report":
            again.discard(event["trial"])
    return again


def _launched(content: bytes, session: int) -> set[int]:
    events = [json.loads(line) for line in content.splitlines()]
    return {event["trial"] for event in events if event["event"] == "started" and event["session"] == session}
