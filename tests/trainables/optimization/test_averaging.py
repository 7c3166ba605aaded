"""Averaged weights: their formula, their beginning anew at rungs, and what checkpoints and evaluations make of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model_zoo import build
from tests.support.training_fixtures import LAYOUT, assert_same_bits, small_recipe, small_trainer, state_of, trained
from trainables.checkpoints import files as checkpoints
from trainables.errors import CheckpointError
from trainables.evaluation import answers
from trainables.optimization.averaging import WeightAverage


@pytest.mark.parametrize("decay", [0.3, 0.95, 0.999])
@pytest.mark.parametrize("rungs", [(6,), (1, 3, 6), (2, 6)])
def test_the_average_is_the_formula_and_begins_anew_after_each_rung(decay: float, rungs: tuple[int, ...]) -> None:
    steps, network = 5, torch.nn.BatchNorm1d(2)
    average = WeightAverage(network, decay, rungs)
    draw, expected, done = torch.Generator().manual_seed(1), torch.zeros(2), 0
    for step in range(6 * steps):
        value = torch.randn(2, generator=draw)
        with torch.no_grad():
            network.weight.copy_(value)
            network.running_mean.copy_(10 * value)
            network.num_batches_tracked.fill_(step)
        if step in [epoch * steps for epoch in (0, *rungs)]:
            done = 0
        kept = min(decay, (1 + done) / (10 + done)) if done else 0.0
        expected, done = kept * expected + (1 - kept) * value, done + 1
        average.follow(step, steps)
        torch.testing.assert_close(average.network.weight, expected)
        torch.testing.assert_close(average.network.running_mean, 10 * expected)
        assert average.network.num_batches_tracked == step
    assert not average.network.weight.requires_grad


@pytest.mark.parametrize("decay", [0.9, 0.99, 0.9999])
@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 70), (1, 16), (2, 16), (3, 7)])
def test_a_short_training_is_validated_near_its_last_weights(decay: float, epochs: int, batch_size: int) -> None:
    """With a constant decay of 0.9999, 99.6% of the average after 40 steps would be the initial weights."""
    recipe = small_recipe(ema_decay=decay, learning_rate=0.05, batch_size=batch_size)
    trainer = small_trainer(recipe, epochs=epochs)
    start = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    reports = trained(trainer)
    last, average = trainer.network.state_dict(), trainer.update.result.state_dict()
    steps = trainer.steps_per_epoch * epochs
    for name in ("stages.1.0.conv2.weight", "stages.1.0.norm2.running_mean"):
        whole, missing = (last[name] - start[name]).norm(), (last[name] - average[name]).norm()
        assert float(missing) < 0.7 * float(whole) or steps == 1
        assert steps > 1 or missing == 0
    plain = trained(small_trainer(small_recipe(learning_rate=0.05, batch_size=batch_size), epochs=epochs))
    assert reports[-1].val_loss == pytest.approx(plain[-1].val_loss, abs=0.5)
    assert [report.train_loss for report in reports] == [report.train_loss for report in plain]


def test_only_the_annealed_schedule_begins_anew() -> None:
    found = {}
    for schedule in ("rung-annealed", "cosine"):
        recipe = small_recipe(schedule=schedule, ema_decay=0.99, learning_rate=0.01)
        with_rung, without = (small_trainer(recipe, epochs=2, rungs=rungs) for rungs in ((1, 2), (2,)))
        for trainer in (with_rung, without):
            trained(trainer)
        found[schedule] = [trainer.update.result.state_dict()["head.weight"] for trainer in (with_rung, without)]
    assert torch.equal(*found["cosine"])
    assert not torch.equal(*found["rung-annealed"])


def test_a_checkpoint_holds_both_and_an_evaluation_takes_the_average(tmp_path: Path) -> None:
    trainer = small_trainer(small_recipe(ema_decay=0.9))
    path = tmp_path / "trial.safetensors"
    report = trainer.train_epoch()
    trainer.save(path)
    _, tensors = checkpoints.read(path)
    assert {name.split("/")[0] for name in tensors} == {"network", "optimizer", "averaged"}
    assert not torch.equal(tensors["network/head.weight"], tensors["averaged/head.weight"])
    network = build(LAYOUT, seed=99)
    checkpoints.load_weights(path, network)
    assert_same_bits(dict(network.state_dict()), dict(trainer.update.result.state_dict()))
    sets = (trainer.images, trainer.labels, trainer.val_indices, trainer.mean, trainer.std)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    given = answers(network, *sets, trainer.precision)
    assert (given.accuracy, given.loss) == (report.val_accuracy, report.val_loss)


def test_a_checkpoint_with_another_networks_average_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    trainer = small_trainer(small_recipe(ema_decay=0.9))
    path = tmp_path / "trial.safetensors"
    trainer.train_epoch()
    trainer.save(path)
    header, tensors = checkpoints.read(path)
    for changed in (
        {name: value for name, value in tensors.items() if name != "averaged/head.bias"},
        {**tensors, "averaged/head.bias": torch.zeros(7)},
    ):
        save_file(changed, path, header)
        other = small_trainer(trainer.recipe)
        before = state_of(other)
        with pytest.raises(CheckpointError, match=r"holds another network \('averaged/head.bias' differs\); remove it"):
            other.load(path)
        assert_same_bits(state_of(other), before)


def test_the_average_lies_in_memory_as_the_network_does() -> None:
    trainer = small_trainer(small_recipe(ema_decay=0.9), epochs=1)
    trained(trainer)
    for one, other in zip(trainer.network.parameters(), trainer.update.result.parameters(), strict=True):
        assert one.stride() == other.stride()


def test_the_weights_of_the_best_epoch_are_averaged_ones_too(tmp_path: Path) -> None:
    recipe = small_recipe(ema_decay=0.9, keep_weights="best", schedule="constant", learning_rate=0.2)
    trainer, path = small_trainer(recipe, epochs=6), tmp_path / "trial.safetensors"
    reports = trained(trainer)
    trainer.save(path)
    best = reports[reports[-1].best_epoch - 1]
    network = build(LAYOUT, seed=99).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    checkpoints.load_weights(path, network, best=True)
    sets = (trainer.images, trainer.labels, trainer.val_indices, trainer.mean, trainer.std)
    given = answers(network, *sets, trainer.precision)
    assert (given.accuracy, given.loss) == (best.val_accuracy, best.val_loss)
    other = small_trainer(recipe, epochs=6)
    other.load(path)
    assert_same_bits(other.best_weights, trainer.best_weights)
    assert_same_bits(state_of(other), state_of(trainer))
