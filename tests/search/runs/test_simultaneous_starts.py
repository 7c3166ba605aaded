"""Simultaneous starts of one name: exactly one wins with its own configuration, and nothing is left behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from results import Record, RecordError
from results.record.folders import RUN_FILE
from search.config import compose
from search.errors import ConfigError
from search.runs.folder import new_run_folder, read_config, write_run_file

STARTS = 4
ROUNDS = 20


def start_all(number: int, barrier: Any, answers: Any, storage: Path, named: bool) -> None:
    """Starts a run in each round, with the number of this process as its seed."""
    config = compose(None, None, {"seed": number}, [])
    for turn in range(ROUNDS):
        folder = storage / f"digits-20261129-0000{turn:02d}"
        barrier.wait()
        try:
            answers.put((number, str(write_run_file(folder, config, named=named)), ""))
        except ConfigError as error:
            answers.put((number, str(folder), str(error)))


@pytest.mark.parametrize("named", [True, False])
def test_starts_at_a_barrier_do_not_share_a_run(named: bool, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(STARTS), context.Queue()
    arguments = (barrier, answers, tmp_path / "runs", named)
    processes = [context.Process(target=start_all, args=(number, *arguments)) for number in range(STARTS)]
    for process in processes:
        process.start()
    given = [answers.get(timeout=120) for _ in range(STARTS * ROUNDS)]
    for process in processes:
        process.join()
    winners = {folder: number for number, folder, error in given if not error}
    assert len(winners) == sum(not error for _, _, error in given) == (ROUNDS if named else ROUNDS * STARTS)
    for folder, number in winners.items():
        assert read_config(Path(folder)).seed == number
    for _, folder, error in given:
        assert not error or error.startswith(f"name: {folder} exists; continue it with --resume ")
    assert {str(path) for path in (tmp_path / "runs").iterdir()} == set(winners)
    assert not any(path.name.endswith("-2-2") for path in (tmp_path / "runs").iterdir())


def test_a_generated_name_is_numbered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "20261129-000000")
    config = compose(None, None, {}, [])
    names = []
    for _ in range(3):
        folder = new_run_folder(tmp_path, None, "digits")
        names.append(write_run_file(folder, config, named=False).name)
    assert names == ["digits-20261129-000000", "digits-20261129-000000-2", "digits-20261129-000000-3"]
    late = write_run_file(tmp_path / "digits-20261129-000000-2", config, named=False)  # another start took -2 meanwhile
    assert late.name == "digits-20261129-000000-4"


def test_a_disk_that_cannot_sync_folders_holds_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr("os.fsync", fsync)
    folder = write_run_file(tmp_path / "mine", compose(None, None, {}, []))
    with Record(folder) as record:
        assert record.state.is_empty
    assert (folder / RUN_FILE).is_file()


@pytest.mark.parametrize(
    ("operation", "numbers", "error", "message"),
    [
        (
            "fcntl.flock",
            (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS),
            RecordError,
            r"has no file locks .*; name a --storage on another disk",
        ),
        (
            "search.runs.folder.replace_file",
            (errno.ENOSPC, errno.EDQUOT, errno.EROFS),
            ConfigError,
            r"storage: .* cannot be written",
        ),
    ],
)
def test_a_disk_that_cannot_hold_a_run_is_refused_and_nothing_is_left(
    operation: str,
    numbers: tuple[int, ...],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in numbers:

        def refuse(*arguments: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(operation, refuse)
        with pytest.raises(error, match=message):
            write_run_file(tmp_path / "mine", compose(None, None, {}, []))
        assert list(tmp_path.iterdir()) == []
