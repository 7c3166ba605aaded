"""A driver's session whose trainings are given: the real searcher, rungs and record, without Ray or a network.

A training is a table of reports; a worker's checkpoint is a real file that holds its epoch and no weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from itertools import count
from pathlib import Path
from typing import Any

import torch
from ray.tune.search import Searcher
from safetensors.torch import save_file

from results import Record, RunState
from search.config import RunConfig
from search.driver.reconcile import reconcile
from search.driver.retries import RetryRules
from search.driver.searcher import RecordSearcher
from search.driver.stopping import StopRequest
from search.planning.preparation import Prepared
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from search.runs.confirmation import NO_CONFIRMATION, Confirmation
from search.runs.folder import read_val_images
from search.runs.reuse import ReusableResults
from search.runs.rungs import AshaRungs
from tests.support.results_fixtures import start_session
from trainables.checkpoints.files import FORMAT, read_epoch

Training = Callable[[dict[str, Any], int], dict[str, Any]]
"""The report of an epoch, 1-based, of the trial with a configuration."""


def write_checkpoint(folder: Path, number: int, epoch: int) -> None:
    """Leaves the checkpoint that a trial's worker writes after `epoch` epochs."""
    path = checkpoint_path(folder, number)
    path.parent.mkdir(exist_ok=True)
    header = {"format": FORMAT, "identity": "{}", "report": json.dumps({"epoch": epoch})}
    save_file({"network/none": torch.zeros(1)}, path, header)


def searcher_over(
    config: RunConfig,
    record: Record,
    session: int = 1,
    *,
    rungs: AshaRungs | None = None,
    reusable: ReusableResults | None = None,
    stop: StopRequest | None = None,
    confirmation: Confirmation = NO_CONFIRMATION,
) -> RecordSearcher:
    """The searcher of a session over `record`, which nothing was prepared for."""
    prepared = Prepared(config, record.folder, 1, [], [], {})
    stop = stop or StopRequest(None)
    rungs, reusable = rungs or AshaRungs(config.ladder), reusable or ReusableResults(config, {}, {})
    retry_rules = RetryRules(config.budgets, config.resources, stop, None)
    return RecordSearcher(prepared, record, session, stop, rungs, reusable, retry_rules, confirmation)


def drive(
    folder: Path, train: Training, reusable: ReusableResults | None = None, deaths: Container[tuple[int, int]] = ()
) -> tuple[RunState, list[tuple[int, int]]]:
    """Starts a driver on the run in `folder` and sees it through; its state, and the trials and epochs it trained.

    The first worker of a trial that comes to a (trial, epoch) of `deaths` dies between its checkpoint and its report.
    """
    config, trained = read_config(folder), list[tuple[int, int]]()
    with Record(folder) as record:
        rungs = AshaRungs(config.ladder)
        confirmation = Confirmation(config.confirm, read_val_images(folder), config.trials_per_place)
        reconcile(record, config.limits, rungs, config.keep_checkpoints, confirmation)
        session = max(record.state.sessions, default=0) + 1
        start_session(record, session)
        searcher = searcher_over(config, record, session, rungs=rungs, reusable=reusable, confirmation=confirmation)
        for trial_id in map(str, count()):
            given = searcher.suggest(trial_id)
            if given == Searcher.FINISHED:
                return record.state, trained
            assert isinstance(given, dict)
            searcher.on_trial_start(trial_id)
            _work(folder, searcher, trial_id, given, train, deaths, trained)
    raise AssertionError("the searcher never finished")


def _work(
    folder: Path,
    searcher: RecordSearcher,
    trial_id: str,
    given: dict[str, Any],
    train: Training,
    deaths: Container[tuple[int, int]],
    trained: list[tuple[int, int]],
) -> None:
    """One launch of a trial, as `TrialTrainable` and `AshaScheduler` go about it."""
    number, path = given["trial"], Path(given["checkpoint"])
    epoch = read_epoch(path) if path.exists() else 0
    again = searcher.record.state.trials[number].confirmed and not path.exists()
    assert epoch >= given["recorded_epochs"] or again, "reported epochs are saved"
    saved = epoch > given["recorded_epochs"]
    goes_on = True
    while goes_on:
        if not saved:
            epoch += 1
            trained.append((number, epoch))
            write_checkpoint(folder, number, epoch)
        saved = False
        if (number, epoch) in deaths and not searcher.record.state.trials[number].retried:
            searcher.on_trial_death(trial_id, "The actor died")
            searcher.on_trial_complete(trial_id, error=True)
            return
        report = train(given, epoch)
        goes_on = searcher.rungs.goes_on(number, epoch, report["val_accuracy"])
        if goes_on:
            searcher.on_trial_result(trial_id, report)
    ending = "completed" if epoch >= searcher.config.max_epochs else None
    searcher.on_trial_complete(trial_id, report | {"outcome": ending})


def comparable(state: RunState) -> dict[int, Any]:
    """What a run found: all of its trials but their times, sessions and retries."""
    own = ("layout", "recipe", "seed", "proposal", "status", "epochs", "rung", "val_accuracy", "val_loss", "error")
    values = ("epoch", "rung", "val_accuracy", "val_loss", "train_accuracy", "train_loss", "learning_rate", "reused")
    return {
        number: [
            {name: getattr(trial, name) for name in own},
            [{name: getattr(report, name) for name in values} for report in state.reports[number]],
        ]
        for number, trial in state.trials.items()
    }
