"""Searches that confirm stopped trials, and that validate on several splits, with real Ray, as a user does it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from model_zoo import ResNetLayout
from results import read_record
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from search.runs.ranking import ranked
from tests.support.cli import TINY, events, run, start, wait_for
from trainables.checkpoints.files import read_epoch
from trainables.data import load_training_set
from trainables.recipe import Recipe
from trainables.training import Trainer

pytestmark = pytest.mark.search

NOISY = (*TINY, "--confirm=2", "--concurrency=1", "--quiet", "--set=recipe.learning_rate=0.001")
"""A search whose accuracies hardly differ, so that trials are stopped within noise of the best."""


def test_a_search_killed_while_it_confirms_ends_as_if_its_trials_had_never_been_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "killed"
    with start("search.run", *NOISY, "--name=killed", cwd=tmp_path) as driver:
        wait_for(driver, lambda: any(event["event"] == "confirmed" for event in events(folder)))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
    before = read_record(folder)
    numbers = next(event["trials"] for event in events(folder) if event["event"] == "confirmed")
    assert not all(before.trials[number].ended for number in numbers)
    planned = run("search.run", "--resume=killed", "--dry-run", cwd=tmp_path)
    assert f"{len(numbers)} left, {len(numbers)} of them partly trained" in planned.stdout
    resumed = run("search.run", "--resume=killed", "--quiet", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    state, config = read_record(folder), read_config(folder)
    assert [event["trials"] for event in events(folder) if event["event"] == "confirmed"] == [numbers]
    assert ranked(state)[0].status == "completed"
    for number in numbers:
        trial, reports = state.trials[number], state.reports[number]
        assert (trial.status, [report.epoch for report in reports]) == ("completed", [1, 2, 3, 4])
        trainer = Trainer(
            ResNetLayout.from_dict(trial.layout),
            Recipe(**trial.settings),
            load_training_set(**config.data_arguments),
            torch.device("cpu"),
            epochs=4,
            seed=trial.seed,
            rungs=config.rungs,
        )
        for recorded in reports:
            trained = trainer.train_epoch()
            for name in ("epoch", "rung", "val_accuracy", "val_loss", "train_loss", "learning_rate"):
                assert getattr(trained, name) == getattr(recorded, name), (recorded.epoch, name)
    best = {trial.trial for trial in ranked(state)[: config.keep_checkpoints]}
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        checkpoint_path(folder, number).name for number in best
    }
    assert all(read_epoch(checkpoint_path(folder, number)) == state.trials[number].epochs for number in best)


def test_a_search_on_several_splits_is_ranked_evaluated_and_exported_by_its_best_mean(tmp_path: Path) -> None:
    flags = (*TINY, "--validation-splits=2", "--confirm=1", "--name=splits")
    searched = run("search.run", *flags, cwd=tmp_path)
    assert searched.returncode == 0, searched.stderr
    assert "each trained up to" not in searched.stdout
    state = read_record(tmp_path / "runs" / "splits")
    best = ranked(state, by_mean=True)[0]
    assert f"{best.params:,}" in searched.stdout.splitlines()[2]
    assert {trial.seed for trial in state.trials.values()} == {0, 1}
    splits = [load_training_set("digits", split_seed=seed).val_indices.tolist() for seed in (0, 1)]
    assert splits[0] != splits[1]
    shown = run("results.leaderboard", "splits", "--format=csv", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "val_accuracy_error" in shown.stdout.splitlines()[0]
    assert len(shown.stdout.splitlines()) == 1 + 2
    for number, trial in enumerate((best, *ranked(state)[-1:])):
        kept = checkpoint_path(tmp_path / "runs" / "splits", trial.trial).exists()
        chosen = () if number == 0 else (f"--trial={trial.trial}",)
        measured = run("search.evaluate", "splits", *chosen, cwd=tmp_path)
        assert (measured.returncode == 0) == kept, measured.stderr
        assert kept or number > 0, "the best is kept"
        if kept:
            assert f"splits trial {trial.trial}, {trial.layout_id}" in measured.stdout
    exported = run("search.evaluate", "splits", "--export=best.pt2", cwd=tmp_path)
    assert f"splits trial {best.trial}, " in exported.stdout, exported.stderr
