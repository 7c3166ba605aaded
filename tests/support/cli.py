"""Running the project's commands as a user does: in a process of their own, from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

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


def run(module: str, *arguments: str | Path, cwd: Path, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module` in `cwd` to its end; the timeout only keeps a hang from blocking the suite."""
    return subprocess.run(
        command(module, *arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout_s
    )


def start(module: str, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Starts `python -m module` in `cwd`, in a session of its own so that a signal reaches what it started too."""
    return subprocess.Popen(
        command(module, *arguments),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def events(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of a run's record; none while it does not exist."""
    path = folder / "record.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
