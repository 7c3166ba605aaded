"""One strike: a driver is watched from outside until the instant has come, and then killed or asked to stop.

An instant that passes quickly is caught by stopping the process first, looking whether it still is that instant, and
only then killing it.
"""

from __future__ import annotations

import signal
import time

import numpy as np

from benchmarks.chaos.points import AT_THE_END, INSTEAD, POINTS, Point
from benchmarks.chaos.processes import Process, interrupt, processes_of, send, stop, wait_until
from benchmarks.chaos.scene import Scene

PATIENCE_S = 240.0
"""A driver in whose record nothing happens for so long hangs."""
BRIEF_POLL_S = 0.0002
"""Between two looks at a run: a file is written in a few milliseconds."""
MISSED = 16
"""Reports after which an instant is given up."""
AGAIN_S = 1.0
"""A second Ctrl-C comes up to so much later, drawn."""


class HangError(RuntimeError):
    """A driver that neither goes on nor ends."""


def strike(scene: Scene, name: str, generator: np.random.Generator) -> str | None:
    """Waits for the point called `name` and hits its victims; gives its name, None when the driver ended before.

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
    """Kills `victims`, or asks them to stop, if it still is the instant and the driver still runs."""
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
