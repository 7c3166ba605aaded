"""A search on a disk that fills up: it waits until there is room for what it has to write, and loses nothing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results import Record
from results.record.files import is_full
from search.driver.display import Display
from search.errors import ResourceError
from search.planning.disk import (
    RESERVE,
    folder_bytes,
    free_bytes,
    growth,
    trial_bytes,
    unfinished_bytes,
)
from search.text import size_text

POLL_S = 1.0
"""Seconds between two checks of a full disk."""
WALK_SHARE = 20
"""A walk through the folder is followed by a pause of 20 times its duration, so it takes at most 5% of the time."""
STOP_HINT = "Ctrl-C stops the search, which can be resumed"


class PatientRecord(Record):
    """A record that waits while the disk is full instead of raising OSError, for as long as `wait` returns True."""

    wait: Callable[[], bool] | None = None
    """Waits until the next attempt is due; returns True to make it, False to give up."""
    gave_up = False
    """Whether an event was given up; from then on only the end of a session is written."""

    def append(self, event: str, **fields: Any) -> bool:
        """Appends an event as `Record.append` does, but waits until there is room.

        Raises:
            RecordError: as `Record.append`.
            ResourceError: the session has to stop; the event is not written and must not be acted on.
        """
        ending = event == "session-ended"
        while ending or not self.gave_up:
            try:
                return super().append(event, **fields)
            except OSError as error:
                if not is_full(error):
                    raise
            if self.wait is None or not self.wait():
                self.gave_up = True
                break
        raise ResourceError(f"the disk of {self.folder} is full; make room, then continue with --resume")


class DiskWatch:
    """Watches the disk, the quota and the needs of a session's trials, and reports when the session has to wait."""

    def __init__(
        self,
        record: PatientRecord,
        largest: int,
        quota: int | None,
        display: Display,
        stopping: Callable[[], bool],
    ) -> None:
        """`largest` is the size of the space's largest checkpoint and `quota` the limit of the run, both in bytes."""
        self.folder, self.record, self.display, self.stopping = record.folder, record, display, stopping
        self._largest, self._quota = largest, quota
        self.quota_spent = False
        """Whether the quota has no room for another trial, and no running trial is left that could free some."""
        self._ray_folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
        self._sizes: dict[int, int] = {}
        self._running: Collection[int] = ()
        self._full = self._paused = False
        self._inside, self._walk_due_s = 0, float("-inf")
        record.wait = self._wait

    def watch(self, running: Collection[int]) -> None:
        """Reports, once each, that there is no room for the next checkpoint of a `running` trial, or room again."""
        self._running = running
        free, need = free_bytes(self.folder), self._need()
        if free < need and free + unfinished_bytes(self.folder) < need:
            self._say_full(need)
        elif self._full and not self.record.gave_up:
            self._full = False
            self.display.note(f"the disk of {self.folder} has room again ({size_text(free)} free)")

    def admits(self, number: int | None, running: Collection[int]) -> bool:
        """Whether there is room to launch trial `number`, or a new trial for None, beside the `running` ones."""
        state = self.record.state
        own = growth(self.folder, state, [number]) if number is not None else 2 * self._largest
        need = own + growth(self.folder, state, running) + RESERVE
        need -= unfinished_bytes(self.folder)
        place, free, quota = self.folder, free_bytes(self.folder), self._quota
        within = quota is None or self._folder_bytes(fresh=not running) + need <= quota
        if need <= free:  # a trial also needs room for its folder among Ray's own files
            place, free, need = self._ray_folder, free_bytes(self._ray_folder), RESERVE
        if within and need <= free:
            if self._paused:
                self._paused = False
                self.display.note("launching continues")
            return True
        if not within and not running:
            self.quota_spent = True
        if not self._paused and not self.quota_spent:
            self._paused = True
            there = f"{size_text(free)} free at {place}, {size_text(need)} needed"
            if not within:
                there = f"{self.folder} is near disk_quota ({size_text(quota or 0)})"
            self.display.note(f"launching is paused: {there}; {STOP_HINT}")
        if not running:
            self.display.update(state)  # Ray asks again without a step in between
        return False

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Suppresses the exception by which the body of the `with` leaves Ray's loop after the record gave up.

        Raises:
            ResourceError: the body failed for another reason, and the disk of the run or of Ray's files is full.
        """
        try:
            yield
        except Exception as error:
            if self.record.gave_up:
                return
            full = next((path for path in (self.folder, self._ray_folder) if free_bytes(path) < RESERVE), None)
            if full is None:
                raise
            what = "".join(str(error).strip().splitlines()[-1:])
            raise ResourceError(
                f"the disk of {full} is full, and Ray stopped ({what}); nothing is lost: make room, then continue "
                "with --resume"
            ) from None

    def _wait(self) -> bool:
        self._say_full(self._need())
        if self.stopping():
            return False
        time.sleep(POLL_S)
        self.display.update(self.record.state)
        return not self.stopping()

    def _say_full(self, need: int) -> None:
        if not self._full:
            self._full = True
            self.display.note(
                f"the disk of {self.folder} is full; waiting for room ({size_text(need)} needed); {STOP_HINT}"
            )

    def _need(self) -> int:
        """Bytes of the largest checkpoint that the running trials will write next."""
        for number in self._running:
            if number not in self._sizes:
                self._sizes[number] = trial_bytes(self.record.state, number)
        return max((self._sizes[number] for number in self._running), default=2**12)

    def _folder_bytes(self, fresh: bool) -> int:
        started_s = time.monotonic()
        if fresh or started_s >= self._walk_due_s:
            self._inside = folder_bytes(self.folder)
            ended_s = time.monotonic()
            self._walk_due_s = ended_s + max(POLL_S, WALK_SHARE * (ended_s - started_s))
        return self._inside
