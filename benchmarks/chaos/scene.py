"""A running search seen from outside: its driver, and the files in its run's folder."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.record.record import RECORD_NAME


@dataclass
class Scene:
    """A running driver and the events in its run's record."""

    driver: subprocess.Popen[bytes]
    folder: Path
    trials: int
    """The number of trials requested."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """All events of the record."""
    recent: list[dict[str, Any]] = field(default_factory=list)
    """The events since the driver's start, or since the last strike that it survived."""
    opened: bool = False
    """Whether the driver has locked the run."""
    _read: int = 0

    def __post_init__(self) -> None:
        self.look()
        self.recent.clear()  # written by earlier drivers, because this one is still importing

    def look(self) -> bool:
        """Reads new events; returns whether there are any."""
        self.opened = self.opened or _holder(self.folder) == self.driver.pid
        path = self.folder / RECORD_NAME
        if not path.exists() or path.stat().st_size == self._read:
            return False
        new = complete_lines(self.folder)[self._read :]
        self._read += len(new)
        events = [json.loads(line) for line in new.splitlines()]
        self.events += events
        self.recent += events
        return bool(events)

    def count(self, event: str) -> int:
        """The number of recent events called `event`."""
        return [entry["event"] for entry in self.recent].count(event)

    @property
    def all_ended(self) -> bool:
        """Whether all requested trials have ended."""
        return [entry["event"] for entry in self.events].count("ended") >= self.trials


def complete_lines(folder: Path) -> bytes:
    """The complete lines of a run's record; empty while it does not exist."""
    try:
        content = (folder / RECORD_NAME).read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def _holder(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "lock").read_bytes())["pid"])
    except (FileNotFoundError, ValueError):
        return None
