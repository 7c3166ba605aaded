"""Where and how a search is killed: a driver watched from outside, the points, and one strike.

An instant that passes quickly is caught by stopping the process first, looking whether it still is that instant, and
only then killing it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos_processes import Process, find_process, is_worker, processes_of, send, stop, wait_until
from results.record import RECORD_NAME
from results.tables import EPOCHS_NAME, TRIALS_NAME

PATIENCE_S = 240.0
"""A driver in whose record nothing happens for so long hangs."""
BRIEF_POLL_S = 0.0002
"""Between two looks at a run: a file is written in a few milliseconds."""
MISSED = 16
"""Reports after which an instant is given up."""


class HangError(RuntimeError):
    """A driver that neither goes on nor ends."""


@dataclass
class Scene:
    """A running driver and what its run's folder shows of it."""

    driver: subprocess.Popen[bytes]
    folder: Path
    trials: int
    """How many the search was asked for."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """All of the record."""
    recent: list[dict[str, Any]] = field(default_factory=list)
    """Those since the driver's start, or since the last strike that it survived."""
    opened: bool = False
    """Whether the driver holds the run."""
    _read: int = 0

    def __post_init__(self) -> None:
        self.look()
        self.recent.clear()  # what earlier drivers wrote: this one has hardly begun to import

    def look(self) -> bool:
        """Reads what is new; whether anything is."""
        self.opened = self.opened or _holder(self.folder) == self.driver.pid
        path = self.folder / RECORD_NAME
        if not path.exists() or path.stat().st_size == self._read:
            return False
        new = complete_lines(self.folder)[self._read :]
        self._read += len(new)
        events = [json.loads(line) for line in new.splitlines()]
        self.events += events
        self.recent += events
        return bool(events)

    def count(self, event: str) -> int:
        """How many such events are recent."""
        return [entry["event"] for entry in self.recent].count(event)

    @property
    def all_ended(self) -> bool:
        """Whether every trial that was asked for has its ending."""
        return [entry["event"] for entry in self.events].count("ended") >= self.trials


Due = Callable[[Scene, int], bool]
"""Whether the moment has come, at the n-th occasion."""
Victims = Callable[[Scene], list[Process]]


@dataclass(frozen=True)
class Point:
    """A kind of instant, and who is killed at it."""

    title: str
    """For the table."""
    due: Due
    """Whether it is that instant."""
    victims: Victims
    """Who is killed; nobody yet when it is empty."""
    occasions: int
    """The n-th occasion is drawn from 1 to this."""
    delay_s: float = 0.0
    """Up to so many seconds later, drawn; 0 where the instant is exact."""
    everything: bool = False
    """Whether all processes of the search die with the victims, as when the machine does."""
    survived: bool = False
    """Whether the driver lives on."""
    slow: bool = False
    """Whether the driver takes long to notice, if it does."""
    early: bool = False
    """Whether it comes only before a driver's first report."""


def complete_lines(folder: Path) -> bytes:
    """The complete lines of a run's record; empty while it does not exist."""
    try:
        content = (folder / RECORD_NAME).read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def _holder(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "lock").read_bytes())["pid"])
    except (FileNotFoundError, ValueError):
        return None


def _driver(scene: Scene) -> list[Process]:
    process = find_process(scene.driver.pid)
    return [process] if process else []


def _named(name: str) -> Victims:
    return lambda scene: [process for process in processes_of(scene.driver.pid) if process.name == name]


def _a_worker(scene: Scene) -> list[Process]:
    return [p for p in processes_of(scene.driver.pid) if is_worker(p)][:1]


def _writer(scene: Scene) -> list[Process]:
    """The worker that is writing a checkpoint: its number stands in the file's name."""
    # Its session is asked for alone: a look at all processes takes longer than the file is there.
    names = os.listdir(scene.folder / "checkpoints") if (scene.folder / "checkpoints").exists() else []
    writers = [find_process(int(name.split(".")[-2])) for name in names if name.endswith(".tmp")]
    return [process for process in writers if process and process.session == scene.driver.pid][:1]


def _after(event: str) -> Due:
    return lambda scene, n: scene.count(event) >= n


def _last_is(event: str) -> Due:
    return lambda scene, n: scene.count(event) >= n and bool(scene.recent[-1]["event"] == event)


def _writing_tables(scene: Scene, n: int) -> bool:
    # Early in a session the first write imports pandas, and the next one is due 20 times as long after it.
    files = (f".{EPOCHS_NAME}.tmp", f".{TRIALS_NAME}.tmp")
    return scene.count("started") > 0 and (scene.folder / files[n % len(files)]).exists()


def _writing_checkpoint(scene: Scene, n: int) -> bool:
    return scene.count("report") >= n and bool(_writer(scene))


def _before_report(scene: Scene, n: int) -> bool:
    return scene.count("started") > 0 and scene.count("report") == 0


def _before_session(scene: Scene, n: int) -> bool:
    return scene.opened and scene.count("session") == 0


def _before_end(scene: Scene, n: int) -> bool:
    return scene.opened and scene.all_ended and bool(scene.events[-1]["event"] == "ended")


def _before_summary(scene: Scene, n: int) -> bool:
    return scene.opened and scene.all_ended and (scene.count("session-ended") > 0 or not scene.recent)


POINTS = {
    "start": Point("driver, while Ray starts", _before_session, _driver, 1, 2.0, early=True),
    "suggested": Point("driver, between suggestion and launch", _last_is("suggested"), _driver, 2),
    "first-report": Point("driver, before the session's first report", _before_report, _driver, 1, early=True),
    "epoch": Point("driver, at any instant of an epoch", _after("report"), _driver, 4, 0.3),
    "report": Point("driver, between a report and what follows it", _last_is("report"), _driver, 4),
    "ended": Point("driver, between an ending and the next suggestion", _last_is("ended"), _driver, 2),
    "tables": Point("driver, during a Parquet write", _writing_tables, _driver, 4),
    "checkpoint": Point("everything, during a checkpoint", _writing_checkpoint, _writer, 4, everything=True),
    "worker": Point("worker, at any instant of an epoch", _after("report"), _a_worker, 3, 0.3, survived=True),
    "worker-checkpoint": Point("worker, during a checkpoint", _writing_checkpoint, _writer, 3, survived=True),
    "power": Point("everything, at any instant of an epoch", _after("report"), _driver, 4, 0.3, everything=True),
    "raylet": Point("Ray's raylet", _after("report"), _named("raylet"), 3, 0.3, slow=True),
    "gcs": Point("Ray's GCS server", _after("report"), _named("gcs_server"), 3, 0.3, slow=True),
    "last": Point("driver, after the last ending, before the session's", _before_end, _driver, 1),
    "summary": Point("driver, after the last trial, before the summary", _before_summary, _driver, 1),
}
"""Every kind of instant that a search is killed at, by its name."""

INSTEAD = "epoch"
"""The point that takes the place of one that was not caught."""
AT_THE_END = ("last", "summary")
"""Points that come only when no trial is left."""


def strike(scene: Scene, name: str, generator: np.random.Generator) -> str | None:
    """Waits for the point called `name` and kills its victims; gives its name, None when the driver ended before.

    When an instant was not caught in `MISSED` reports, the driver is killed at any and that point's name is given.

    Raises:
        HangError: nothing happened for `PATIENCE_S`.
    """
    scene.recent.clear()  # of a driver that survived the strike before
    point = POINTS[name]
    occasion = int(generator.integers(1, point.occasions + 1))
    delay_s = float(generator.uniform(0, point.delay_s))
    quiet_since = time.monotonic()
    while scene.driver.poll() is None:
        if scene.look():
            quiet_since = time.monotonic()
        if scene.count("report") >= MISSED and name not in (*AT_THE_END, INSTEAD):
            name, point = INSTEAD, POINTS[INSTEAD]
        if point.due(scene, occasion) and (victims := point.victims(scene)):
            if point.delay_s:
                wait_until(lambda: scene.driver.poll() is not None, delay_s)
                victims = point.victims(scene)
            if _kill(scene, point, occasion, victims):
                return name
        if time.monotonic() - quiet_since > PATIENCE_S:
            raise HangError(f"driver {scene.driver.pid}: nothing happened for {PATIENCE_S:.0f} s; see its log")
        time.sleep(BRIEF_POLL_S)
    return None


def _kill(scene: Scene, point: Point, occasion: int, victims: list[Process]) -> bool:
    """Kills `victims` if it still is the instant and the driver still runs."""
    if not point.delay_s:
        stop(victims)
        scene.look()
        if not point.due(scene, occasion) or scene.driver.poll() is not None:
            for process in victims:
                send(process, signal.SIGCONT)
            return False
    dying = victims + (processes_of(scene.driver.pid) if point.everything else [])
    for process in dying:
        send(process, signal.SIGKILL)
    return bool(victims)
