"""One strike: watches a driver from outside until the moment has come, and then kills it or signals it to stop.

A short moment is caught by suspending the process first, checking that the moment has not passed, and only then killing
it.
"""

from __future__ import annotations

import signal
import time

import numpy as np

from benchmarks.chaos.points import AT_THE_END, INSTEAD, POINTS, Point
from benchmarks.chaos.processes import Process, interrupt, processes_of, send, stop, wait_until
from benchmarks.chaos.scene import Scene

PATIENCE_S = 240.0
"""Seconds without a new line in its record after which a driver is considered to hang."""
BRIEF_POLL_S = 0.0002
"""Seconds between two looks at a run; a file is written in a few milliseconds."""
MISSED = 16
"""Reports after which waiting for a moment is given up."""
AGAIN_S = 1.0
"""Most seconds until a second Ctrl-C; the delay is drawn."""


class HangError(RuntimeError):
    """A driver that neither makes progress nor ends."""


def strike(scene: Scene, name: str, generator: np.random.Generator) -> str | None:
    """Waits for the point called `name` and strikes its victims; returns its name, or None if the driver ended before.

    If the moment was not caught within `MISSED` reports, the driver is killed at the point `INSTEAD`, whose name is
    then returned.

    Raises:
        HangError: nothing happened for `PATIENCE_S`.
    """
    scene.recent.clear()  # the driver may have survived an earlier strike
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
            if _hit(scene, point, occasion, victims):
                if point.times > 1:
                    wait_until(lambda: scene.driver.poll() is not None, float(generator.uniform(0, AGAIN_S)))
                    _send(scene, point, victims)
                return name
        if time.monotonic() - quiet_since > PATIENCE_S:
            raise HangError(f"driver {scene.driver.pid}: nothing happened for {PATIENCE_S:.0f} s; see its log")
        time.sleep(BRIEF_POLL_S)
    return None


def _hit(scene: Scene, point: Point, occasion: int, victims: list[Process]) -> bool:
    """Sends the signal to `victims` if the moment has not passed and the driver still runs; returns whether it did."""
    if not point.delay_s:
        stop(victims)
        scene.look()
        if not point.due(scene, occasion) or scene.driver.poll() is not None:
            for process in victims:
                send(process, signal.SIGCONT)
            return False
    _send(scene, point, victims + (processes_of(scene.driver.pid) if point.everything else []))
    return bool(victims)


def _send(scene: Scene, point: Point, victims: list[Process]) -> None:
    if point.signal is signal.SIGINT and victims:
        interrupt(scene.driver.pid)
        return
    for process in victims:
        send(process, point.signal)
