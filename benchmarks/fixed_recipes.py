"""Trains one layout with one fixed recipe from a configuration file, epoch by epoch, on one core and without Ray."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from model_zoo import ResNetLayout, count_flops, count_params
from search.config import RunConfig, compose
from search.machine import available_cpus, cpu_name
from search.sampling import JointSpace
from trainables.data import load_training_set
from trainables.process_settings import prepare_process
from trainables.recipe import Recipe
from trainables.training import Trainer

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@dataclass(frozen=True)
class Training:
    """What one process trains; it can be sent to another process."""

    name: str
    """Its name in tables and messages."""
    layout: ResNetLayout
    """The network."""
    recipe: Recipe
    """How it is trained."""
    epochs: int
    """The epochs of the whole training."""
    seed: int
    data: dict[str, Any]
    """The arguments of `load_training_set`."""


@dataclass(frozen=True)
class Curve:
    """The results of a training after each of its epochs."""

    val_accuracy: tuple[float, ...]
    """Share of the validation images classified correctly, in [0, 1]."""
    seconds: tuple[float, ...]
    """Wall-clock seconds since the first step, of training and validation."""
    processor_s: tuple[float, ...]
    """CPU seconds of the same, which other work on the machine affects less."""
    train_images: int
    """Training images; those beyond the last full batch of an epoch are not used."""
    val_images: int
    """Validation images."""

    def epochs_until(self, accuracy: float) -> int | None:
        """The first epoch, from 1, with at least `accuracy` in [0, 1]; None if there is none."""
        return next((epoch for epoch, found in enumerate(self.val_accuracy, 1) if found >= accuracy), None)


def only_training(name: str, path: Path, flags: dict[str, Any]) -> Training:
    """The only training in the configuration in `path` under `flags` like those of `search.run`.

    Raises:
        ValueError: the configuration does not have exactly one training.
    """
    config = compose(path, None, flags, [])
    candidates = JointSpace(config.space, config.recipe)
    recipe = config.recipe.fixed
    if candidates.size != 1 or recipe is None:
        raise ValueError(f"{path.name}: {candidates.size} layouts and recipes; give a file with one of each")
    return training(name, config, config.space.listed_layouts[0], recipe)


def training(name: str, config: RunConfig, layout: ResNetLayout, recipe: Recipe) -> Training:
    """The training of `layout` with `recipe` on the data of `config`."""
    return Training(name, layout, recipe, config.max_epochs, config.seed, config.data_arguments)


def train(what: Training, epochs: int, threads: int = 1) -> Curve:
    """Trains the first `epochs` epochs on `threads` CPU threads, with a line on stderr for each."""
    device = torch.device("cpu")
    prepare_process(threads, device)
    data = load_training_set(**what.data)
    trainer = Trainer(what.layout, what.recipe, data, device, epochs=what.epochs, seed=what.seed)
    accuracies: list[float] = []
    seconds: list[float] = []
    processor_s: list[float] = []
    began = time.process_time()
    for epoch in range(1, epochs + 1):
        report = trainer.train_epoch()
        processor_s.append(time.process_time() - began)
        accuracies.append(report.val_accuracy)
        seconds.append(report.train_time_s + report.eval_time_s + (seconds[-1] if seconds else 0.0))
        line = (
            f"{what.name}, epoch {epoch}: {report.val_accuracy:.2%}, loss {report.train_loss:.3f}, {seconds[-1]:.1f} s"
        )
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    return Curve(
        tuple(accuracies),
        tuple(seconds),
        tuple(processor_s),
        len(data.train_indices),
        len(data.val_indices),
    )


def facts(what: Training, curve: Curve) -> dict[str, Any]:
    """The figures of a training as JSON-compatible values."""
    return {
        "layout": what.layout.layout_id,
        "params": count_params(what.layout),
        "mflop": round(count_flops(what.layout) / 1e6, 1),
        "seed": what.seed,
        "val_accuracy": [round(accuracy, 4) for accuracy in curve.val_accuracy],
        "training_s": round(curve.seconds[-1], 1),
        "processor_s": round(curve.processor_s[-1], 1),
    }


def setting() -> dict[str, Any]:
    """The machine, its load, and the versions of Python and torch."""
    return {
        "cpu": cpu_name(),
        "cpus": available_cpus(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "versions": {"python": platform.python_version(), "torch": metadata.version("torch")},
    }
