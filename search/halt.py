"""What stops a whole session between two steps of its driver: a signal, a spent budget, trials that all fail alike."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Halt:
    """Stops the whole search between two steps of the driver; the first reason stands."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        """On the monotonic clock, seconds."""
        self.reason: str | None = None
        """One of the record's reasons for a session's end; None while the search goes on."""
        self.error: str | None = None
        """What went wrong, where the reason is `failed`."""

    def stop(self, reason: str, error: str | None = None) -> None:
        """Asks for the stop."""
        if self.reason is None:
            self.reason, self.error = reason, error

    def stop_all(self) -> bool:
        """Whether the search must stop now."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.stop("time-budget")
        return self.reason is not None


@contextmanager
def stop_on_signals(halt: Halt) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask `halt` to stop; a second Ctrl-C is a KeyboardInterrupt. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if halt.reason == "interrupted" and number == signal.SIGINT:
            raise KeyboardInterrupt
        halt.stop("interrupted")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
