"""Real learning curves of pools of layouts under two schedules, trained once and kept in a file of JSON lines.

Every layout is trained twice for the full length, rung-annealed and with one cosine. The first line of the file is the
setup, and every other line is one training. Trainings in the file are not repeated, so an interrupted run continues.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_zoo import ResNetLayout, count_params
from search.layouts import LayoutSpace, count_feasible, sample_uniform
from trainables.data import TrainingSet, load_training_set
from trainables.errors import DivergedError
from trainables.evaluation import answers
from trainables.recipe import Recipe, Schedule
from trainables.training import Trainer

SCHEDULES: tuple[Schedule, ...] = ("rung-annealed", "cosine")


@dataclass(frozen=True)
class Setup:
    """What is trained: a data set reduced to what one core can train on, its layouts, its recipe and its ladder."""

    dataset: str
    """Its name for `load_training_set`."""
    train_images: int
    """Training images, stratified."""
    val_images: int
    """Images by which the strategies decide, drawn from the rest of the training set."""
    held_out_images: int
    """Further images of the rest, which no strategy sees."""
    rungs: tuple[int, ...]
    """Epochs at which trials are compared; the last is the full length."""
    reduction_factor: int
    """ASHA's eta: the best 1/eta of the trials pass a rung."""
    space: LayoutSpace
    """The layouts of the pools."""
    recipe: Recipe
    """How they are trained; schedule, epochs and seed are set for each training."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values, without the defaults of space and recipe."""
        values = asdict(self)
        models = {"space": self.space, "recipe": self.recipe}
        values |= {name: model.model_dump(mode="json", exclude_defaults=True) for name, model in models.items()}
        return values | {"rungs": list(self.rungs)}


# The first stage halves the resolution, which makes an epoch about four times cheaper.
SETUPS = {
    "digits": Setup(
        dataset="digits",
        train_images=400,
        val_images=500,
        held_out_images=538,
        rungs=(1, 3, 9),
        reduction_factor=3,
        space=LayoutSpace(
            stages=(2, 3),
            blocks=(1, 3),
            channels=(8, 12, 16, 24, 32),
            first_strides=(2,),
            in_channels=1,
            min_params=10_000,
            max_params=40_000,
        ),
        recipe=Recipe(
            learning_rate=0.05,
            batch_size=16,
            crop_padding=2,
            flip=False,
            cutout=0,
            rotation_degrees=10.0,
            precision="float32",
        ),
    ),
    "cifar10": Setup(
        dataset="cifar10",
        train_images=1_280,
        val_images=1_000,
        held_out_images=4_000,
        rungs=(3, 9),
        reduction_factor=3,
        space=LayoutSpace(
            stages=(3,),
            blocks=(1, 2),
            channels=(8, 12, 16, 24, 32, 48, 64),
            first_strides=(2,),
            min_params=30_000,
            max_params=120_000,
            max_flops=5_000_000,
        ),
        recipe=Recipe(batch_size=64, precision="float32"),
    ),
}


@dataclass(frozen=True)
class Curve:
    """One training of the full length."""

    seed: int
    """Seed of the pool and of the training."""
    number: int
    """Number of the layout in its pool, from 0."""
    layout: ResNetLayout
    """The layout that was trained."""
    schedule: Schedule
    """The schedule of its learning rate."""
    val_accuracy: tuple[float, ...]
    """Validation accuracy after each epoch, in [0, 1]; 0 from the epoch in which the training diverged."""
    held_out_accuracy: float
    """Accuracy after the last epoch, in [0, 1], on images that no strategy sees."""
    train_time_s: float
    """Seconds of all epochs, including validation."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values, with the layout's number of parameters."""
        own = {"layout": self.layout.to_dict(), "params": count_params(self.layout)}
        return {**asdict(self), **own, "val_accuracy": list(self.val_accuracy)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Curve:
        """The curve whose `to_dict` is `values`."""
        fields = {name: value for name, value in values.items() if name != "params"}
        fields |= {"layout": ResNetLayout.from_dict(values["layout"]), "val_accuracy": tuple(values["val_accuracy"])}
        return cls(**fields)


def split(setup: Setup, data: TrainingSet) -> tuple[TrainingSet, torch.Tensor]:
    """`data` with the setup's validation images instead of its own, and the held-out positions, int64 (N,).

    Raises:
        ValueError: there are too few images that are not training images.
    """
    rest = np.setdiff1d(np.arange(len(data.labels)), data.train_indices)
    rest = np.random.default_rng(0).permutation(rest)
    if setup.val_images + setup.held_out_images > len(rest):
        raise ValueError(
            f"val_images + held_out_images: {setup.val_images + setup.held_out_images:,} given, "
            f"but only {len(rest):,} images are not trained on; lower them"
        )
    held_out = rest[setup.val_images : setup.val_images + setup.held_out_images]
    return replace(data, val_indices=np.sort(rest[: setup.val_images])), torch.from_numpy(np.sort(held_out))


def train_curve(
    setup: Setup,
    data: TrainingSet,
    held_out: torch.Tensor,
    seed: int,
    number: int,
    layout: ResNetLayout,
    schedule: Schedule,
) -> Curve:
    """The curve of `layout`, trained for the full length with `schedule`."""
    recipe = setup.recipe.model_copy(update={"schedule": schedule})
    epochs = setup.rungs[-1]
    rungs = setup.rungs if schedule == "rung-annealed" else ()
    trainer = Trainer(layout, recipe, data, torch.device("cpu"), epochs=epochs, seed=seed, rungs=rungs)
    started = time.perf_counter()
    accuracies: list[float] = []
    try:
        while trainer.epoch < epochs:
            accuracies.append(trainer.train_epoch().val_accuracy)
    except DivergedError:
        accuracies += [0.0] * (epochs - len(accuracies))
    spent = time.perf_counter() - started
    final = 0.0
    if trainer.epoch == epochs:
        final = answers(
            trainer.update.result,
            trainer.images,
            trainer.labels,
            held_out,
            trainer.mean,
            trainer.std,
            trainer.precision,
        ).accuracy
    return Curve(seed, number, layout, schedule, tuple(accuracies), final, round(spent, 2))


def read_curves(setup: Setup, store: Path) -> list[Curve]:
    """The curves in `store`, none if it does not exist; an incomplete last line is dropped.

    Raises:
        ValueError: they were trained with another setup.
    """
    lines = store.read_text(encoding="utf-8").split("\n")[:-1] if store.exists() else []
    if not lines:
        return []
    if json.loads(lines[0]) != setup.to_dict():
        raise ValueError(f"{store}: trained with another setup than that of {setup.dataset} now; give another file")
    return [Curve.from_dict(json.loads(line)) for line in lines[1:]]


def pool(setup: Setup, seed: int, size: int, curves: list[Curve]) -> list[ResNetLayout]:
    """The pool of `seed`: its layouts in `curves`, by number, then uniform draws of other feasible ones.

    Raises:
        ValueError: the space has fewer layouts.
    """
    if size > (feasible := count_feasible(setup.space)):
        raise ValueError(f"layouts: {size:,} given, but the space has {feasible:,}; lower it")
    stored = {curve.number: curve.layout for curve in curves if curve.seed == seed}
    layouts = [stored[number] for number in sorted(stored)][:size]
    generator = np.random.default_rng(seed)
    while len(layouts) < size:
        layout = sample_uniform(setup.space, 1, generator)[0]  # one at a time, so that a smaller pool is a prefix
        if layout not in layouts:
            layouts.append(layout)
    return layouts


def complete(setup: Setup, store: Path, seeds: int, size: int) -> list[Curve]:
    """The curves of `seeds` pools of `size` layouts; missing ones are trained on one thread and added to `store`."""
    curves = read_curves(setup, store)
    there = {(curve.seed, curve.number, curve.schedule) for curve in curves}
    wanted = [(seed, number, schedule) for number in range(size) for seed in range(seeds) for schedule in SCHEDULES]
    missing = [key for key in wanted if key not in there]
    if missing:
        torch.set_num_threads(1)
        data, held_out = split(setup, load_training_set(setup.dataset, train_images=setup.train_images))
        pools = {seed: pool(setup, seed, size, curves) for seed in {seed for seed, _, _ in missing}}
        store.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in [setup.to_dict(), *(curve.to_dict() for curve in curves)])
        store.write_text(text, encoding="utf-8")  # rewritten, to remove an incomplete last line
        for done, (seed, number, schedule) in enumerate(missing, 1):
            curve = train_curve(setup, data, held_out, seed, number, pools[seed][number], schedule)
            curves.append(curve)
            with store.open("a", encoding="utf-8") as file:
                file.write(json.dumps(curve.to_dict()) + "\n")
            sys.stderr.write(
                f"{done}/{len(missing)}: pool {seed}, {curve.layout.layout_id}, {schedule}, "
                f"{curve.val_accuracy[-1]:.2%}, {curve.train_time_s:.1f} s\n"
            )
    return [curve for curve in curves if curve.seed < seeds and curve.number < size]
