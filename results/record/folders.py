"""Finds runs; a run is a folder with a record or a trials table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from results.errors import ResultsError, RunNotFoundError
from results.record.storage import permits, storage_problem

START_A_SEARCH: Final = "start a search with `python -m search.run`"
RUN_FILE: Final = "run.json"
"""The file of a run that holds its configuration."""
OLDER_RUNS: Final = {"validation_share": 0.1, "test_share": 0.2, "val_folder": False, "confirm": 0}
"""What the keys of the configuration are in runs of versions that did not have them."""
_SIGNS: Final = ("record.jsonl", "trials.parquet")
_NAMES_SHOWN: Final = 10


def is_run(folder: Path) -> bool:
    """Whether the folder has a record or a trials table."""
    return any(os.path.isfile(folder / name) for name in _SIGNS)  # False, not an error, in a folder of another user


def run_names(storage: Path) -> list[str]:
    """The sorted names of the runs directly below `storage`; empty if that folder does not exist.

    A folder that this user cannot look into may be a run, and is therefore one of them.
    """
    if storage_problem(storage) or not storage.is_dir():
        return []
    return sorted(
        folder.name
        for folder in storage.iterdir()
        if is_run(folder) or (folder.is_dir() and not permits(folder, os.X_OK))
    )


def find_runs(storage: Path, names: Sequence[str | Path] = ()) -> dict[str, Path]:
    """The folders of all runs in `storage`, or of the named ones in that order, by the name to show.

    A name is that of a run in `storage` or the path of a run's folder. Folders with the same name are shown by path.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        ResultsError: `storage` is not a folder, or cannot be read.
    """
    if names:
        folders = [_find_run(storage, name) for name in names]
    else:
        folders = [storage / name for name in run_names(storage)]
        if not folders and (problem := storage_problem(storage)):
            raise ResultsError(problem)
        if not folders:
            raise RunNotFoundError(f"no runs in {storage}; {START_A_SEARCH} or name another --storage")
    resolved = {os.path.realpath(folder): folder for folder in folders}
    short = {path: os.path.basename(path) for path in resolved}
    counts = Counter(short.values())
    return {short[path] if counts[short[path]] == 1 else str(folder): folder for path, folder in resolved.items()}


def run_not_found(name: str | Path, storage: Path) -> RunNotFoundError:
    """The error for a run that does not exist; it names the runs in `storage`, those with similar names first.

    Where `storage` or the run's folder cannot be read, the error says so.
    """
    if problem := storage_problem(storage):
        return RunNotFoundError(problem)
    for folder in (storage / name, Path(name)):
        if os.path.isdir(folder) and not permits(folder, os.R_OK | os.X_OK):
            return RunNotFoundError(f"{folder}: cannot be read (permission denied); ask its owner for access")
    names = run_names(storage)
    if not names:
        return RunNotFoundError(f"no run {str(name)!r}, and no runs in {storage}; {START_A_SEARCH}")
    near = get_close_matches(Path(name).name, names, n=_NAMES_SHOWN, cutoff=0.3)
    shown = (near + [other for other in names if other not in near])[:_NAMES_SHOWN]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return RunNotFoundError(f"no run {str(name)!r}; {storage} has {', '.join(shown)}{more}")


def _find_run(storage: Path, name: str | Path) -> Path:
    for folder in (storage / name, Path(name)):
        if str(name) and is_run(folder):
            return folder
    raise run_not_found(name, storage)
