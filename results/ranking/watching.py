"""Shows a leaderboard again whenever a run has news."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from results.record.folders import find_runs
from results.record.record import RECORD_NAME
from results.record.tables import TRIALS_NAME

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Clears a terminal and its scrollback."""


def watched(
    show: Callable[[], None],
    storage: Path,
    runs: Sequence[str],
    wait_s: float,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Calls `show` now and whenever a record or table of the runs has changed, which is looked for every `wait_s`.

    A terminal is cleared before each. Ctrl-C ends it.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
    """
    seen: Any = None
    try:
        while True:
            now = _sizes(storage, runs)
            if now != seen:
                seen = now
                if sys.stdout.isatty():
                    sys.stdout.write(CLEAR)
                show()
                sys.stdout.flush()
            wait(wait_s)
    except KeyboardInterrupt:
        return


def _sizes(storage: Path, runs: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file that has news."""
    found = {}
    for folder in find_runs(storage, runs).values():
        for name in (RECORD_NAME, TRIALS_NAME):
            try:
                status = os.stat(folder / name)
            except OSError:
                continue
            found[str(folder / name)] = status.st_size, status.st_mtime_ns
    return found
