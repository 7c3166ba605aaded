"""One session of a run: Ray Tune executes, the record decides.

Each launch and each resume is a fresh Tuner over the run's record; Ray's own experiment state is never read.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import TableWriter
from search.driver.disk_watch import DiskWatch, PatientRecord
from search.driver.display import Display
from search.driver.display.progress import training_began_s
from search.driver.ray_session import ENVIRONMENT, ray_session, roomier
from search.driver.watchdog import dead_processes, watched
from search.errors import ResourceError
from search.planning.disk import forecast, largest_checkpoint, require_room
from search.planning.preparation import Prepared
from search.runs.confirmation import Confirmation
from search.runs.folder import read_val_images
from search.runs.ranking import session_training_time_s
from search.runs.reuse import ReusableResults

os.environ.update(ENVIRONMENT)

from ray import tune

from search.driver.reconcile import reconcile
from search.driver.retries import RetryRules
from search.driver.scheduler import AshaScheduler
from search.driver.searcher import RecordSearcher
from search.driver.stopping import StopRequest, stop_on_signals
from search.runs.rungs import AshaRungs
from trainables.ray_trainable import TrialTrainable


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended."""

    reason: str
    """done, exhausted (no candidate left), interrupted, time-budget, epoch-budget, disk-quota or failed (all did)."""
    wall_time_s: float
    """Seconds from the session's start, with the start of Ray, to its end."""
    training_time_s: float
    """Seconds of training and validation reported in the session, summed over the trials."""
    concurrency: int
    """Trials at a time; 0 if nothing was left to run, so that Ray was not started."""
    startup_s: float | None = None
    """Seconds from the session's start to that of its first epoch; None if no epoch ended."""
    error: str | None = None
    """The error of the trials, if the reason is failed."""


class RequestedStop(tune.Stopper):  # type: ignore[misc]  # Ray ships no types
    """`StopRequest` as a stopper of Ray Tune, which checks it between two steps."""

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
        """Records that the trial's actor is running."""
        self.searcher.on_trial_start(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Updates tables and display, each at its own limited rate."""
        self.tables.update(self.searcher.record)
        if self.searcher.disk is not None:
            self.searcher.disk.watch(self.searcher.running)
        self.display.update(self.searcher.record.state)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Frees the memory that Ray would keep for the ended trial."""
        forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Frees the memory that Ray would keep for the dead trial."""
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
    """Runs trials until `config.trials` have ended, or until a signal, a spent budget or the end of the space.

    `on_ray_death` is called from a thread with the name of a process of Ray whose death would leave the driver waiting
    forever; it must end this process. `trainable` takes the configurations of `TrialTrainable` and reports as it does.

    Raises:
        ResourceError: the machine or cluster has less than the configuration requests.
    """
    config, folder = prepared.config, prepared.folder
    budgets = config.budgets
    started, started_s = time.monotonic(), time.time()
    stop = StopRequest(started + budgets.time_s if budgets.time_s else None)
    disk = DiskWatch(record, largest_checkpoint(config), budgets.disk_bytes, display, stop.stop_all)
    tables = TableWriter(folder)
    rungs = AshaRungs(config.ladder)
    confirmation = Confirmation(config.confirm, read_val_images(folder), config.trials_per_place)
    reconcile(record, config.limits, rungs, budgets.checkpoints, confirmation)
    left = record.state.left(budgets.trials) or len(confirmation.next_ones(record.state))
    spent = budgets.epochs is not None and record.state.epochs >= budgets.epochs
    if left == 0 or spent:
        tables.update(record, force=True)
        return SessionEnd("done" if left == 0 else "epoch-budget", time.monotonic() - started, 0.0, 0)
    session = max(record.state.sessions, default=0) + 1
    with stop_on_signals(stop), ExitStack() as ray_stack:
        with display.waiting("Ray to start"):
            concurrency, resources = ray_stack.enter_context(ray_session(config.resources, address, left))
        ray_stack.enter_context(watched(dead_processes, on_ray_death))
        if address is not None:  # only Ray knows how many trials the cluster runs at a time
            require_room(budgets.disk_bytes, folder, forecast(config, min(concurrency, left)))
        per_trial = resources.per_trial
        record.append("session", session=session, concurrency=concurrency, pid=os.getpid(), resources=per_trial)
        retry_rules = RetryRules(budgets, resources, stop, roomier(resources, concurrency))
        searcher = RecordSearcher(prepared, record, session, stop, rungs, reusable, retry_rules, confirmation, disk)
        # a second Ctrl-C does not wait for the running steps
        with display.live(record.state, concurrency, started), disk.excused(), suppress(KeyboardInterrupt):
            _fit(folder, searcher, Progress(searcher, tables, display), concurrency, trainable)
        reason = stop.reason or ("exhausted" if searcher.exhausted else "done")
        wall_time_s = time.monotonic() - started
        with suppress(ResourceError):  # on a full disk: the next session does not need this event
            record.append("session-ended", session=session, reason=reason, wall_time_s=wall_time_s)
        tables.update(record, force=True)
    drop_files_of_ray(folder)
    training_time_s = session_training_time_s(record.state, session)
    began_s = training_began_s(record.state, session)
    startup_s = None if began_s is None else min(max(0.0, began_s - started_s), wall_time_s)
    return SessionEnd(reason, wall_time_s, training_time_s, concurrency, startup_s, stop.error)


def files_of_ray(folder: Path) -> Path:
    """The folder of Ray's own files for the run in `folder`, which are never read."""
    return folder / "ray"


def drop_files_of_ray(folder: Path) -> None:
    """Removes Ray's files, one folder per trial, after Ray has shut down; those of dead drivers too."""
    shutil.rmtree(files_of_ray(folder), ignore_errors=True)


def _fit(
    folder: Path, searcher: RecordSearcher, progress: Progress, concurrency: int, trainable: type[tune.Trainable]
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(trainable, trial_resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=AshaScheduler(searcher.rungs, searcher.on_trial_death),
            num_samples=-1,  # the searcher ends the search, because to Ray a retried trial is another sample
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
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher retries, and the record counts
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def trial_folder(trial: Any) -> str:
    """The name of Ray's own folder for a trial; a lambda would be in Ray's snapshot once per trial, 1 kB each."""
    return str(trial.trial_id)


def forget(trial: Any) -> None:
    """Frees the results, statistics and configuration of an ended trial, which Ray would keep until the search ends.

    They were most of the 115 kB per trial by which a driver grew; the record has them.
    """
    trial.run_metadata.last_result = {"done": True}  # without a result, Ray asks the actor for one
    trial.run_metadata.metric_analysis = {}
    trial.run_metadata.metric_n_steps = {}
    trial.evaluated_params = {}
    trial.config.clear()
    trial.get_json_state = no_state  # keeps Ray's last snapshot small, which would be 49 MiB with 5,000 trials


def no_state() -> tuple[str, str]:
    """The state of an ended trial in Ray's snapshot: two empty JSON objects, for the trial and for its metadata."""
    return "{}", "{}"


def trial_resources(trial_config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray reserves for a trial: its configuration's `resources`."""
    needs = trial_config["resources"]
    return tune.PlacementGroupFactory(
        [{"CPU": needs["cpu"], "GPU": needs["gpu"]} if needs["gpu"] else {"CPU": needs["cpu"]}]
    )
