"""Searches that are killed, moved, lengthened and put under another budget, with real Ray, as a user does it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from model_zoo import ResNetLayout
from results import rank_trials, read_record
from results.wording import counted
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from search.runs.ranking import ranked
from tests.support.cli import TINY, events, reported, run, start, wait_for
from trainables.checkpoints.files import read_epoch
from trainables.data import load_training_set
from trainables.recipe import Recipe
from trainables.training import Trainer

pytestmark = pytest.mark.search

ONE_AT_A_TIME = (*TINY, "--trials=3", "--confirm=0", "--concurrency=1", "--quiet")
"""A search that depends on its seed alone."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted search."""
    cwd = tmp_path_factory.mktemp("whole")
    outcome = run("search.run", *ONE_AT_A_TIME, "--name=whole", cwd=cwd)
    assert outcome.returncode == 0, outcome.stderr
    return cwd / "runs" / "whole"


def measured(folder: Path) -> list[Any]:
    """What a run came to, without its times."""
    state = read_record(folder)
    return [(trial.layout_id, trial.recipe, trial.seed, trial.status) for trial in state.trials.values()] + [
        (r.epoch, r.rung, r.val_accuracy, r.val_loss, r.train_loss)
        for reports in state.reports.values()
        for r in reports
    ]


def test_a_killed_search_goes_on_wherever_its_folder_is_moved(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "killed"
    with start("search.run", *ONE_AT_A_TIME, "--name=killed", cwd=tmp_path) as driver:
        wait_for(driver, lambda: reported(folder, epoch=3))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
        moved = tmp_path / "elsewhere" / "under another name"
        moved.parent.mkdir()
        folder.rename(moved)
        (tmp_path / "empty").mkdir()
        outcome = run("search.run", "--resume", moved, "--quiet", cwd=tmp_path / "empty")
        assert outcome.returncode == 0, outcome.stderr
        assert measured(moved) == measured(whole)
        assert not folder.exists()
        assert list((tmp_path / "empty").iterdir()) == []


def test_a_finished_search_goes_on_to_more_epochs_and_under_another_budget(whole: Path) -> None:
    cwd = whole.parent.parent
    before = read_record(whole)
    completed = [t.trial for t in before.trials.values() if t.status == "completed"]

    changes = ("--resume=whole", "--max-epochs=8", "--trials=4")
    kept = {path: path.read_bytes() for path in whole.rglob("*.json*")}
    planned = run("search.run", *changes, "--dry-run", cwd=cwd)
    assert planned.returncode == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert re.match(r"about \d epochs( \(\d to \d in eight of ten searches\))? left; about ", lines[2])
    assert lines[2].endswith(" on this machine with the start of Ray, 1 at a time, at the speed of whole")
    assert [*lines[:2], *lines[3:]] == [
        "run whole: trials 3 -> 4, max_epochs 4 -> 8",
        f"3 of 4 trials have ended, {before.epochs} epochs in total; 1 left, 0 of them partly trained",
        "completed trials also continue to 8 epochs if ASHA promotes them from their last rung",
        "Nothing was launched.",
    ]
    facts = json.loads(run("search.run", *changes, "--dry-run", "--json", cwd=cwd).stdout)
    assert (facts["changes"], facts["ended_trials"]) == ({"trials": [3, 4], "max_epochs": [4, 8]}, 3)
    assert {path: path.read_bytes() for path in whole.rglob("*.json*")} == kept

    longer = run("search.run", *changes, cwd=cwd)
    assert longer.returncode == 0, longer.stderr
    assert "whole: resumed, trials 3 -> 4, max_epochs 4 -> 8\n" in longer.stderr
    state = read_record(whole)
    reopened = [event["trial"] for event in events(whole) if event["event"] == "reopened"]
    assert reopened
    assert set(reopened) <= set(completed)
    assert len({trial.layout_id for trial in state.trials.values()}) == 4
    assert all(state.trials[number].status == "completed" for number in reopened)
    assert state.trials[reopened[0]].rung_epoch == 8
    for number, reports in state.reports.items():
        assert [r.epoch for r in reports] == list(range(1, state.trials[number].epochs + 1))
    _assert_trained_as_in_one_piece(whole, reopened[0])
    best = ranked(state)[0]
    assert read_epoch(checkpoint_path(whole, best.trial)) == best.rung_epoch == 8

    budget = best.params - 1
    leaving = sum(trial.params > budget for trial in state.trials.values())
    asked = run("search.run", "--resume=whole", f"--max-params={budget}", "--dry-run", cwd=cwd)
    sentence = f"{counted(leaving, 'trial')} outside the new parameter limits would lose rank and checkpoint\n"
    assert sentence in asked.stdout
    lower = run("search.run", "--resume=whole", f"--max-params={budget}", "--min-params=1500", cwd=cwd)
    assert lower.returncode == 0, lower.stderr
    assert "nothing was left to run" in lower.stdout
    outside = sum(trial.params > budget for trial in state.trials.values())
    assert f"{outside} trial{'s are' if outside > 1 else ' is'} outside the run's present limits" in lower.stdout
    board = rank_trials(whole.parent, ["whole"])
    assert len(board) == 4 - outside
    assert (board["params"] <= budget).all()
    assert read_config(whole).space.min_params == 1500


def _assert_trained_as_in_one_piece(folder: Path, number: int) -> None:
    """The trial's reports are those of a training that had the longer ladder from its start."""
    state, config = read_record(folder), read_config(folder)
    trial = state.trials[number]
    trainer = Trainer(
        ResNetLayout.from_dict(trial.layout),
        Recipe(**trial.settings),
        load_training_set(**config.data_arguments),
        torch.device("cpu"),
        epochs=config.max_epochs,
        seed=trial.seed,
        rungs=config.rungs,
    )
    assert trainer.rungs == (1, 2, 4, 8)
    for recorded in state.reports[number]:
        report = trainer.train_epoch()
        for name in ("epoch", "rung", "val_accuracy", "val_loss", "train_loss", "learning_rate"):
            assert getattr(report, name) == getattr(recorded, name), (recorded.epoch, name)
