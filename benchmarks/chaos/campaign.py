"""A campaign of kills in a planned order, through which one search is resumed again and again."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.chaos.between import ACTIONS, Done, possible
from benchmarks.chaos.kills import strike
from benchmarks.chaos.losses import Kill, look_after, settle_accounts, wrong_ending
from benchmarks.chaos.points import AT_THE_END, POINTS
from benchmarks.chaos.processes import clear, wait_until
from benchmarks.chaos.scene import Scene
from results import read_record
from results.record.record import RECORD_NAME
from search.runs import read_config

ROOT = Path(__file__).resolve().parents[2]
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
    "--confirm=2",
    "--max-retries=100",  # the workers of one trial may be killed more often than the default allows
)
"""Flags of a search on digits whose trials take a second, with room for 249 of them."""
REFIT = ("--epochs=4", "--set=max_retries=100", "--set=recipe.precision=float32")
"""Flags of a refit of a trial of that search, whose seeds take a second each."""
KILLED, WHOLE, SOURCE = "killed", "whole", "source"
TRIALS_A_KILL = 2
"""About how many trials a session completes before it is killed."""
KILLS_AN_ACTION = 3
"""About one kill in this many is followed by an action on the run before its resume."""
NOTICE_S = 60.0
"""Seconds that a driver has to end by itself, after a signal or the death of one of Ray's own processes."""
CLEAR_S = 30.0
"""Seconds that the workers of a dead driver have to end."""


class ChaosError(RuntimeError):
    """A search that ended neither by a kill nor with all its trials done."""


def plan(kills: int, seed: int) -> list[str]:
    """The points of `kills` kills: rounds of all points in random order, with those of the run's end last.

    Slow points are in every second round. A point that occurs only early in a driver's life never follows one that the
    driver survives.
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


def plan_actions(kills: int, seed: int, *, compared: bool) -> list[str]:
    """The actions between kills and resumes, in random order; if `compared`, none that changes the search itself."""
    generator = np.random.default_rng([seed, 2])
    names = [name for name, action in ACTIONS.items() if not (compared and action.flags)]
    rounds = itertools.chain.from_iterable(generator.permutation(names) for _ in itertools.count())
    return [str(name) for name in itertools.islice(rounds, kills // KILLS_AN_ACTION)]


@dataclass
class Campaign:
    """A search in `storage` that is killed again and again, with Ray's files in `ray_folder`."""

    storage: Path
    trials: int
    seed: int
    ray_folder: Path
    """A short path, because a socket's path may have at most 107 characters."""
    flags: tuple[str, ...] = ()
    """Flags of the search in addition to `SEARCH`, or of the refit in addition to `REFIT`."""
    actions: list[str] = field(default_factory=list)
    """The actions that are still to be done between a kill and a resume."""
    refit: bool = False
    """Whether a refit is killed, with `trials` seeds, of the best trial of the run `SOURCE`, in place of a search."""
    _resume_flags: tuple[str, ...] = ()
    _torn: int = 0
    """Bytes of a torn line that the next driver must report."""

    def __post_init__(self) -> None:
        self.folder = self.storage / KILLED
        self._extents = [self.trials]
        """The numbers of trials that were requested one after another; each is searched and confirmed to its end."""

    def run(self, points: Sequence[str]) -> list[Kill]:
        """Starts, kills and resumes the search until all points are used and its trials done; returns the kills.

        If the trials are done before the points are used, the search is extended and `trials` grows.

        Raises:
            ChaosError: a driver ended with an error.
        """
        pending, kills = list(points), list[Kill]()
        generator = np.random.default_rng([self.seed, 1])
        while True:
            driver = self._start(KILLED, len(kills), resumed=bool(kills))
            try:
                alive = self._strike_driver(driver, pending, kills, generator)
                if alive:
                    driver.wait(timeout=600)
            finally:
                driver.kill()
                driver.wait()
                clear(driver.pid, CLEAR_S)
            if alive:
                self._require_done(driver, KILLED)
                if kills:
                    kills[-1].notes += self._unreported_tear()
                if not pending:
                    break
                if self.refit or set(pending) <= set(AT_THE_END):
                    pending = ["summary"] * len(pending)  # a finished run can be resumed any number of times
                else:
                    self.trials += TRIALS_A_KILL * len(pending)  # or extended
                    self._extents.append(self.trials)
        content = (self.folder / RECORD_NAME).read_bytes()
        settle_accounts(kills, read_record(self.folder), content)
        return kills

    def run_source(self) -> None:
        """Runs the search of which a trial is refitted, without a kill."""
        flags = ("--name", SOURCE, "--trials=2", f"--seed={self.seed}", *SEARCH, "--confirm=0")
        self._finish(self._popen("search.run", SOURCE, 0, flags), SOURCE)

    def run_whole(self) -> None:
        """Runs the same search without a kill, and extends it as that one was."""
        for number, trials in enumerate(self._extents):
            self.trials = trials
            self._finish(self._start(WHOLE, number, resumed=number > 0), WHOLE)

    def _finish(self, driver: subprocess.Popen[bytes], name: str) -> None:
        driver.wait(timeout=1800)
        clear(driver.pid, CLEAR_S)
        self._require_done(driver, name)

    def _strike_driver(
        self, driver: subprocess.Popen[bytes], pending: list[str], kills: list[Kill], generator: np.random.Generator
    ) -> bool:
        """Strikes one driver, perhaps its workers first; returns whether it now has to end by itself."""
        scene = Scene(driver, self.folder, self.trials)
        while pending:
            name = strike(scene, pending[0], generator)
            if name is None:
                return True
            pending.pop(0)
            sys.stderr.write(f"{len(kills) + 1}: {POINTS[name].title}\n")
            if POINTS[name].survived:
                kills.append(look_after(self.folder, name, driver.pid))
            else:
                kills.append(self._after_kill(driver, name, pending, generator))
                return False
        return True

    def _after_kill(
        self, driver: subprocess.Popen[bytes], name: str, pending: list[str], generator: np.random.Generator
    ) -> Kill:
        """Waits for the end of a driver that was struck at the point `name`, and applies the next action to its run."""
        hung = not wait_until(lambda: driver.poll() is not None, NOTICE_S)
        if hung:
            driver.kill()
        driver.wait()
        log = self._log(KILLED)
        notes = [*wrong_ending(self.folder, name, driver.pid, driver.returncode, log), *self._unreported_tear()]
        action = self._next_action(pending, generator)
        done = ACTIONS[action].act(self.folder, generator) if action and ACTIONS[action].at_once else Done(self.folder)
        clear(driver.pid, CLEAR_S)
        kill = look_after(done.folder, name, driver.pid, hung=hung)
        if action and not ACTIONS[action].at_once:
            done = ACTIONS[action].act(self.folder, generator)
        if action:
            sys.stderr.write(f"   then {ACTIONS[action].title}\n")
            self._resume_flags += ACTIONS[action].flags
        self.folder, self._torn, kill.between = done.folder, done.torn, action
        kill.notes += [*notes, *done.notes]
        return kill

    def _unreported_tear(self) -> list[str]:
        """A sentence if the last driver did not report the torn line that it found."""
        torn, self._torn = self._torn, 0
        if not torn or f"the last line was torn; {torn} bytes cut" in self._log(KILLED):
            return []
        return [f"the driver did not report that {torn} bytes of its record were torn"]

    def _next_action(self, pending: Sequence[str], generator: np.random.Generator) -> str | None:
        """The action to apply now, or None; the fewer occasions are left, the more probable an action is."""
        # None before an early point, because that driver may be struck before it has reported its repairs.
        occasions = [True, *(not POINTS[name].survived for name in pending)]
        early = [*(POINTS[name].early for name in pending), False]
        left = sum(occasion and not follows for occasion, follows in zip(occasions, early, strict=True))
        ready = [name for name in self.actions if possible(name, self.folder)]
        if early[0] or not ready or generator.uniform() * left >= len(self.actions):
            return None
        self.actions.remove(ready[0])
        return ready[0]

    def _start(self, name: str, number: int, *, resumed: bool) -> subprocess.Popen[bytes]:
        if resumed:
            folder = self.folder if name == KILLED else self.storage / name
            flags = ["--resume", name if folder.parent == self.storage else str(folder), *self._resume_flags]
            flags += [f"--trials={self.trials}"] if read_config(folder).trials != self.trials else []
        elif self.refit:
            flags = [SOURCE, "--name", name, f"--seeds={self.trials}", *REFIT, *self.flags]
            return self._popen("search.refit", name, number, flags)
        else:
            flags = ["--name", name, f"--trials={self.trials}", f"--seed={self.seed}", *SEARCH, *self.flags]
        return self._popen("search.run", name, number, flags)

    def _popen(self, command: str, name: str, number: int, flags: Sequence[str]) -> subprocess.Popen[bytes]:
        logs = self.storage / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with open(logs / f"{name}-{number:03d}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", command, "--storage", str(self.storage), *flags],
                cwd=ROOT,
                env=os.environ | {"RAY_TMPDIR": str(self.ray_folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_restore_sigint,
            )

    def _log(self, name: str) -> str:
        """The output of the last driver."""
        return max((self.storage / "logs").glob(f"{name}-*.log")).read_text(errors="replace")

    def _require_done(self, driver: subprocess.Popen[bytes], name: str) -> None:
        if driver.returncode:
            raise ChaosError(f"the driver ended with exit code {driver.returncode}: {self._log(name)[-2000:]}")


def _restore_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs with SIGINT ignored
