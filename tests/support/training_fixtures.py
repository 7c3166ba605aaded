"""A small data set and small networks for the tests of training: real objects, trained in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_zoo import ResNetLayout
from trainables.data import TrainingSet
from trainables.recipe import Recipe
from trainables.training import EpochReport, Trainer, epoch_seed

torch.set_num_threads(1)  # beside another busy process a step of two threads on two cores takes 50 times as long

CPU = torch.device("cpu")
LAYOUT = ResNetLayout((1, 1), (4, 8), in_channels=3, classes=4)
AUGMENTED: dict[str, Any] = {"crop_padding": 2, "flip": True, "cutout": 3, "rotation_degrees": 20.0}
PLAIN: dict[str, Any] = {"crop_padding": 0, "flip": False, "cutout": 0, "rotation_degrees": 0.0}
RATES = {"sgd": 0.05, "nesterov": 0.05, "adam": 0.005, "adamw": 0.005, "adadelta": 1.0, "muon": 0.05}
TIMES = ("train_time_s", "eval_time_s")


def small_set(train: int = 70, val: int = 20, shape: tuple[int, int, int] = (8, 10, 3)) -> TrainingSet:
    """Images (H, W, C) of noise on which a bright quadrant tells the class; every position but 0 is in a split."""
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 4, train + val + 1)
    images = draw.integers(0, 160, (train + val + 1, *shape), dtype=np.uint8)
    height, width = shape[0] // 2, shape[1] // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[row * height : (row + 1) * height, column * width : (column + 1) * width] += 95
    return TrainingSet(
        name="quadrants",
        images=images,
        labels=labels,
        train_indices=np.arange(1, train + 1),
        val_indices=np.arange(train + 1, train + val + 1),
        mean=tuple((images / 255).mean((0, 1, 2)).tolist()),
        std=tuple((images / 255).std((0, 1, 2)).tolist()),
        classes=4,
        class_names=("top left", "top right", "bottom left", "bottom right"),
        sha256="0" * 64,
    )


def small_recipe(**changes: Any) -> Recipe:
    """A recipe in float32 without augmentation, changed by `changes`."""
    return Recipe(**{"batch_size": 16, "precision": "float32", **PLAIN, **changes})


def small_trainer(
    recipe: Recipe | None = None, data: TrainingSet | None = None, *, epochs: int = 3, seed: int = 5, **others: Any
) -> Trainer:
    """A trainer on the CPU; `others` are its layout, rungs and compilation."""
    recipe = recipe if recipe is not None else small_recipe()
    data, layout = data if data is not None else small_set(), others.pop("layout", LAYOUT)
    return Trainer(layout, recipe, data, CPU, epochs=epochs, seed=seed, **others)


def plain_batches(epochs: int = 3, seed: int = 5) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Step, images (16, C, H, W) and labels of the small set's four batches of 16 an epoch, without augmentation."""
    data = small_set()
    for epoch in range(epochs):
        draw = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = data.train_indices[torch.randperm(70, generator=draw).numpy()]
        for number in range(4):  # 70 images; six wait for another epoch
            batch = order[number * 16 : (number + 1) * 16]
            x = (torch.tensor(data.images[batch]) / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
            yield epoch * 4 + number, x.permute(0, 3, 1, 2), torch.tensor(data.labels[batch])


def trained(trainer: Trainer, folder: Path | None = None) -> list[EpochReport]:
    """The reports of all epochs left, each saved as `folder`/epoch-N."""
    reports = []
    while trainer.epoch < trainer.epochs:
        reports.append(trainer.train_epoch())
        if folder is not None:
            trainer.save(folder / f"epoch-{trainer.epoch}")
    return reports


def timeless(report: EpochReport | None) -> dict[str, Any]:
    """The report without its times."""
    assert report is not None
    assert set(TIMES) < {field.name for field in fields(report)}
    return {name: value for name, value in asdict(report).items() if name not in TIMES}


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Every tensor of the network, the optimizer and what is kept beside them, by name."""
    tensors = {f"network {name}": value for name, value in trainer.network.state_dict().items()}
    tensors |= {f"averaged {name}": value for name, value in trainer.update.averaged.items()}
    for number, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer {number} {name}": value for name, value in state.items() if value is not None}
    return {name: torch.as_tensor(value).clone() for name, value in tensors.items()}


def assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Fails unless both hold the same tensors, bit for bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        assert torch.equal(value, other[name]), name
