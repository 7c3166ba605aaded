"""Running the project's commands as a user does: in a process of their own, from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT, session

LIMIT_S = 240
"""Longest wait for a command, so that a hang cannot block the suite."""

COMMANDS = (
    *("search.run", "search.space", "search.refit", "search.evaluate", "search.export"),
    *("results.leaderboard", "results.runs", "results.show"),
)
"""The modules that are commands."""

TINY = (
    "--trials=4",
    "--max-epochs=4",
    "--grace-epochs=1",
    "--reduction-factor=2",
    "--min-params=1500",
    "--max-params=6000",
    "--set=space.channels=[8,12,16]",
    "--set=space.blocks=[1,2]",
    "--set=space.stages=[2]",
    "--set=recipe.precision=float32",
)
"""Flags of a search on digits whose trials take a second."""


def command(module: str, *arguments: str | Path) -> list[str]:
    """The command line of `python -m module`."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's environment, in which any warning of the project's own modules is shown."""
    return os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"}


def run(module: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module` in `cwd` to its end."""
    with start(module, *arguments, cwd=cwd) as process:
        output, errors = process.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def start(module: str, *arguments: str | Path, cwd: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """`python -m module` in `cwd`, in a session of its own, which is ended with the `with`."""
    return session(
        command(module, *arguments), cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(driver: subprocess.Popen[str], happened: Callable[[], object]) -> None:
    """Returns when `happened` holds; fails with what the driver wrote if it ends before that."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reported(folder: Path, epoch: int = 1) -> bool:
    """Whether a trial of the run has reported `epoch`."""
    return any(event["event"] == "report" and event["epoch"] == epoch for event in events(folder))


def events(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of a run's record; none while it does not exist."""
    path = folder / "record.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
