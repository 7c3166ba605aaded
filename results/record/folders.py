"""Finds runs; a run is a folder with a record or a trials table."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from results.errors import RunNotFoundError

START_A_SEARCH: Final = "start a search with `python -m search.run`"
_SIGNS: Final = ("record.jsonl", "trials.parquet")
_NAMES_SHOWN: Final = 10


def is_run(folder: Path) -> bool:
    """Whether the folder has a record or a trials table."""
    return any((folder / name).is_file() for name in _SIGNS)


def run_names(storage: Path) -> list[str]:
    """The sorted names of the runs directly below `storage`; empty if that folder does not exist."""
    if not storage.is_dir():
        return []
    return sorted(folder.name for folder in storage.iterdir() if is_run(folder))


def find_runs(storage: Path, names: Sequence[str | Path] = ()) -> dict[str, Path]:
    """The folders of all runs in `storage`, or of the named ones in that order, by the name to show.

    A name is that of a run in `storage` or the path of a run's folder. Folders with the same name are shown by path.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
    """
    if names:
        folders = [_find_run(storage, name) for name in names]
    else:
        folders = [storage / name for name in run_names(storage)]
        if not folders:
            raise RunNotFoundError(f"no runs in {storage}; {START_A_SEARCH} or name another --storage")
    folders = list({folder.resolve(): folder for folder in folders}.values())
    short = [folder.resolve().name for folder in folders]
    return {
        name if short.count(name) == 1 else str(folder): folder for name, folder in zip(short, folders, strict=True)
    }


def run_not_found(name: str | Path, storage: Path) -> RunNotFoundError:
    """The error for a run that does not exist; it names the runs in `storage`, those with similar names first."""
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
