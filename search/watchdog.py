"""Notices that one of Ray's own processes has died, for which the driver would wait without end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

POLL_S: Final = 1.0
GRACE_S: Final = 5.0
"""How long the driver has to notice by itself."""
VITAL: Final = ("raylet", "gcs_server")
"""Processes that no trial can go on without; Ray restarts none of them."""


@contextmanager
def watched(on_death: Callable[[str], None], grace_s: float = GRACE_S) -> Iterator[None]:
    """For the body of the `with`, calls `on_death` with the name of a vital process of this node's Ray that died.

    The call comes from a thread, `grace_s` seconds after the death, unless the body has ended by then. A cluster that
    was started elsewhere is not watched.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_S):
            dead = dead_processes()
            if dead:
                if not ended.wait(grace_s):
                    on_death(dead[0])
                return

    thread = threading.Thread(target=watch, name="ray-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def dead_processes() -> list[str]:
    """Names of the vital processes that this process's Ray started and that died; empty without Ray."""
    from ray._private import worker  # no public name tells them; tests/test_watchdog.py holds it to this Ray

    node = getattr(worker, "_global_node", None)
    return [name for name, _ in node.dead_processes() if name in VITAL] if node is not None else []
