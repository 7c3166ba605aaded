"""The kinds of moment at which a search is killed or signalled to stop, and the processes that are struck."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.chaos.processes import Process, find_process, is_worker, processes_of
from benchmarks.chaos.scene import Scene
from results.record.tables import EPOCHS_NAME, TRIALS_NAME

START_S = 4.0
"""About how many seconds a driver takes from locking its run until Ray is imported, started and connected."""

Due = Callable[[Scene, int], bool]
"""Whether the moment has come, at the n-th occasion."""
Victims = Callable[[Scene], list[Process]]


@dataclass(frozen=True)
class Point:
    """A kind of moment, and the processes that are struck then."""

    title: str
    """Its name in the table."""
    due: Due
    """Whether the moment has come."""
    victims: Victims
    """The processes to strike; empty if there is none yet."""
    occasions: int
    """The occasion is drawn from 1 to this number."""
    delay_s: float = 0.0
    """Most seconds between the occasion and the strike, which are drawn; 0 for an exact moment."""
    everything: bool = False
    """Whether all processes of the search are killed with the victims, as when the machine dies."""
    survived: bool = False
    """Whether the driver survives."""
    early: bool = False
    """Whether it occurs only before a driver's first report, and perhaps before the driver has reported its repairs."""
    signal: signal.Signals = signal.SIGKILL
    """SIGINT is sent to the driver's whole process group, as a terminal does for Ctrl-C."""
    times: int = 1
    """How often the signal is sent."""
    exit_code: int = -signal.SIGKILL
    """The expected exit code of the driver, unless it survives."""
    message: str = ""
    """What the driver prints when it ends."""

    @property
    def slow(self) -> bool:
        """Whether the driver takes a while to end."""
        return self.exit_code > 0


def _driver(scene: Scene) -> list[Process]:
    process = find_process(scene.driver.pid)
    return [process] if process else []


def _named(name: str) -> Victims:
    return lambda scene: [process for process in processes_of(scene.driver.pid) if process.name == name]


def _a_worker(scene: Scene) -> list[Process]:
    return [p for p in processes_of(scene.driver.pid) if is_worker(p)][:1]


def _writer(scene: Scene) -> list[Process]:
    """The worker that is writing a checkpoint; its process id is in the name of the temporary file."""
    # Looks at this process only, because looking at all processes takes longer than the file exists.
    names = os.listdir(scene.folder / "checkpoints") if (scene.folder / "checkpoints").exists() else []
    writers = [find_process(int(name.split(".")[-2])) for name in names if name.endswith(".tmp")]
    return [process for process in writers if process and process.session == scene.driver.pid][:1]


def _after(event: str) -> Due:
    return lambda scene, n: scene.count(event) >= n


def _last_is(event: str) -> Due:
    return lambda scene, n: scene.count(event) >= n and bool(scene.recent[-1]["event"] == event)


def _writing_tables(scene: Scene, n: int) -> bool:
    # The first write of a session is slow, because it imports pandas, and the next one follows 20 times as long after.
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


def _vital(name: str, title: str) -> Point:
    """The death of one of Ray's own processes, after which the driver must end."""
    message = f"Ray's {name} died"
    return Point(title, _after("report"), _named(name), 3, 0.3, exit_code=1, message=message)


def _asked(title: str, number: signal.Signals, times: int = 1, *, early: bool = False) -> Point:
    """A signal that tells the driver to stop."""
    due, occasions, delay_s = (_before_session, 1, START_S) if early else (_after("report"), 4, 0.3)
    return Point(title, due, _driver, occasions, delay_s, early=early, signal=number, times=times, exit_code=130)


POINTS = {
    "start": Point("driver, while Ray starts", _before_session, _driver, 1, START_S, early=True),
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
    "raylet": _vital("raylet", "Ray's raylet"),
    "gcs": _vital("gcs_server", "Ray's GCS server"),
    "ctrl-c": _asked("Ctrl-C, at any instant of an epoch", signal.SIGINT),
    "ctrl-c-twice": _asked("Ctrl-C twice, at any instant of an epoch", signal.SIGINT, times=2),
    "ctrl-c-start": _asked("Ctrl-C, while Ray starts", signal.SIGINT, early=True),
    "sigterm": _asked("SIGTERM to the driver, at any instant of an epoch", signal.SIGTERM),
    "sigterm-start": _asked("SIGTERM to the driver, while Ray starts", signal.SIGTERM, early=True),
    "last": Point("driver, after the last ending, before the session's", _before_end, _driver, 1),
    "summary": Point("driver, after the last trial, before the summary", _before_summary, _driver, 1, early=True),
}
"""Every kind of moment at which a search is killed or stopped, by name."""

INSTEAD = "epoch"
"""The point that replaces one that was not caught."""
AT_THE_END = ("last", "summary")
"""Points that occur only when no trial is left."""
