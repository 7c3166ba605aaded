"""Notices that one of Ray's own processes has died, for which the driver would wait without end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

POLL_S: Final = 1.0
GRACE_S: Final = 5.0
"""How long the driver has to notice by itself."""


@contextmanager
def watched(
    dead: Callable[[], Sequence[str]], on_death: Callable[[str], None], grace_s: float = GRACE_S
) -> Iterator[None]:
    """For the body of the `with`, calls `on_death` with the first name that `dead` gives.

    The call comes from a thread, `grace_s` seconds after the death was seen, unless the body has ended by then.
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
"""Ray's processes that it neither restarts nor can do without."""


def dead_processes() -> list[str]:
    """Names of the processes of this machine's Ray that died and that no trial can go on without; empty without Ray.

    Ray restarts none of them. Those of a cluster that was started elsewhere are not seen.
    """
    from ray._private import worker  # no public name tells them; tests/test_trial_endings.py holds it to this Ray

    node = getattr(worker, "_global_node", None)
    return [name for name, _ in node.dead_processes() if name in VITAL] if node is not None else []
