"""One driver's session over a run: Ray Tune executes, the record decides.

Each launch and each resume is a fresh Tuner over the run's record; Ray's own experiment state is never read back.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from results import Record, TableWriter
from search.config import RunConfig
from search.display import Display
from search.ray_session import ENVIRONMENT, ray_session
from search.runs import read_first
from search.standing import drop_checkpoints, session_training_time_s
from search.warm_start import point_from_dict

os.environ.update(ENVIRONMENT)

from ray import tune

from search.asha import AshaRungs, AshaScheduler
from search.searcher import RecordSearcher, settle
from trainables.ray_trainable import TrialTrainable

MAX_RESTARTS = 3
"""How often a trial whose process died is started again from its checkpoint."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended."""

    reason: str
    """done, exhausted (no layout left), interrupted or time-budget."""
    wall_time_s: float
    """Seconds from the session's start, Ray's start included, to its end."""
    training_time_s: float
    """Seconds of training and validation reported to it, summed over the trials."""
    concurrency: int
    """Trials at a time; 0 when nothing was left to run, so that Ray was not started."""


class Halt(tune.Stopper):  # type: ignore[misc]  # Ray ships no types
    """Stops the whole search between two steps of the driver: on a signal or when the time budget is spent."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.reason: str | None = None

    def interrupt(self) -> None:
        """Asks for the stop."""
        self.reason = "interrupted"

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the search must stop now."""
        if self.reason is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.reason = "time-budget"
        return self.reason is not None


class Progress(tune.Callback):  # type: ignore[misc]  # Ray ships no types
    """Follows the driver's steps: records launches, keeps the Parquet tables and the display up to date."""

    def __init__(self, searcher: RecordSearcher, tables: TableWriter, display: Display) -> None:
        self.searcher, self.tables, self.display = searcher, tables, display

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records that the trial's actor is up."""
        record = self.searcher.record
        record.append("started", trial=self.searcher.number(trial.trial_id), session=self.searcher.session)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Brings tables and display up to date, each at its own limited rate."""
        self.tables.update(self.searcher.record)
        self.display.update(self.searcher.record.state)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks into its experiment folder, which is never read


def run_session(config: RunConfig, folder: Path, record: Record, address: str | None, display: Display) -> SessionEnd:
    """Runs trials until `config.trials` are in the record, or a signal, the time budget or the space's end stops it.

    Raises:
        ResourceError: the machine or cluster has not what `config` asks for.
    """
    started = time.monotonic()
    deadline = started + config.time_budget_s if config.time_budget_s else None
    halt = Halt(deadline)
    tables = TableWriter(folder)
    rungs = AshaRungs(config.rungs, config.reduction_factor)
    settle(record, config, rungs.replay(record.state))
    drop_checkpoints(folder, record.state, config.keep_checkpoints)  # a driver killed after an ending has not
    left = config.trials - sum(trial.ended for trial in record.state.trials.values())
    if left <= 0:
        tables.update(record, force=True)
        return SessionEnd("done", time.monotonic() - started, 0.0, 0)
    session = max(record.state.sessions, default=0) + 1
    with stop_on_signals(halt), ray_session(config, address) as concurrency:
        resources = _resources(config)
        record.append("session", session=session, concurrency=concurrency, pid=os.getpid(), resources=resources)
        first = [point_from_dict(point) for point in read_first(folder)]
        searcher = RecordSearcher(config, folder, record, session, first)
        with display.live(record.state, concurrency, started):
            _fit(config, folder, searcher, rungs, halt, Progress(searcher, tables, display), concurrency, left)
        reason = halt.reason or ("exhausted" if searcher.exhausted else "done")
        wall_time_s = time.monotonic() - started
        record.append("session-ended", session=session, reason=reason, wall_time_s=wall_time_s)
        tables.update(record, force=True)
    return SessionEnd(reason, wall_time_s, session_training_time_s(record.state, session), concurrency)


def _fit(
    config: RunConfig,
    folder: Path,
    searcher: RecordSearcher,
    rungs: AshaRungs,
    halt: Halt,
    progress: Progress,
    concurrency: int,
    left: int,
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(TrialTrainable, _resources(config)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=AshaScheduler(rungs),
            num_samples=left,
            max_concurrent_trials=concurrency,
            metric="val_accuracy",
            mode="max",
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"session-{searcher.session:03d}",
            storage_path=str((folder / "ray").absolute()),
            stop=halt,
            callbacks=[progress],
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def _resources(config: RunConfig) -> dict[str, float]:
    return {"cpu": config.cpus_per_trial, "gpu": config.gpus_per_trial}


@contextmanager
def stop_on_signals(halt: Halt) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask `halt` to stop; a second Ctrl-C is a KeyboardInterrupt. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if halt.reason == "interrupted" and number == signal.SIGINT:
            raise KeyboardInterrupt
        halt.interrupt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
