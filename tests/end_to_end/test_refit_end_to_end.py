"""From a search to the network that is handed in, by its commands alone, with real Ray, as a user does it."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch

from model_zoo import ResNetLayout
from results import rank_trials, read_record
from search.runs import read_config
from tests.support.cli import TINY, events, run, start, wait_for
from trainables.data import load_training_set
from trainables.recipe import Recipe
from trainables.training import Trainer

pytestmark = pytest.mark.search

REFIT = ("first", "--epochs=3", "--seeds=2", "--all-data", "--name=hand-in", "--concurrency=1", "--cpus-per-trial=1")


def test_a_winner_is_trained_on_all_images_through_a_kill_measured_once_and_exported(tmp_path: Path) -> None:
    searched = run("search.run", *TINY, "--name=first", "--confirm=0", "--quiet", cwd=tmp_path)
    assert searched.returncode == 0, searched.stderr
    folder = tmp_path / "runs" / "hand-in"
    with start("search.refit", *REFIT, cwd=tmp_path) as driver:
        wait_for(driver, lambda: any(event["event"] == "report" for event in events(folder)))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
    resumed = run("search.run", "--resume=hand-in", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "trained" in resumed.stdout
    assert "Best of run" not in resumed.stdout
    state, config = read_record(folder), read_config(folder)
    winner = rank_trials(tmp_path / "runs", ["first"], top=1).iloc[0]
    assert config.refit_of == f"first:{winner['trial']}"
    data = load_training_set(**config.data_arguments)
    assert len(data.train_indices) == len(data.labels)
    assert [trial.status for trial in state.trials.values()] == ["completed"] * 2
    for number, trial in state.trials.items():
        assert trial.layout_id == winner["layout_id"]
        assert trial.val_accuracy is None
        recipe, layout = Recipe(**trial.settings), ResNetLayout.from_dict(trial.layout)
        cpu = torch.device("cpu")
        trainer = Trainer(layout, recipe, data, cpu, epochs=3, seed=trial.seed, rungs=(3,))
        for recorded in state.reports[number]:
            trained = trainer.train_epoch()
            assert (trained.train_loss, trained.learning_rate) == (recorded.train_loss, recorded.learning_rate)
            assert math.isnan(recorded.val_accuracy)
    measured = run("search.evaluate", "hand-in", "--json", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    facts = json.loads(measured.stdout)
    assert len(facts["seeds"]) == facts["openings"] == 2
    exported = run("search.export", "hand-in", "-o", "best.pt2", "--card", "card.md", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "best.pt2").stat().st_size > 0
    assert winner["layout_id"] in (tmp_path / "card.md").read_text()
