"""Whether a search of thousands of trials stays as fast and as small as its first hundred: real Ray, no training.

Usage: python -m benchmarks.flatness [--trials 5000] [--sampler tpe] [--folder DIR]

Runs a search of zero-work trials (`zero_work`) on digits through the driver of `search.run`, resumes it with one more
trial, and asks for its leaderboard, each in a process of its own; the numbers of the search come from clocks around the
driver's own functions (`driver_clock`). Prints some of its stretches of a hundred trials, and as the last line one JSON
object. --folder keeps the run; it must not exist.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROWS = 10
"""Stretches of the search in the table."""
LEADERBOARDS = 5
"""Cold processes of the leaderboard, of which the median counts."""
TABLES = ("trials.parquet", "epochs.parquet")


def child(*arguments: str) -> tuple[float, str]:
    """Seconds and standard output of a Python process of its own."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - started, done.stdout


def driver(command: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """What `driver_clock` says after `command` on the run in `folder`, with `process_s` of the whole."""
    seconds, output = child("-m", "benchmarks.flatness.driver_clock", command, str(folder), *arguments)
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures | {"process_s": round(seconds, 2)}


def leaderboard_s(folder: Path) -> dict[str, float]:
    """Seconds of `python -m results.leaderboard`, the process's start included, on the wall and of the processor."""
    arguments = ("-m", "results.leaderboard", folder.name, "--storage", str(folder.parent))
    before = os.times()
    wall_s = median(child(*arguments)[0] for _ in range(LEADERBOARDS))
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall": round(wall_s, 2), "cpu": round(cpu_s / LEADERBOARDS, 2)}


def measure(folder: Path, trials: int, sampler: str) -> dict[str, Any]:
    """All figures; the run stays in `folder`, with one more trial than `trials`."""
    search = driver("search", folder, str(trials), sampler)
    stretches = search.pop("stretches")
    current = leaderboard_s(folder)
    kept = {name: (folder / name).read_bytes() for name in TABLES}
    resumed = driver("resume", folder, str(trials + 1))
    for name, content in kept.items():
        (folder / name).write_bytes(content)  # older than the record now
    stale = leaderboard_s(folder)
    print_stretches(stretches)
    return {
        "trials": trials,
        "sampler": sampler,
        **search,
        "resume": resumed,
        "leaderboard_s": current,
        "leaderboard_stale_s": stale,
        "record_mib": round((folder / "record.jsonl").stat().st_size / 2**20, 1),
        "entries_of_ray": sum(1 for _ in (folder / "ray").rglob("*")),
    }


def print_stretches(stretches: list[dict[str, Any]]) -> None:
    """One row for each stretch of the search."""
    names = list(stretches[0])
    sys.stdout.write("".join(f"{name:>15}" for name in names) + "\n")
    for row in [stretches[0], *stretches[1 :: max(1, len(stretches) // ROWS)], stretches[-1]]:
        sys.stdout.write("".join(f"{row[name]:>15}" for name in names) + "\n")


def main() -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flatness", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--sampler", choices=("tpe", "random"), default="tpe")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.trials < 300:
        raise SystemExit(f"error: trials: {given.trials} given; 300 at least, three stretches of a hundred")
    if given.folder is not None:
        return measure(given.folder, given.trials, given.sampler)
    temporary = Path(tempfile.mkdtemp())
    try:
        return measure(temporary / "flat", given.trials, given.sampler)
    finally:
        shutil.rmtree(temporary)
