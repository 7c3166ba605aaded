"""Learning rates as pure functions of the step, so that a resumed training needs no scheduler's state."""

from __future__ import annotations

import math
from itertools import pairwise

from trainables.recipe import Recipe

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4 / 25
"""Shares and factors of torch.optim.lr_scheduler.OneCycleLR's defaults. Source: Smith & Topin, arXiv 1708.07120."""


def rung_epochs(grace_epochs: int, reduction_factor: int, max_epochs: int) -> tuple[int, ...]:
    """The epochs at which ASHA compares trials: grace * factor**k below the last, and the last.

    Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv 1810.05934.

    Raises:
        ValueError: the grace period is not within 1 to max_epochs, or the factor is below 2.
    """
    if not 1 <= grace_epochs <= max_epochs:
        raise ValueError(f"grace_epochs: {grace_epochs} given; use 1 to max_epochs ({max_epochs})")
    if reduction_factor < 2:
        raise ValueError(f"reduction_factor: {reduction_factor} given; use at least 2")
    rungs = []
    epochs = grace_epochs
    while epochs < max_epochs:
        rungs.append(epochs)
        epochs *= reduction_factor
    return (*rungs, max_epochs)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, rungs: tuple[int, ...]) -> float:
    """The learning rate of step `step`, counted from 0 over the whole training.

    Rung-annealed and cosine use the step's end, so that the rate is exactly zero at the last step of a rung and
    nowhere else; the others follow torch's schedulers, which use the step's start. `rungs` ends with the last epoch.

    Source: budgeted training, arXiv 1905.04753 (annealing to zero makes truncated runs comparable).
    """
    total = recipe.epochs * steps_per_epoch
    return recipe.learning_rate * _FACTORS[recipe.schedule](recipe, step, steps_per_epoch, total, rungs)


def _rung_annealed(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    for start, end in pairwise((0, *rungs)):
        if step < end * steps_per_epoch:
            done = step + 1 - start * steps_per_epoch
            warmup = recipe.warmup_epochs * steps_per_epoch if start == 0 else 0.0
            return _warm_cosine(done, (end - start) * steps_per_epoch, min(warmup, end * steps_per_epoch / 2))
    return 0.0


def _cosine(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    return _warm_cosine(step + 1, total, recipe.warmup_epochs * steps_per_epoch)


def _one_cycle(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    rise = ONE_CYCLE_RISE * total - 1
    if step <= rise:
        return _between(ONE_CYCLE_START, 1.0, step / rise)
    return _between(1.0, ONE_CYCLE_END, (step - rise) / (total - 1 - rise))


def _step(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    drops: int = step // (recipe.step_epochs * steps_per_epoch)
    return float(recipe.step_factor**drops)


def _constant(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    return 1.0


def _warm_cosine(done: float, total: float, warmup: float) -> float:
    if done < warmup:
        return done / warmup
    if done >= total:
        return 0.0
    return _between(1.0, 0.0, (done - warmup) / (total - warmup))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


_FACTORS = {
    "rung-annealed": _rung_annealed,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "step": _step,
    "constant": _constant,
}
