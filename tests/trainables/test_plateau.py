"""The schedule plateau: torch's ReduceLROnPlateau, epoch by epoch and from any checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tests.support.examples import examples
from tests.support.training_fixtures import assert_same_bits, small_recipe, small_trainer, state_of, timeless, trained
from trainables.checkpoints import files as checkpoints
from trainables.errors import CheckpointError
from trainables.plateau import Plateau
from trainables.recipe import Recipe
from trainables.schedule import learning_rate

FINITE = st.one_of(st.floats(0, 3), st.sampled_from([0.0, 0.5, 0.5 * (1 - 1e-4), 0.5 * (1 + 1e-4), 0.49999]))


@examples(150)
@given(
    results=st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=60),
    metric=st.sampled_from(["loss", "accuracy"]),
    patience=st.integers(0, 4),
    factor=st.sampled_from([0.01, 0.1, 0.333, 0.9, 0.99]),
    peak=st.sampled_from([10.0, 0.1, 1e-6, 1.1e-8]),
)
def test_plateau_is_torchs_after_any_results(
    results: list[tuple[float, float]], metric: Literal["loss", "accuracy"], patience: int, factor: float, peak: float
) -> None:
    recipe = Recipe(
        schedule="plateau", plateau_metric=metric, plateau_epochs=patience, step_factor=factor, learning_rate=peak
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = ReduceLROnPlateau(optimizer, "min" if metric == "loss" else "max", factor=factor, patience=patience)
    plateau, steps, rungs = Plateau(), 7, (1, len(results) + 1)
    for epoch, (accuracy, loss) in enumerate(results, start=1):
        plateau = plateau.after(recipe, accuracy, loss)
        theirs.step(loss if metric == "loss" else accuracy)
        first, last = (learning_rate(recipe, step, steps, rungs, plateau.drops) for step in (epoch * 7, epoch * 7 + 6))
        assert first == last == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


IMPATIENT: dict[str, Any] = {"schedule": "plateau", "plateau_epochs": 1, "step_factor": 0.5, "learning_rate": 3.0}


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_a_training_lowers_its_rate_by_its_own_validation_as_torch_does(metric: str) -> None:
    recipe = small_recipe(**IMPATIENT, plateau_metric=metric)
    reports = trained(small_trainer(recipe, epochs=12, rungs=(3, 12)))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3.0)
    theirs = ReduceLROnPlateau(optimizer, "min" if metric == "loss" else "max", factor=0.5, patience=1)
    expected = []
    for report in reports:
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(report.val_loss if metric == "loss" else report.val_accuracy)
    assert [report.learning_rate for report in reports] == expected
    assert len(set(expected)) > 1


def test_a_resumed_plateau_is_the_uninterrupted_one_to_the_last_bit(tmp_path: Path) -> None:
    recipe = small_recipe(**IMPATIENT)
    whole = small_trainer(recipe, epochs=9)
    reports = [timeless(report) for report in trained(whole, tmp_path)]
    waiting = set()
    for epoch in range(1, 10):
        resumed = small_trainer(recipe, epochs=9)
        resumed.load(tmp_path / f"epoch-{epoch}")
        waiting.add(resumed.plateau.waited)
        assert [timeless(report) for report in trained(resumed)] == reports[epoch:]
        assert_same_bits(state_of(resumed), state_of(whole))
    assert waiting == {0, 1}  # some checkpoints were written while a drop was due


def test_a_checkpoint_whose_plateau_is_missing_or_odd_is_named(tmp_path: Path) -> None:
    recipe = small_recipe(**IMPATIENT)
    trained(small_trainer(recipe, epochs=1), tmp_path)
    header, tensors = checkpoints.read(tmp_path / "epoch-1")
    report = json.loads(header["report"])
    for odd in (None, {"drops": 1, "lost": 2}):
        save_file(tensors, tmp_path / "odd", {**header, "report": json.dumps(report | {"plateau": odd})})
        with pytest.raises(CheckpointError, match="its report has another version"):
            small_trainer(recipe, epochs=1).load(tmp_path / "odd")


def test_the_report_of_other_schedules_is_as_before(tmp_path: Path) -> None:
    trained(small_trainer(small_recipe(schedule="step"), epochs=1), tmp_path)
    assert "plateau" not in json.loads(checkpoints.read(tmp_path / "epoch-1")[0]["report"])
