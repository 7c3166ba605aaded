"""Stops a whole session between two steps of its driver: at a signal, at a spent budget, or when all trials fail."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


class StopRequest:
    """Stops the whole search between two steps of the driver; only the first reason counts."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        """Seconds on the monotonic clock."""
        self.reason: str | None = None
        """One of the record's reasons for a session's end; None while the search continues."""
        self.error: str | None = None
        """What went wrong, if the reason is `failed`."""

    def stop(self, reason: str, error: str | None = None) -> None:
        """Requests the stop, unless it has been requested already."""
        if self.reason is None:
            self.reason, self.error = reason, error

    def stop_all(self) -> bool:
        """Whether the search must stop now."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.stop("time-budget")
        return self.reason is not None


@contextmanager
def stop_on_signals(halt: StopRequest) -> Iterator[None]:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a stop of `halt`; main thread only.

    A second Ctrl-C becomes a KeyboardInterrupt, and a SIGHUP that is ignored, as under nohup, stays ignored.
    """

    signals = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if halt.reason == "interrupted" and number == signal.SIGINT:
            if signals == 2:  # a third one would interrupt Ray's shutdown
                raise KeyboardInterrupt
            return
        halt.stop("interrupted")
        with suppress(OSError, ValueError):  # Ray takes seconds to shut down, and stderr may be closed
            sys.stderr.write("\nstopping after the running steps; nothing is lost (a second Ctrl-C does not wait)\n")

    with _handled(handle, signal.SIGINT, *_terminations()):
        yield


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into a KeyboardInterrupt like Ctrl-C, for the time before and after a session."""
    with _handled(signal.default_int_handler, *_terminations()):
        yield


def _terminations() -> tuple[signal.Signals, ...]:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restores the handler of SIGTERM after the body, which may replace it by one that exits.

    A SIGTERM that reaches the body's own handler becomes a KeyboardInterrupt. SIGHUP is blocked, because the
    processes that the body starts inherit that: a closed terminal must end them with the driver and not before it.
    """
    with _handled(signal.getsignal(signal.SIGTERM), signal.SIGTERM):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """Handles the signals with `handler` during the body; does nothing outside the main thread, as Python requires."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
