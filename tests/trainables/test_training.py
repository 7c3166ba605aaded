"""The training loop: what it computes, by which optimizers, and when it ends."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model_zoo import ResNetLayout, build
from tests.support.training_fixtures import (
    CPU,
    LAYOUT,
    RATES,
    assert_same_bits,
    small_recipe,
    small_set,
    small_trainer,
    state_of,
    timeless,
    trained,
)
from trainables.augmentation.batch import normalise
from trainables.data import load_training_set
from trainables.errors import DivergedError
from trainables.evaluation import EVAL_BATCH, answers
from trainables.optimization.optimizers import make_optimizer
from trainables.recipe import Optimizer, Schedule
from trainables.schedule import learning_rate
from trainables.training import Trainer, epoch_seed


def test_digits_are_learned_and_their_files_and_pages_stay_as_they_are(tmp_path: Path) -> None:
    data = load_training_set("digits", tmp_path)
    files = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.rglob("*") if path.is_file()}
    images = np.array(data.images)
    layout = ResNetLayout((1, 1), (8, 16), in_channels=1)
    reports = trained(Trainer(layout, small_recipe(batch_size=32), data, CPU, epochs=5, seed=5))
    assert reports[-1].val_accuracy >= 0.9
    assert reports[-1].val_loss < reports[0].val_loss
    np.testing.assert_array_equal(data.images, images)
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in files} == files


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov"])
def test_an_epoch_is_what_a_plain_loop_of_torch_makes_of_it(optimizer: str) -> None:
    trainer = small_trainer(small_recipe(optimizer=optimizer, label_smoothing=0.2), epochs=2)
    recipe, data = trainer.recipe, small_set()
    network = build(LAYOUT, trainer.seed).train()
    plain = torch.optim.SGD(
        network.parameters(), 1.0, 0.9, weight_decay=recipe.weight_decay, nesterov=optimizer == "nesterov"
    )
    losses, correct, rates = [], 0, []
    for epoch in range(2):
        report = trainer.train_epoch()
        draw = torch.Generator().manual_seed(epoch_seed(trainer.seed, epoch))
        order = data.train_indices[torch.randperm(70, generator=draw).numpy()]
        losses, correct = [], 0
        for step in range(4):  # 70 images make four batches of 16; six wait for another epoch
            batch = order[step * 16 : (step + 1) * 16]
            x = (torch.tensor(data.images[batch]) / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
            y = torch.tensor(data.labels[batch])
            logits = network(x.permute(0, 3, 1, 2).contiguous())
            log_p = logits.log_softmax(1)
            loss = -(0.8 * log_p[torch.arange(16), y] + 0.2 * log_p.mean(1)).mean()
            rates.append(learning_rate(recipe, epoch * 4 + step, 4, (2,)))
            plain.param_groups[0]["lr"] = rates[-1]
            plain.zero_grad()
            loss.backward()
            plain.step()
            losses.append(loss.item())
            correct += int((logits.argmax(1) == y).sum())
        assert report.train_loss == pytest.approx(np.mean(losses), rel=1e-4)
        assert report.train_accuracy == correct / 64
        assert report.learning_rate == rates[-1]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(trainer.network.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_training_loss_is_torchs_smoothed_cross_entropy(label_smoothing: float) -> None:
    recipe = small_recipe(
        batch_size=70, label_smoothing=label_smoothing, learning_rate=1e-30, schedule="constant", optimizer="sgd"
    )
    trainer, data = small_trainer(recipe), small_set()
    network = build(LAYOUT, trainer.seed).train()
    x = normalise(torch.tensor(data.images[1:71]), torch.tensor(data.mean), torch.tensor(data.std))
    expected = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing)(network(x), torch.tensor(data.labels[1:71]))
    assert trainer.train_epoch().train_loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_optimizer_learns_under_every_schedule(optimizer: str, schedule: str) -> None:
    recipe = small_recipe(optimizer=optimizer, schedule=schedule, learning_rate=RATES[optimizer])
    reports = trained(small_trainer(recipe, epochs=4, rungs=(2, 4)))
    assert reports[-1].train_loss < reports[0].train_loss - 0.05
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert all(math.isfinite(report.val_loss) for report in reports)


def test_momentum_may_be_none() -> None:
    trainer = small_trainer(small_recipe(optimizer="sgd", momentum=0), epochs=1)
    trained(trainer)
    assert not any(name.startswith("optimizer") for name in state_of(trainer))


@pytest.mark.parametrize("optimizer", sorted(set(get_args(Optimizer)) - {"muon"}))
def test_the_optimizers_are_torchs_defaults(optimizer: str) -> None:
    classes = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adadelta": torch.optim.Adadelta}
    draw = torch.Generator().manual_seed(1)
    start, gradients = torch.randn(40, generator=draw), torch.randn(5, 40, generator=draw)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    recipe = small_recipe(optimizer=optimizer, learning_rate=0.1, weight_decay=0.01, momentum=0.8)
    arguments: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01}
    if optimizer not in classes:
        arguments |= {"momentum": 0.8, "nesterov": optimizer == "nesterov"}
    pair = (make_optimizer([ours], recipe, CPU), classes.get(optimizer, torch.optim.SGD)([theirs], **arguments))
    for gradient in gradients:
        for parameter, update in zip((ours, theirs), pair, strict=True):
            parameter.grad = gradient.clone()
            update.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("images", "steps", "seen"), [(5, 1, 5), (16, 1, 16), (31, 1, 16), (32, 2, 32), (33, 2, 32)])
def test_an_epoch_is_all_full_batches_or_one_smaller(images: int, steps: int, seen: int) -> None:
    trainer = small_trainer(small_recipe(schedule="constant"), small_set(train=images))
    assert trainer.steps_per_epoch == steps
    report = trainer.train_epoch()
    assert (report.train_accuracy * seen) == pytest.approx(round(report.train_accuracy * seen))
    assert trainer.network.stem.norm.num_batches_tracked == steps


@pytest.mark.parametrize(
    ("images", "steps", "seen"), [(5, 1, 5), (16, 1, 16), (17, 1, 16), (18, 2, 18), (31, 2, 31), (32, 2, 32)]
)
def test_what_is_left_over_is_a_batch_for_a_recipe_that_keeps_it_unless_it_is_one_image(
    images: int, steps: int, seen: int
) -> None:
    recipe = small_recipe(schedule="constant", keep_last_batch=True, optimizer="sgd", learning_rate=1e-30)
    trainer = small_trainer(recipe, small_set(train=images))
    assert trainer.steps_per_epoch == steps
    order = trainer.train_indices[torch.randperm(images, generator=torch.Generator().manual_seed(epoch_seed(5, 0)))]
    network, data = small_trainer(recipe).network.train(), small_set(train=images)
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    losses = [
        F.cross_entropy(
            network(normalise(torch.tensor(data.images)[index], mean, std)),
            torch.tensor(data.labels)[index],
            label_smoothing=recipe.label_smoothing,
            reduction="sum",
        ).item()
        for index in order[:seen].split(16)
    ]
    report = trainer.train_epoch()
    assert trainer.network.stem.norm.num_batches_tracked == steps
    assert report.train_loss == pytest.approx(sum(losses) / seen, rel=1e-5)  # a mean over images, not over batches


def test_a_loss_that_is_not_finite_ends_the_training_at_once() -> None:
    trainer = small_trainer(small_recipe(learning_rate=1e30, schedule="constant"))
    with pytest.raises(DivergedError, match=r"^loss (nan|inf) in epoch 1; lower recipe.learning_rate \(1e\+30\)$"):
        trained(trainer)
    assert (trainer.epoch, trainer.last_report) == (0, None)
    assert trainer.network.stem.norm.num_batches_tracked < trainer.steps_per_epoch


def test_weights_lost_in_the_last_step_are_noticed_by_the_validation() -> None:
    trainer = small_trainer(small_recipe(learning_rate=1e30, schedule="constant", batch_size=70, optimizer="sgd"))
    with pytest.raises(DivergedError, match="in epoch 1"):
        trainer.train_epoch()


@pytest.mark.parametrize("batches", ["part of one", "several"])
def test_evaluation_is_a_loop_over_single_images(batches: str) -> None:
    count = 20 if batches == "part of one" else EVAL_BATCH + 3
    data = small_set(val=count)
    trainer = small_trainer(data=data, epochs=1)
    report = trainer.train_epoch()
    network = trainer.network.eval()
    losses, correct = [], 0
    with torch.no_grad():
        for i in data.val_indices:
            image = (torch.tensor(data.images[i]) / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
            logits = network(image.permute(2, 0, 1)[None])
            losses.append(F.cross_entropy(logits, torch.tensor(data.labels[i : i + 1])).item())
            correct += int(logits.argmax() == data.labels[i])
    assert report.val_accuracy == correct / count
    assert report.val_loss == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize(("images", "sizes"), [(1000, [500, 500]), (513, [257, 256]), (512, [512]), (7, [7])])
def test_an_evaluation_takes_equal_batches_and_tries_no_algorithms(
    images: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    trainer = small_trainer(data=small_set(val=images))
    seen: list[tuple[int, bool]] = []
    trainer.network.register_forward_pre_hook(
        lambda _, given: seen.append((len(given[0]), torch.backends.cudnn.benchmark))
    )
    sets = (trainer.images, trainer.labels, trainer.val_indices, trainer.mean, trainer.std)
    given = answers(trainer.network, *sets, torch.float32)
    assert seen == [(size, False) for size in sizes]
    assert torch.backends.cudnn.benchmark
    assert torch.equal(given.labels, trainer.labels[trainer.val_indices])
    with pytest.raises(IndexError):
        answers(trainer.network, trainer.images[:1], *sets[1:], torch.float32)
    assert torch.backends.cudnn.benchmark


def test_evaluation_changes_nothing_but_the_mode() -> None:
    trainer = small_trainer()
    before = state_of(trainer)
    sets = (trainer.images, trainer.labels, trainer.val_indices, trainer.mean, trainer.std)
    first, again = (answers(trainer.network, *sets, torch.float32) for _ in range(2))
    assert (first.accuracy, first.loss, first.encoded()) == (again.accuracy, again.loss, again.encoded())
    assert not trainer.network.training
    assert_same_bits(state_of(trainer), before)


@pytest.mark.parametrize("rungs", [(1, 2), (2, 1, 3), (1, 1, 3), (3, 4), (0, 3)])
def test_rungs_must_ascend_to_the_last_epoch(rungs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"rungs: .* given; use ascending epochs from 1 that end with 3"):
        small_trainer(epochs=3, rungs=rungs)


@pytest.mark.parametrize("epochs", [0, -1])
def test_a_training_has_an_epoch(epochs: int) -> None:
    with pytest.raises(ValueError, match=f"epochs: {epochs} given; use at least 1"):
        small_trainer(epochs=epochs)


def test_without_rungs_the_last_epoch_is_the_only_one() -> None:
    trainer = small_trainer(epochs=4, seed=6)
    assert (trainer.epochs, trainer.seed, trainer.rungs) == (4, 6, (4,))


def test_a_finished_training_trains_no_further() -> None:
    trainer = small_trainer(epochs=1)
    trained(trainer)
    with pytest.raises(ValueError, match="epoch 2: the training ends with epoch 1; raise its epochs"):
        trainer.train_epoch()


def test_a_training_knows_training_and_validation_images_only() -> None:
    data = small_set()
    trained_on, blank = small_trainer(data=data), replace(data, images=data.images.copy())
    blank.images[0] = 0  # in neither split
    other = small_trainer(data=blank)
    assert [timeless(r) for r in trained(trained_on)] == [timeless(r) for r in trained(other)]
    assert_same_bits(state_of(trained_on), state_of(other))
    assert not [name for name in vars(trained_on) if "test" in name]


def test_a_training_on_all_images_reports_no_accuracy_and_is_otherwise_the_same() -> None:
    data = small_set()
    without = replace(data, val_indices=data.val_indices[:0])
    one, other = small_trainer(data=data), small_trainer(data=without)
    for _ in range(2):
        report, judged = other.train_epoch(), one.train_epoch()
        assert math.isnan(report.val_accuracy)
        assert math.isnan(report.val_loss)
        assert report.answers is None
        assert (report.train_loss, report.rung) == (judged.train_loss, judged.rung)
    assert_same_bits(state_of(one), state_of(other))


@pytest.mark.parametrize(
    "fields",
    [{"schedule": "plateau"}, {"schedule": "step", "patience_epochs": 2}, {"keep_weights": "best", "schedule": "step"}],
)
def test_a_recipe_that_validation_decides_about_is_refused_without_validation_images(fields: dict[str, Any]) -> None:
    data = small_set()
    with pytest.raises(ValueError, match="needs validation images"):
        small_trainer(small_recipe(**fields), data=replace(data, val_indices=data.val_indices[:0]))
