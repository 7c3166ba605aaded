"""A whole search whose disk fills up: it pauses, says so, and loses and repeats nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_search_end_to_end import assert_sound
from tests.support.cli import LIMIT_S, TINY, events, reported, run, start, wait_for
from tests.support.disk_fixtures import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    with small_disk(tmp_path / "disk", mebibytes=8) as folder:
        yield folder


def read_until(driver: subprocess.Popen[str], text: str) -> str:
    """What the driver wrote to stderr up to the line with `text`."""
    assert driver.stderr is not None
    lines = []
    for line in driver.stderr:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} is not in {''.join(lines)!r}")


@pytest.mark.search
def test_a_search_pauses_on_a_full_disk_and_goes_on_when_there_is_room(disk: Path) -> None:
    folder = disk / "runs" / "full"
    with start("search.run", *TINY, "--name=full", cwd=disk) as driver:
        wait_for(driver, lambda: reported(folder))
        filler = fill(disk)
        said = read_until(driver, "waiting for room")
        assert f"the disk of {folder.relative_to(disk)} is full; waiting for room" in said
        filler.unlink()
        output, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, errors
    assert f"the disk of {folder.relative_to(disk)} has room again" in errors
    assert "Done: 4 trials" in output
    assert_sound(events(folder), trials=4, max_epochs=4)
    assert {event["status"] for event in events(folder) if event["event"] == "ended"} <= {"completed", "stopped"}
    assert sum(event["event"] == "session" for event in events(folder)) == 1


@pytest.mark.slow
def test_ctrl_c_on_a_full_disk_ends_a_session_that_loses_nothing(disk: Path) -> None:
    folder = disk / "runs" / "full"
    with start("search.run", *TINY, "--name=full", cwd=disk) as driver:
        wait_for(driver, lambda: reported(folder))
        filler = fill(disk)
        read_until(driver, "waiting for room")
        os.killpg(driver.pid, signal.SIGINT)
        output, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 130, errors
    assert "Interrupted, nothing is lost" in output
    assert "Traceback" not in output + errors
    refused = run("search.run", "--resume=full", cwd=disk)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "disk: 0 KiB free" in refused.stderr
    filler.unlink()
    outcome = run("search.run", "--resume=full", "--quiet", cwd=disk)
    assert outcome.returncode == 0, outcome.stderr
    assert_sound(events(folder), trials=4, max_epochs=4)


@pytest.mark.slow
def test_a_quota_that_is_spent_ends_the_session_and_a_larger_one_continues_it(disk: Path) -> None:
    folder = disk / "runs" / "full"
    with start("search.run", *TINY, "--name=full", "--disk-quota=3M", cwd=disk) as driver:
        wait_for(driver, lambda: reported(folder))
        (folder / "notes").write_bytes(bytes(3 * 2**20))
        output, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, errors
    assert events(folder)[-1]["reason"] == "disk-quota"
    assert "The disk quota leaves no room for another trial, nothing is lost" in output
    assert "python -m search.run --resume full --disk-quota 6M" in output
    assert len({event["trial"] for event in events(folder) if event["event"] == "suggested"}) < 4
    outcome = run("search.run", "--resume=full", "--disk-quota=6M", cwd=disk)
    assert outcome.returncode == 0, outcome.stderr
    assert_sound(events(folder), trials=4, max_epochs=4)
