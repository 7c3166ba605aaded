"""Processes that tests start: each leads a session of its own, and nothing of that session outlives the test."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.chaos.processes import processes_of, send, wait_until

ROOT = Path(__file__).resolve().parents[2]

END_S = 30
"""Longest wait for killed processes to be gone."""


@contextmanager
def session(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The process of `command`, for the body of the `with`; then it and all that it started are killed.

    `options` are those of `subprocess.Popen`. Ray's processes stay in the session of the driver that starts them.
    """
    with subprocess.Popen(command, text=True, start_new_session=True, **options) as process:
        _tell_guard("+", process.pid)
        try:
            yield process
        finally:
            end_session(process.pid)
            _tell_guard("-", process.pid)


def end_session(leader: int) -> None:
    """Kills the processes of the session that `leader` leads; returns when none is left."""
    if sys.platform != "linux":  # there is no /proc to find a session by; Ray's workers have groups of their own
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
        return

    def ended() -> bool:
        left = processes_of(leader)
        for process in left:
            send(process, signal.SIGKILL)
        return not left

    assert wait_until(ended, END_S), processes_of(leader)


@cache
def _guard() -> subprocess.Popen[str]:
    """The process that ends the sessions of this one if it is killed, when no `finally` runs."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.support.guard"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(guard.communicate)
    return guard


def _tell_guard(sign: str, leader: int) -> None:
    guard = _guard()
    assert guard.stdin is not None
    guard.stdin.write(f"{sign}{leader}\n")
    guard.stdin.flush()
