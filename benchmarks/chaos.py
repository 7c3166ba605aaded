"""Does a search survive being killed? Kills one at every kind of instant, resumes it to its end, and counts the cost.

Usage: python -m benchmarks.chaos --kills 50 [--trials N] [--seed S] [--compare] [--folder DIR]

A real search on digits is started, killed with SIGKILL at instants drawn from the seed (`benchmarks.chaos_kills`) and
resumed until its trials are done. Then its files are read from outside (`benchmarks.chaos_checks`) and every kill is
accounted for (`benchmarks.chaos_losses`). `--compare` runs one trial at a time, then the same search without a kill,
and holds their leaderboards against each other. The last line is one JSON object. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos_checks import differences, problems
from benchmarks.chaos_kills import AT_THE_END, POINTS, Scene, strike
from benchmarks.chaos_losses import Kill, look_after, settle_accounts, table
from benchmarks.chaos_processes import clear, wait_until
from results import read_record
from results.record import RECORD_NAME
from search.runs import read_config

ROOT = Path(__file__).resolve().parent.parent
SEARCH = (
    "--max-epochs=4",
    "--grace-epochs=1",
    "--reduction-factor=2",
    "--min-params=1500",
    "--max-params=16000",
    "--set=space.channels=[8,12,16]",
    "--set=space.blocks=[1,2]",
    "--set=space.stages=[2,3]",
    "--set=recipe.precision=float32",
    "--set=recipe.learning_rate=[0.02,0.05,0.1]",
)
"""Flags of a search on digits whose trials take a second, with room for 249 of them."""
KILLED, WHOLE = "killed", "whole"
TRIALS_A_KILL = 2
"""What a kill's session gets done, about."""
NOTICE_S = 30.0
"""How long a driver has to notice that one of Ray's own processes is dead."""
CLEAR_S = 30.0
"""How long the workers of a dead driver have to end."""


class ChaosError(RuntimeError):
    """A search that ended otherwise than by a kill or with its trials done."""


def plan(kills: int, seed: int) -> list[str]:
    """The points of `kills` kills: rounds of all points in a random order, those of the run's end last.

    Slow points are in every second round. None that comes only early in a driver's life follows one that the driver
    survives.
    """
    generator = np.random.default_rng([seed, 0])
    ends = list(AT_THE_END[: max(0, kills - 1)])
    usual = [name for name in POINTS if name not in AT_THE_END]
    planned: list[str] = []
    for number in itertools.count():
        if len(planned) >= kills - len(ends):
            break
        others = [name for name in usual if not (number % 2 and POINTS[name].slow)]
        while True:
            order = [others[place] for place in generator.permutation(len(others))]
            neighbours = itertools.pairwise([*planned[-1:], *order])
            if not any(POINTS[name].survived and POINTS[after].early for name, after in neighbours):
                break
        planned += order
    return planned[: kills - len(ends)] + ends


@dataclass
class Campaign:
    """A search in `storage` that is killed again and again; Ray's files go to `ray_folder`."""

    storage: Path
    trials: int
    seed: int
    ray_folder: Path
    """Short: a socket's path may have 107 characters at most."""
    flags: tuple[str, ...] = ()
    """Beside those of `SEARCH`."""

    @property
    def folder(self) -> Path:
        """The killed run's."""
        return self.storage / KILLED

    def run(self, points: Sequence[str]) -> list[Kill]:
        """Starts, kills and resumes the search until the points are used up and its trials done; what it cost.

        When the trials are done before that, the search is extended and `trials` grows.

        Raises:
            ChaosError: a driver ended with an error.
        """
        pending, kills = list(points), list[Kill]()
        generator = np.random.default_rng([self.seed, 1])
        while True:
            driver = self._start(KILLED, len(kills), resumed=bool(kills))
            try:
                alive = self._torment(driver, pending, kills, generator)
                if alive:
                    driver.wait(timeout=600)
            finally:
                driver.kill()
                driver.wait()
                clear(driver.pid, CLEAR_S)
            if alive:
                self._require_done(driver, KILLED)
                if not pending:
                    break
                if set(pending) <= set(AT_THE_END):
                    pending = ["summary"] * len(pending)  # a finished run can be resumed as often as one likes
                else:
                    self.trials += TRIALS_A_KILL * len(pending)  # and extended
        content = (self.folder / RECORD_NAME).read_bytes()
        settle_accounts(kills, read_record(self.folder), content)
        return kills

    def run_whole(self) -> None:
        """The same search without a kill."""
        driver = self._start(WHOLE, 0, resumed=False)
        driver.wait(timeout=1800)
        clear(driver.pid, CLEAR_S)
        self._require_done(driver, WHOLE)

    def _torment(
        self, driver: subprocess.Popen[bytes], pending: list[str], kills: list[Kill], generator: np.random.Generator
    ) -> bool:
        """Kills one driver, or its workers and then it; whether it is to end by itself now."""
        scene = Scene(driver, self.folder, self.trials)
        while pending:
            name = strike(scene, pending[0], generator)
            if name is None:
                return True
            pending.pop(0)
            point, hung = POINTS[name], False
            if not point.survived:
                hung = not wait_until(lambda: driver.poll() is not None, NOTICE_S)
                if hung:
                    driver.kill()
                driver.wait()
                clear(driver.pid, CLEAR_S)
            kills.append(look_after(self.folder, name, driver.pid, one_worker=point.survived, hung=hung))
            sys.stderr.write(f"{len(kills)}: {point.title}\n")
            if not point.survived:
                return False
        return True

    def _start(self, name: str, number: int, *, resumed: bool) -> subprocess.Popen[bytes]:
        logs = self.storage / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        place = ["--storage", str(self.storage)]
        if resumed:
            flags = ["--resume", name]
            flags += [f"--trials={self.trials}"] if read_config(self.folder).trials != self.trials else []
        else:
            flags = ["--name", name, f"--trials={self.trials}", f"--seed={self.seed}", *SEARCH, *self.flags]
        with open(logs / f"{name}-{number:03d}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "search.run", *place, *flags],
                cwd=ROOT,
                env=os.environ | {"RAY_TMPDIR": str(self.ray_folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _require_done(self, driver: subprocess.Popen[bytes], name: str) -> None:
        if driver.returncode:
            log = max((self.storage / "logs").glob(f"{name}-*.log"), key=lambda path: path.stat().st_mtime)
            raise ChaosError(f"the driver ended with exit code {driver.returncode}: {log.read_text()[-2000:]}")


def main(given: Sequence[str] | None = None) -> int:
    """Runs the benchmark; the exit code: 0 when nothing was lost, repeated or wrong."""
    asked = _arguments(given)
    storage = Path(asked.folder or tempfile.mkdtemp(prefix="chaos-")).absolute()
    trials = asked.trials or TRIALS_A_KILL * asked.kills
    flags = ("--concurrency=1",) if asked.compare else ()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-ray-", dir="/tmp") as ray_folder:
        campaign = Campaign(storage, trials, asked.seed, Path(ray_folder), flags)
        kills = campaign.run(plan(asked.kills, asked.seed))
        found = problems(campaign.folder, campaign.trials)
        if asked.compare:
            campaign.run_whole()
            found += differences(storage, KILLED, WHOLE)
    facts = _facts(kills, campaign, found, compared=asked.compare)
    facts["wall_time_s"] = round(time.monotonic() - started, 1)
    for line in (*table(kills), "", *(f"problem: {sentence}" for sentence in facts["problems"]), json.dumps(facts)):
        sys.stdout.write(f"{line}\n")
    return 1 if facts["problems"] else 0


def _facts(kills: Sequence[Kill], campaign: Campaign, found: list[str], *, compared: bool) -> dict[str, Any]:
    state = read_record(campaign.folder)
    notes = [f"kill {number}, {kill.point}: {note}" for number, kill in enumerate(kills, 1) for note in kill.notes]
    return {
        "kills": len(kills),
        "points": dict(Counter(kill.point for kill in kills)),
        "trials": len(state.trials),
        "sessions": len(state.sessions),
        "epochs": sum(map(len, state.reports.values())),
        "lost": sum(kill.lost for kill in kills),
        "repeated": sum(kill.repeated for kill in kills),
        "redone": sum(kill.redone for kill in kills),
        "hung": sum(kill.hung for kill in kills),
        "same_leaderboard": not any("differs" in sentence for sentence in found) if compared else None,
        "problems": found + notes,
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=_count, default=50, help="SIGKILLs in all")
    parser.add_argument("--trials", type=_count, help="of the search at first; without it two a kill")
    parser.add_argument("--seed", type=int, default=0, help="of the search and of the kills")
    parser.add_argument("--compare", action="store_true", help="one trial at a time, and against an unkilled search")
    parser.add_argument("--folder", type=Path, help="where the runs and logs go; without it a new folder in /tmp")
    return parser.parse_args(given)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; use a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
