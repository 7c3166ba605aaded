"""Notices when one of Ray's own processes has died, which would leave the driver waiting forever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

POLL_S: Final = 1.0
GRACE_S: Final = 5.0
"""Seconds that the driver has to notice by itself."""


@contextmanager
def watched(
    dead: Callable[[], Sequence[str]], on_death: Callable[[str], None], grace_s: float = GRACE_S
) -> Iterator[None]:
    """During the body of the `with`, calls `on_death` with the first name that `dead` returns.

    The call is made from a thread, `grace_s` seconds after the death was noticed, unless the body has ended by then.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_S):
            names = dead()
            if names:
                if not ended.wait(grace_s):
                    on_death(names[0])
                return

    thread = threading.Thread(target=watch, name="ray-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


VITAL = ("raylet", "gcs_server")
"""Processes of Ray that it needs but does not restart."""


def dead_processes() -> list[str]:
    """Names of the `VITAL` processes of a Ray started here that have died; empty without Ray.

    Processes of a cluster that was started elsewhere are not seen.
    """
    from ray._private import worker  # not in Ray's public API; tests/search/driver/test_trial_endings.py checks it

    node = getattr(worker, "_global_node", None)
    return [name for name, _ in node.dead_processes() if name in VITAL] if node is not None else []
