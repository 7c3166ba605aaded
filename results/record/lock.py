"""The lock of a run's folder, which allows one live driver and ends with its process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from results.errors import RecordLockedError
from results.record.files import UNSUPPORTED


class RunLock:
    """An exclusive `flock` on the file `lock` in the folder, which names its holder.

    The kernel releases it when the holder dies. The file is therefore never deleted, and its content alone does not
    mean that the run is locked.

    Raises:
        RecordLockedError: a live driver holds it, or the disk has no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.read(self._handle, 4096))
            os.close(self._handle)
            raise RecordLockedError(
                f"{folder} is in use by {holder}; wait for it, stop it, or name another run"
            ) from None
        except OSError as error:
            os.close(self._handle)
            if error.errno not in UNSUPPORTED:
                raise
            raise RecordLockedError(  # two drivers of one run would damage its record, so there is no way without
                f"storage: the disk of {folder} has no file locks ({error.strerror}), which keep a run to one search; "
                "name a --storage on another disk"
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)

    def release(self) -> None:
        """Releases the lock."""
        os.close(self._handle)


def dead_holder(folder: Path) -> int | None:
    """The process id of the last driver of the run in `folder`, if it ran on this machine and no longer exists.

    None also if that cannot be determined. The lock is not taken, so no driver is refused meanwhile.
    """
    try:
        fields = json.loads((folder / "lock").read_bytes())
        pid = fields["pid"] if fields["host"] == socket.gethostname() else None
        return None if pid is None or is_alive(pid) else int(pid)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_alive(pid: int) -> bool:
    """Whether there is a process `pid` on this machine; True also where that cannot be determined."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _holder(content: bytes) -> str:
    try:
        fields = json.loads(content)
        return f"process {fields['pid']} on {fields['host']}"
    except (ValueError, TypeError, KeyError):  # the file is empty between another driver's flock and its write
        return "another process"
