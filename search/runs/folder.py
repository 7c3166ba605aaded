"""A run's folder: its name, and its `run.json` with the frozen configuration, versions and hardware."""

from __future__ import annotations

import errno
import itertools
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.record.files import replace_file, sync_folder
from results.record.folders import OLDER_RUNS, RUN_FILE, is_run, run_not_found
from results.record.lock import RunLock, is_alive
from results.record.storage import require_changeable
from search.config import RunConfig
from search.config.changes import Change
from search.config.composition import validated
from search.errors import ConfigError, ResumeError
from search.machine import git_state, hardware, versions
from search.recipes.table import OF_THE_RUN
from trainables.data.image_format import ImageFormat

RUN_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_GENERATED = re.compile(r"(.*-\d{8}-\d{6})(?:-\d+)?")
MOST_OF_STEM = 70
"""Most characters of a data set's name in a run's default name, which ends in a time and has at most 100 characters."""


def new_run_folder(storage: Path, name: str | None, dataset: str) -> Path:
    """The folder for a new run: `storage`/`name`, where a missing name is made from the data set and the time.

    Raises:
        ConfigError: the name has other characters than a run's name may have, or is taken.
    """
    if name is None:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(dataset).name).lstrip("._-")[:MOST_OF_STEM] or "run"
        made = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
        name = next(name for name in _numbered(made) if not os.path.lexists(storage / name))
    elif not _NAME.fullmatch(name):
        raise ConfigError(f"name: {name!r} given; use up to 100 letters, digits, '.', '_' and '-'")
    elif os.path.lexists(storage / name):
        raise _name_taken(storage / name)
    return storage / name


def _numbered(made: str) -> Iterator[str]:
    """A generated name, and then the same name with -2, -3 and so on; a number that it already has is replaced."""
    numbered = _GENERATED.fullmatch(made)
    made = numbered[1] if numbered else made
    return itertools.chain([made], (f"{made}-{number}" for number in itertools.count(2)))


def _name_taken(folder: Path) -> ConfigError:
    return ConfigError(f"name: {folder} exists; continue it with --resume {folder.name}, or choose another name")


def existing_run_folder(storage: Path, name: str, *, changed: bool = False) -> Path:
    """The folder of the run called `name` in `storage`, or at the path `name`; with `changed`, it will be written.

    Raises:
        RunNotFoundError: there is no such run; the message names the nearest ones.
        ResumeError: the run lacks its `run.json`.
        ResultsError: with `changed`, this user may not write the run.
    """
    for folder in (storage / name, Path(name)):
        if os.path.isfile(folder / RUN_FILE):
            if changed:
                require_changeable(folder)
            return folder if folder.name not in ("", "..") else folder.resolve()  # `.` has no name of its own
        if is_run(folder):
            raise ResumeError(f"{folder / RUN_FILE}: missing; restore it from a copy, or start another run")
    raise run_not_found(name, storage)


def write_run_file(
    folder: Path,
    config: RunConfig,
    first: Sequence[dict[str, Any]] = (),
    data: Mapping[str, object] | None = None,
    test_sha256: str | None = None,
    val_images: int | None = None,
    *,
    own_validation: bool = False,
    image_format: ImageFormat | None = None,
    opening: Sequence[str] = (),
    named: bool = True,
) -> Path:
    """Creates `folder` with its `run.json`, both or neither, and returns it.

    `first` are the candidates to try first, `data` is the identity of the training images, `test_sha256` that of the
    test images, and `val_images` the number of validation images, a part of the data set's own with `own_validation`.
    `image_format` is what the networks expect of images, and `opening` the first lines of the search. If another
    process has created `folder` meanwhile, a run that the user has not `named` gets the next free name.

    Raises:
        ConfigError: the name is taken, or the storage cannot be written.
        RecordLockedError: the disk has no file locks.
    """
    content = {
        "format": RUN_FORMAT,
        "name": folder.name,
        "created_s": time.time(),
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "first": list(first),
        "data": dict(data or {}),
        "test": {"sha256": test_sha256},
        "validation": {"images": val_images, "own": own_validation},
        "image_format": None if image_format is None else image_format.to_dict(),
        "opening": list(opening),
        "git": git_state(),
        "versions": {"python": platform.python_version()} | versions(),
        "hardware": hardware(with_gpus=config.gpus_per_trial != 0),
    }
    names = [folder.name] if named else _numbered(folder.name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder without its file could neither be resumed nor started again. The process in the name keeps
        # simultaneous starts apart, and of several renames to one name only the first succeeds.
        _drop_unfinished(folder)
        unfinished = folder.with_name(f"{_unfinished_prefix(folder)}{os.getpid()}.tmp")
        unfinished.mkdir()
        try:
            RunLock(unfinished).release()
            (unfinished / "lock").unlink()
            for name in names:
                content["name"] = name
                replace_file(unfinished / RUN_FILE, (json.dumps(content, indent=2) + "\n").encode())
                try:
                    os.rename(unfinished, folder.with_name(name))
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise
                    continue
                sync_folder(folder.parent)
                return folder.with_name(name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"storage: {folder.parent} cannot be written ({error.strerror or error}); name another --storage"
        ) from None
    raise _name_taken(folder)


def _unfinished_prefix(folder: Path) -> str:
    return f".{folder.name}.{os.uname().nodename}."


def _drop_unfinished(folder: Path) -> None:
    """Removes what processes of this machine left that were killed while they started a run of this name."""
    prefix = _unfinished_prefix(folder)
    for path in folder.parent.iterdir():
        process = path.name.removeprefix(prefix).partition(".")[0]
        left = path.name.startswith(prefix) and path.name.endswith(".tmp") and process.isdecimal()
        if left and (int(process) == os.getpid() or not is_alive(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def read_config(folder: Path) -> RunConfig:
    """The configuration of the run in `folder`, including the changes made by resumes.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    stored = _read_run_file(folder)["config"]
    # Earlier versions also listed the epochs and the seed with the recipe.
    recipe = {key: value for key, value in stored.get("recipe", {}).items() if key not in OF_THE_RUN}
    return validated({**OLDER_RUNS, **stored, "recipe": recipe}, complete=True)


def read_first(folder: Path) -> list[dict[str, Any]]:
    """The candidates that the run in `folder` tries first, as stored.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    first: list[dict[str, Any]] = _read_run_file(folder).get("first", [])
    return first


def read_data(folder: Path) -> dict[str, object]:
    """The identity of the images of the run in `folder`; empty in runs of versions that did not store it.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    data: dict[str, object] = _read_run_file(folder).get("data", {})
    return data


def ranks_means(folder: Path) -> bool:
    """Whether the run in `folder` has several validation splits, so that its trials are ranked by means over them.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    return bool(_read_run_file(folder)["config"].get("validation_splits", 1) > 1)


def read_val_images(folder: Path) -> int | None:
    """The number of validation images of the run in `folder`; None in runs of versions that did not store it.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    stored: int | None = _read_run_file(folder).get("validation", {}).get("images")
    return stored


def read_test_sha256(folder: Path) -> str | None:
    """The `TestSet.sha256` when the run in `folder` was started; None in runs of versions that did not store it.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    stored: str | None = _read_run_file(folder).get("test", {}).get("sha256")
    return stored


def read_image_format(folder: Path) -> ImageFormat | None:
    """What the networks of the run in `folder` expect of images; None in runs of versions that did not store it.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    stored = _read_run_file(folder).get("image_format")
    try:
        return None if stored is None else ImageFormat.from_dict(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise ResumeError(
            f"{folder / RUN_FILE}: image_format cannot be read ({error!r}); restore it from a copy"
        ) from None


def change_config(folder: Path, change: Change) -> None:
    """Writes the changes of a resume to `run.json`, with their time.

    Raises:
        RecordLockedError: a live driver holds the run.
        ResumeError: `run.json` is damaged or has another format.
    """
    if not change.differences:
        return
    lock = RunLock(folder)  # the configuration must not change under a live driver
    try:
        content = _read_run_file(folder)
        content["config"] = change.config.model_dump(mode="json")
        now = {key: new for key, (_, new) in change.differences.items()}
        content["changes"] = [*content.get("changes", []), {"time_s": time.time(), **now}]
        replace_file(folder / RUN_FILE, (json.dumps(content, indent=2) + "\n").encode())
    finally:
        lock.release()


def _read_run_file(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form, stored = content["format"], content["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path}: cannot be read ({error!r}); restore it from a copy") from None
    if form != RUN_FORMAT or not isinstance(stored, dict):
        raise ResumeError(f"{path}: format {form}, expected {RUN_FORMAT}; use the version of parambudget that wrote it")
    return content


def began_on_this_hardware(folder: Path, with_gpus: bool) -> bool:
    """Whether the run in `folder` was started on hardware like this machine's, for runs `with_gpus` with its GPUs.

    Raises:
        ResumeError: `run.json` is damaged or has another format.
    """
    return bool(_read_run_file(folder).get("hardware") == hardware(with_gpus))
