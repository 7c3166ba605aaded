"""Files that appear whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def replace_file(path: Path, payload: bytes) -> None:
    """Writes the file through a temporary neighbour, so that a reader sees the old content or the new.

    The neighbour's name is fixed: what a killed writer leaves is overwritten by the next one, and there is one writer.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk others wait for its bytes
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the folder's names (created, replaced) durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    """Whether `error` says that the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
