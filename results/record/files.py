"""Files that appear whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from results.errors import ResultsError


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


def require_writable(key: str, output: Path, *, force: bool) -> None:
    """Nothing, when the file `output` that `key` names can be written, and is not there unless `force` replaces it.

    Raises:
        ResultsError: it is there, or cannot be.
    """
    if output.exists() and not force:
        raise ResultsError(f"{key}: {output} exists; name another file, or replace it with --force")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ResultsError(f"{key}: {output} cannot be a file there; name a file in a folder that exists")
