"""One driver's session over a run: Ray Tune executes, the record decides.

Each launch and each resume is a fresh Tuner over the run's record; Ray's own experiment state is never read back.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import TableWriter
from search.driver.disk_watch import DiskWatch, PatientRecord
from search.driver.display import Display
from search.driver.ray_session import ENVIRONMENT, ray_session, roomier
from search.driver.watchdog import dead_processes, watched
from search.errors import ResourceError
from search.planning.disk import forecast, largest_checkpoint, require_room
from search.planning.preparation import Prepared
from search.runs.ranking import session_training_time_s
from search.runs.reuse import ReusableResults

os.environ.update(ENVIRONMENT)

from ray import tune

from search.driver.reconcile import reconcile
from search.driver.retries import RetryRules
from search.driver.rungs import AshaRungs
from search.driver.scheduler import AshaScheduler
from search.driver.searcher import RecordSearcher
from search.driver.stopping import StopRequest, stop_on_signals
from trainables.ray_trainable import TrialTrainable


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended."""

    reason: str
    """done, exhausted (no layout left), interrupted, time-budget, epoch-budget, disk-quota or failed (all alike)."""
    wall_time_s: float
    """Seconds from the session's start, Ray's start included, to its end."""
    training_time_s: float
    """Seconds of training and validation reported to it, summed over the trials."""
    concurrency: int
    """Trials at a time; 0 when nothing was left to run, so that Ray was not started."""
    error: str | None = None
    """What the trials failed with, where the reason is failed."""


class RequestedStop(tune.Stopper):  # type: ignore[misc]  # Ray ships no types
    """Ray Tune's view of `StopRequest`, which it asks between two steps."""

    def __init__(self, request: StopRequest) -> None:
        self.request = request

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the search must stop now."""
        return self.request.stop_all()


class Progress(tune.Callback):  # type: ignore[misc]  # Ray ships no types
    """Follows the driver's steps: records launches, keeps the Parquet tables and the display up to date."""

    def __init__(self, searcher: RecordSearcher, tables: TableWriter, display: Display) -> None:
        self.searcher, self.tables, self.display = searcher, tables, display

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Records that the trial's actor is up."""
        self.searcher.on_trial_start(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Brings tables and display up to date, each at its own limited rate."""
        self.tables.update(self.searcher.record)
        if self.searcher.disk is not None:
            self.searcher.disk.watch(self.searcher.running)
        self.display.update(self.searcher.record.state)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Frees what Ray would keep of the ended trial."""
        forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Frees what Ray would keep of the dead trial."""
        forget(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks into its experiment folder, which is never read


def run_session(
    prepared: Prepared,
    record: PatientRecord,
    address: str | None,
    reusable: ReusableResults,
    display: Display,
    on_ray_death: Callable[[str], None],
    trainable: type[tune.Trainable] = TrialTrainable,
) -> SessionEnd:
    """Runs trials until `trials` of the configuration have ended, or a signal, a budget or the space's end stops it.

    `on_ray_death` is called from a thread with the name of a process of Ray whose death the driver would wait out for
    ever; it must end this process. `trainable` takes the configurations of `TrialTrainable` and gives results like it.

    Raises:
        ResourceError: the machine or cluster has less than the configuration asks for.
    """
    config, folder = prepared.config, prepared.folder
    budgets, resources = config.budgets, config.resources
    started = time.monotonic()
    stop = StopRequest(started + budgets.time_s if budgets.time_s else None)
    disk = DiskWatch(record, largest_checkpoint(config), budgets.disk_bytes, display, stop.stop_all)
    tables = TableWriter(folder)
    rungs = AshaRungs(config.ladder)
    reconcile(record, config.limits, rungs, budgets.checkpoints)
    left = record.state.left(budgets.trials)
    spent = budgets.epochs is not None and record.state.epochs >= budgets.epochs
    if left == 0 or spent:
        tables.update(record, force=True)
        return SessionEnd("done" if left == 0 else "epoch-budget", time.monotonic() - started, 0.0, 0)
    session = max(record.state.sessions, default=0) + 1
    with stop_on_signals(stop), ray_session(resources, address) as concurrency, watched(dead_processes, on_ray_death):
        if address is not None:  # only now is it known how many trials the cluster runs at a time
            require_room(budgets.disk_bytes, folder, forecast(config, min(concurrency, left)))
        per_trial = resources.per_trial
        record.append("session", session=session, concurrency=concurrency, pid=os.getpid(), resources=per_trial)
        retry_rules = RetryRules(budgets, resources, stop, roomier(resources, concurrency))
        searcher = RecordSearcher(prepared, record, session, stop, rungs, reusable, retry_rules, disk)
        # a second Ctrl-C does not wait for what is at work
        with display.live(record.state, concurrency, started), disk.excused(), suppress(KeyboardInterrupt):
            _fit(folder, searcher, Progress(searcher, tables, display), concurrency, trainable)
        reason = stop.reason or ("exhausted" if searcher.exhausted else "done")
        wall_time_s = time.monotonic() - started
        with suppress(ResourceError):  # stopped on a full disk: the next session needs no line of this one's end
            record.append("session-ended", session=session, reason=reason, wall_time_s=wall_time_s)
        tables.update(record, force=True)
    drop_files_of_ray(folder)
    training_time_s = session_training_time_s(record.state, session)
    return SessionEnd(reason, wall_time_s, training_time_s, concurrency, stop.error)


def files_of_ray(folder: Path) -> Path:
    """Where Ray keeps its own account of the run in `folder`, which nobody reads."""
    return folder / "ray"


def drop_files_of_ray(folder: Path) -> None:
    """Removes them, when Ray is down: a folder a trial, 5,000 after 5,000 trials; those of dead drivers as well."""
    shutil.rmtree(files_of_ray(folder), ignore_errors=True)


def _fit(
    folder: Path, searcher: RecordSearcher, progress: Progress, concurrency: int, trainable: type[tune.Trainable]
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(trainable, trial_resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=AshaScheduler(searcher.rungs, searcher.on_trial_death),
            num_samples=-1,  # the searcher says when it is finished: a trial that is tried again is another sample
            max_concurrent_trials=concurrency,
            metric="val_accuracy",
            mode="max",
            reuse_actors=True,
            trial_dirname_creator=trial_folder,
        ),
        run_config=tune.RunConfig(
            name=f"session-{searcher.session:03d}",
            storage_path=str(files_of_ray(folder).absolute()),
            stop=RequestedStop(searcher.stop),
            callbacks=[progress],
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher tries again, and the record counts
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def trial_folder(trial: Any) -> str:
    """The name of Ray's own folder of a trial; a lambda would be in the snapshot once a trial, 1 kB each."""
    return str(trial.trial_id)


def forget(trial: Any) -> None:
    """Takes results, statistics and configuration off a trial that Ray keeps to its last snapshot, which nobody reads.

    They were most of the 115 kB a trial by which a driver grew; the record has them.
    """
    trial.run_metadata.last_result = {"done": True}  # without any, Ray asks the actor for one
    trial.run_metadata.metric_analysis = {}
    trial.run_metadata.metric_n_steps = {}
    trial.evaluated_params = {}
    trial.config.clear()
    trial.get_json_state = no_state  # of the last snapshot, which Ray writes in any case: 49 MiB of 5,000


def no_state() -> tuple[str, str]:
    """What an ended trial is in Ray's snapshot: itself and what ran, both as JSON."""
    return "{}", "{}"


def trial_resources(trial_config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray reserves for a trial: its configuration's `resources`."""
    asked = trial_config["resources"]
    return tune.PlacementGroupFactory(
        [{"CPU": asked["cpu"], "GPU": asked["gpu"]} if asked["gpu"] else {"CPU": asked["cpu"]}]
    )
