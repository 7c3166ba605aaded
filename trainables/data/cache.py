"""The cache of prepared data sets, in which several processes prepare a data set exactly once."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from trainables.data.stored_arrays import (
    FILE_NAMES,
    DamagedError,
    Part,
    RawArrays,
    StoredPart,
    read_meta,
    read_part,
    write_arrays,
)
from trainables.errors import DatasetError

Say = Callable[[str], None]
"""Receives one line of progress, without a newline."""

Prepare = Callable[[Path, Say], RawArrays]
"""Returns the arrays of a data set; the path is an empty scratch folder, which is removed afterwards."""


SHA256_DIGITS = 64


def silent(_: str) -> None:
    """Ignore a line of progress."""


def cache_root(data_dir: str | Path | None = None) -> Path:
    """Return the folder of all prepared data sets, absolute; it need not exist.

    It is `data_dir` if given, else $PARAMBUDGET_DATA, else parambudget/data in $XDG_CACHE_HOME or in ~/.cache.
    """
    chosen = data_dir or os.environ.get("PARAMBUDGET_DATA")
    if not chosen:
        chosen = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "parambudget" / "data"
    return Path(chosen).expanduser().absolute()


def open_part(
    root: Path, key: str, name: str, part: Part, prepare: Prepare, say: Say = silent, *, full: bool = False
) -> StoredPart:
    """Map one part of the data set in `root`/`key`, and prepare the set first if it is missing or damaged.

    If several processes call this, one prepares and the others wait. `name` is the data set's name in messages and in
    meta.json; `full` compares checksums as well as sizes. Raises DatasetError when the data set can neither be opened
    nor prepared.
    """
    folder = root / key
    with contextlib.suppress(DamagedError):
        return read_part(folder, part, full=full)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _exclusive(root / f".{key}.lock", name, say):
            try:
                return read_part(folder, part, full=full)  # prepared by another process in the meantime
            except DamagedError as error:
                if folder.exists():
                    _refuse_foreign(folder)
                    say(f"{name}: the stored copy is damaged ({error}); preparing it again")
            _prepare(root, key, name, prepare, say)
            return read_part(folder, part, full=full)
    except OSError as error:
        raise DatasetError(
            f"{name} cannot be stored in {root} ({error}); free space there, or choose another folder with the data "
            "directory option or $PARAMBUDGET_DATA"
        ) from error


def drop_older(root: Path, name: str, files: str, say: Say) -> None:
    """Remove the prepared copies of the image folder `name` that were made of other files than `files`.

    `files` is a SHA-256 and what follows it; copies in which something else follows are kept.
    """
    for meta_file in root.glob("folder-*/meta.json"):
        folder = meta_file.parent
        with contextlib.suppress(DatasetError, OSError):  # one that is not ours, or is removed by another process
            meta = read_meta(folder)
            earlier = meta.get("files", "")
            if meta.get("name") == name and earlier != files and earlier[SHA256_DIGITS:] == files[SHA256_DIGITS:]:
                _refuse_foreign(folder)
                shutil.rmtree(folder)  # processes that have mapped its files can still read them
                say(f"{name}: the prepared copy of its earlier files is removed ({folder})")


def _prepare(root: Path, key: str, name: str, prepare: Prepare, say: Say) -> None:
    """Prepare in a sibling folder and rename it, so that a killed process leaves nothing that looks complete."""
    partial, scratch, folder = root / f".{key}.partial", root / f".{key}.scratch", root / key
    leftovers = [path for path in (partial, scratch) if path.exists()]
    if leftovers:
        say(f"{name}: an earlier preparation did not finish; starting over")
    for path in leftovers:
        shutil.rmtree(path)
    try:
        partial.mkdir()
        scratch.mkdir()
        raw = prepare(scratch, say)
        write_arrays(partial, name, raw)
        if folder.exists():
            shutil.rmtree(folder)  # processes that have mapped its files can still read them
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"{name}: {len(raw.train_labels):,} + {len(raw.test_labels):,} images from {raw.source}, stored in {folder}")


def _refuse_foreign(folder: Path) -> None:
    """Raise DatasetError unless `folder` has only files with names of ours and may therefore be replaced."""
    foreign = sorted({path.name for path in folder.iterdir()} - FILE_NAMES) if folder.is_dir() else [folder.name]
    if foreign:
        raise DatasetError(
            f"{folder} is needed for the prepared copy but holds {foreign[0]!r}, which parambudget did not write; "
            "move it away or choose another data directory"
        )


@contextlib.contextmanager
def _exclusive(path: Path, name: str, say: Say) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it when its holder ends for any reason."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another process is preparing it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
