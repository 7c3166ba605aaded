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
