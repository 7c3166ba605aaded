"""What stops a whole session between two steps of its driver: a signal, a spent budget, trials that all fail alike."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopRequest:
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
def stop_on_signals(halt: StopRequest) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask `halt` to stop; a second Ctrl-C is a KeyboardInterrupt. Only in the main thread."""

    signals = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if halt.reason == "interrupted" and number == signal.SIGINT:
            if signals == 2:  # a third one would break into Ray's own end
                raise KeyboardInterrupt
            return
        halt.stop("interrupted")
        if sys.stderr.isatty():  # Ray takes seconds to end
            sys.stderr.write("\nstopping; nothing is lost\n")

    with _handled(handle, signal.SIGINT, signal.SIGTERM):
        yield


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt, as Ctrl-C is: for the time in which there is no session to be ended."""
    with _handled(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """The handler of SIGTERM is as before once the body, which may replace it by one that exits, is through.

    A SIGTERM that reaches the body's own handler is a KeyboardInterrupt.
    """
    with _handled(signal.getsignal(signal.SIGTERM), signal.SIGTERM):
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None


@contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """Signals with `handler`, and with those they had after it; only the main thread can have handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
