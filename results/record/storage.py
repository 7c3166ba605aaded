"""Checks of the folder that holds the runs, made before any work and without writing anything."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from results.errors import ResultsError

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)")
_EFFECTIVE: Final = os.access in os.supports_effective_ids


def permits(path: Path, mode: int) -> bool:
    """Whether this process may use `path` as `mode`, a combination of `os.R_OK`, `os.W_OK` and `os.X_OK`."""
    return os.access(path, mode, effective_ids=_EFFECTIVE)


def storage_problem(storage: Path) -> str | None:
    """Why no runs can be read from `storage`; None if they can, and also if it does not exist."""
    url = _URL.fullmatch(str(storage))
    if url is not None and not os.path.lexists(storage):  # a Path has one slash of the two
        return (
            f"storage: {url[1]}://{url[2]} is a URL, and runs are kept in a folder; name a folder of this machine, "
            "into which remote storage may be mounted"
        )
    nearest = _nearest(storage)
    if not nearest.is_dir():
        what = "is a link to nothing" if nearest.is_symlink() and not nearest.exists() else "is not a folder"
        return f"storage: {nearest} {what}; name a folder"
    if not permits(nearest, os.R_OK | os.X_OK if nearest == storage else os.X_OK):
        return f"storage: {nearest} cannot be read (permission denied); ask its owner, or name another --storage"
    return None


def require_new_runs(storage: Path) -> None:
    """Checks that runs can be created in `storage`, which need not exist yet.

    Raises:
        ResultsError: it is a URL or a file, or it cannot be written.
    """
    problem = storage_problem(storage)
    if problem is not None:
        raise ResultsError(problem)
    nearest = _nearest(storage)
    if not permits(nearest, os.W_OK | os.X_OK):
        raise ResultsError(
            f"storage: {nearest} cannot be written (read-only, or another user's); name another --storage"
        )


def require_changeable(folder: Path) -> None:
    """Checks that the run in `folder` can be continued by this user.

    Raises:
        ResultsError: the folder or one of its files cannot be written.
    """
    checkpoints = folder / "checkpoints"  # a link to a disk that is not mounted is an error of the trials, which say so
    for path in (folder, folder / "record.jsonl", folder / "run.json", folder / "lock", checkpoints):
        there = path.exists() if path is checkpoints else os.path.lexists(path)
        if there and not permits(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            raise ResultsError(
                f"storage: {path} cannot be written (read-only, or another user's); copy the run to a folder of your "
                "own, and name that folder's path"
            )


def _nearest(path: Path) -> Path:
    """`path`, or its nearest parent that exists or cannot be looked into."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent if path.parts[1:] or path.is_absolute() else path.absolute().parent
    return path
