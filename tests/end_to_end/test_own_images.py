"""A search on images of one's own that needs no flag but the budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results import read_record
from results.ranking.intervals import wilson_interval
from search.layouts import count_feasible
from search.runs import read_config
from search.runs.ranking import ranked
from tests.support.cli import run, start
from tests.support.shapes import write_shapes

MOST_FLOPS = 6e12
"""FLOPs of the whole search below which two idle cores need less than three minutes."""
LIMIT_S = 1200
"""Longest wait, on a machine that does other work too."""


@pytest.mark.slow
def test_six_hundred_shapes_and_a_budget_give_a_network_whose_accuracies_agree(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", 100)
    given = ("--dataset", tmp_path / "shapes", "--data-dir", tmp_path / "cache", "--max-params", "20000")
    with start("search.run", *given, "--name", "shapes", cwd=tmp_path) as process:
        _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, stderr
    folder = tmp_path / "runs" / "shapes"
    config, state = read_config(folder), read_record(folder)
    assert count_feasible(config.space) >= 100
    assert len(state.trials) == state.ended == config.trials
    stored = json.loads((folder / "run.json").read_text())
    assert stored["opening"] == stderr.splitlines()[: len(stored["opening"])]
    passes = 3 * stored["data"]["train_images"] + stored["validation"]["images"]
    assert passes * sum(trial.flops * trial.epochs for trial in state.trials.values()) < MOST_FLOPS
    assert run("search.evaluate", "shapes", cwd=tmp_path).returncode == 0
    best = ranked(read_record(folder))[0]
    assert best.val_accuracy is not None
    assert best.test_accuracy is not None
    low, high = wilson_interval(best.val_accuracy, stored["validation"]["images"])
    test_low, test_high = wilson_interval(best.test_accuracy, 120)
    assert low <= test_high
    assert test_low <= high
    assert test_low > 0.5  # chance is a sixth
