"""One driver a run: a live one is named to the second, a dead one's lock is gone, whatever of its Ray still lives."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.processes import Process, is_worker, processes_of, stop
from results import Record
from results.record.folders import RUN_FILE
from tests.support.cli import TINY, reported, run, start, wait_for

pytestmark = pytest.mark.search


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The folder of a run whose driver and workers are stopped where they are, after a report; and the driver."""
    cwd = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # whatever other cluster is named: the driver starts its own Ray
        running = start("search.run", *TINY, "--name=live", "--quiet", cwd=cwd)
    folder = cwd / "runs" / "live"
    with running as driver:
        wait_for(driver, lambda: reported(folder))
        stop(processes_of(driver.pid))
        yield folder, driver


@pytest.mark.parametrize("change", [[], ["--trials=99"]], ids=["as it is", "with a change"])
def test_a_second_driver_is_refused_by_the_first_ones_name(
    change: list[str], live: tuple[Path, subprocess.Popen[str]]
) -> None:
    folder, driver = live
    assert run("results.leaderboard", "live", cwd=folder.parent.parent).stderr == ""
    files = [folder / name for name in (RUN_FILE, "record.jsonl", "lock")]
    before = [path.read_bytes() for path in files]
    second = run("search.run", "--resume=live", *change, cwd=folder.parent.parent)
    assert second.returncode == 2
    assert f"process {driver.pid} on {os.uname().nodename}" in second.stderr
    assert [line for line in second.stderr.splitlines() if line.startswith("error: ")] == second.stderr.splitlines()[
        -1:
    ]
    assert [path.read_bytes() for path in files] == before


def open_files(process: Process) -> list[str]:
    """The paths of the files that a process has open."""
    folder = Path("/proc", str(process.pid), "fd")
    return [os.readlink(folder / name) for name in os.listdir(folder)]


def test_a_dead_drivers_workers_hold_neither_its_lock_nor_its_record(
    live: tuple[Path, subprocess.Popen[str]],
) -> None:
    folder, driver = live
    held = {str(folder.resolve() / name) for name in ("lock", "record.jsonl")}
    family = processes_of(driver.pid)
    assert any(map(is_worker, family))
    assert {p.pid for p in family if held & set(open_files(p))} == {driver.pid}
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert processes_of(driver.pid), "some of its Ray lives on"
    board = run("results.leaderboard", "live", cwd=folder.parent.parent)
    assert f"process {driver.pid}, has died; `python -m search.run --resume runs/live`" in board.stderr
    with Record(folder) as record:
        assert record.repairs == []
