"""The durable record of one run: append-only JSON lines, the only truth."""

from __future__ import annotations

import errno
import gc
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from results.errors import RecordError, RunNotFoundError
from results.record.events import checked_event, decode_event, encode_event
from results.record.files import sync_folder
from results.record.lock import RunLock
from results.record.state import RunState

RECORD_NAME: Final = "record.jsonl"


class Record:
    """The record of the run in `folder`, opened for writing by one driver; a context manager.

    Creates the folder, takes its lock, cuts a torn last line and replays the events.

    Raises:
        RecordLockedError: a live driver holds the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock: RunLock | None = RunLock(self.folder)
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError:
            self._lock.release()
            raise
        content = self.path.read_bytes()
        self.size = content.rfind(b"\n") + 1
        """Bytes of the record's complete lines."""
        self.state = replay(content)
        """The fold of all events so far."""
        self.repairs: list[str] = list(self.state.skipped)
        """A sentence for each damage found while opening; empty when there was none."""
        torn = len(content) - self.size
        if torn:
            os.ftruncate(self._handle, self.size)
            os.fsync(self._handle)
            self.repairs.append(f"{self.path}: the last line was torn; {torn} bytes cut")
        sync_folder(self.folder)

    @property
    def path(self) -> Path:
        """The file of the record."""
        return self.folder / RECORD_NAME

    def append(self, event: str, **fields: Any) -> bool:
        """Writes one event durably, folds it into `state` and returns whether it added something.

        A repeated end or epoch adds nothing and is not written. `time_s`, the unix time, is added.

        Raises:
            RecordError: the event's fields or its place are wrong, or the record is closed; nothing is written.
            OSError: the disk refused the line; what part of it was written is cut again.
        """
        if self._lock is None:
            raise RecordError(f"{self.path} is closed; open it again to append {event!r}")
        checked = checked_event(event, {**fields, "time_s": time.time()})
        if not self.state.accepts(checked):
            return False
        line = encode_event(checked)
        try:
            if os.write(self._handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._handle)
        except BaseException:  # a Ctrl-C as well: what the caller did not see appended is not in the file
            os.ftruncate(self._handle, self.size)
            raise
        self.size += len(line)
        return self.state.apply(checked)

    def close(self) -> None:
        """Closes the record and gives the lock back; a second call does nothing."""
        if self._lock is not None:
            os.close(self._handle)
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_record(folder: Path) -> RunState:
    """The state of the run in `folder`, read without a lock and without a change, also while a driver writes.

    Raises:
        RunNotFoundError: the folder holds no record.
    """
    path = Path(folder) / RECORD_NAME
    try:
        return replay(path.read_bytes())
    except FileNotFoundError:
        raise RunNotFoundError(f"{path} does not exist; name a run folder that holds {RECORD_NAME}") from None


def replay(content: bytes) -> RunState:
    """The fold of the complete lines of a record's content; lines that are no valid event are named in `skipped`."""
    state = RunState()
    collecting = gc.isenabled()
    gc.disable()  # a state is all kept: looking for garbage takes a fifth of the 0.5 s for 5,000 trials
    try:
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                state.apply(decode_event(line))
            except RecordError as error:
                state.skipped.append(f"{RECORD_NAME} line {number} is skipped: {error}")
    finally:
        if collecting:
            gc.enable()
    return state
