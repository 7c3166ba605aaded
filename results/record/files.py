"""Writes files that are complete or absent, even after a power cut."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from results.errors import ResultsError
from results.record.storage import permits

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)
"""The errors of a file system that does not offer an operation, such as a network disk."""


def replace_file(path: Path, payload: bytes) -> None:
    """Writes the file through a temporary file beside it, so that a reader sees the old content or the new.

    There is one writer at a time, so the temporary file has a fixed name: the next writer overwrites what a killed one
    left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk, others may wait for this space
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes created and replaced names in the folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # network disks do without; the files themselves have been synced
            raise
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    """Whether `error` means that the disk is full or the user's quota is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def require_writable(key: str, output: Path, *, force: bool) -> None:
    """Checks that the file `output`, given by `key`, can be written, and does not exist unless `force` replaces it.

    Raises:
        ResultsError: it exists, cannot be written, or is a device or a pipe, which a file would replace.
    """
    if os.path.lexists(output) and not force:
        raise ResultsError(f"{key}: {output} exists; name another file, or replace it with --force")
    if os.path.exists(output) and not os.path.isfile(output) and not os.path.isdir(output):
        raise ResultsError(f"{key}: {output} is a device or a pipe; name a regular file, or leave --{key} out")
    parent = output.absolute().parent
    if os.path.isdir(parent) and not permits(parent, os.W_OK | os.X_OK):
        raise ResultsError(f"{key}: {output} cannot be written (permission denied); name a file in another folder")
    if os.path.isdir(output) or not os.path.isdir(parent):
        raise ResultsError(f"{key}: {output} cannot be written; name a file in a folder that exists")
