"""Learning rates and momenta as pure functions of the step, so that a resumed training needs no scheduler state.

The schedule plateau alone depends on the validation results so far, as a number of drops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from trainables.recipe import Recipe

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4 / 25
ONE_CYCLE_MOMENTUM_FALL = 0.1
ONE_CYCLE_BETA = 0.95
"""Shares and factors of torch.optim.lr_scheduler.OneCycleLR's defaults. Source: Smith & Topin, arXiv 1708.07120."""
ADAM_BETA = 0.9
"""Beta 1 of torch.optim.Adam and AdamW."""


def rung_epochs(
    grace_epochs: int, reduction_factor: int, max_epochs: int, earlier: Iterable[int] = ()
) -> tuple[int, ...]:
    """The epochs at which ASHA compares trials: grace * factor**k below the last one, and the last one.

    `earlier` are other last rungs under which the trials were trained. Each stays a rung, and the powers start again
    from it, so that a longer ladder moves no rung. Those above `max_epochs` are left out.

    Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv 1810.05934.

    Raises:
        ValueError: the grace period is below 1 or above `max_epochs` or one of `earlier`, or the factor is below 2.
    """
    ends = sorted({*earlier, max_epochs})
    if not 1 <= grace_epochs <= ends[0]:
        raise ValueError(f"grace_epochs: {grace_epochs} given; use 1 to max_epochs ({ends[0]})")
    if reduction_factor < 2:
        raise ValueError(f"reduction_factor: {reduction_factor} given; use at least 2")
    rungs = []
    epochs = grace_epochs
    for end in ends:
        while epochs < end:
            rungs.append(epochs)
            epochs *= reduction_factor
        rungs.append(end)
        epochs = end * reduction_factor
    return tuple(rungs[: rungs.index(max_epochs) + 1])


def ends_of_schedule(recipe: Recipe, rungs: tuple[int, ...]) -> tuple[int, ...]:
    """The epochs at whose end the schedule is complete: under rung-annealed all `rungs`, under others the last one."""
    return rungs if recipe.schedule == "rung-annealed" else rungs[-1:]


def progress(recipe: Recipe, step: int, steps_per_epoch: int, rungs: tuple[int, ...]) -> float:
    """The share of the schedule that is behind the middle of step `step`, in (0, 1); it starts again when complete.

    What grows or fades over a training follows this. A trial that is stopped at a rung is then a complete short
    training, and the steps before a rung do not depend on the rungs after it.
    """
    spans = pairwise((0, *ends_of_schedule(recipe, rungs)))
    start, end = next((start, end) for start, end in spans if step < end * steps_per_epoch)
    return (step + 0.5 - start * steps_per_epoch) / ((end - start) * steps_per_epoch)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, rungs: tuple[int, ...], drops: int = 0) -> float:
    """The learning rate of step `step`, counted from 0 over the whole training; `rungs` ends with the last epoch.

    `drops` are those that the schedule plateau has made so far, see `trainables.plateau`; the others do not read it.

    Rung-annealed, cosine, linear and warmup-stable-decay use the end of the step, so that the rate is exactly zero at
    the last step of a fall and nowhere else. The others follow torch's schedulers, which use the start of the step.

    With `cosine_epochs`, cosine is torch's CosineAnnealingLR stepped once per step: it is zero at the end of that many
    epochs, including the warm-up, at the peak again after twice as many, and so on. At the start of an epoch it has the
    rate of torch's scheduler stepped once per epoch. Cosine-step is the product of cosine and step. Chaining torch's
    two schedulers gives the same until the first rise from zero after a drop, where torch forgets the earlier drops.
    Cosine-restarts is torch's CosineAnnealingWarmRestarts stepped once per step, except that the rate is zero at the
    last step of a fall, where torch has already restarted. A fall that the end of training cuts off does not reach
    zero.

    Source: arXiv 1905.04753, budgeted training (annealing to zero makes truncated runs comparable; linear); arXiv
    1608.03983, restarts; arXiv 2405.18392, warmup-stable-decay.
    """
    total = rungs[-1] * steps_per_epoch
    if recipe.schedule == "plateau":
        return float(recipe.learning_rate * recipe.step_factor**drops)
    return recipe.learning_rate * _FACTORS[recipe.schedule](recipe, step, steps_per_epoch, total, rungs)


def momentum(recipe: Recipe, step: int, total: int) -> float:
    """The momentum of step `step` of `total`, counted from 0; for adam and adamw it is beta 1, for adadelta 0.

    One-cycle lowers it by 0.1, but not below 0, while the learning rate rises, and raises it again while the rate
    falls. It starts from the recipe's momentum, or for adam and adamw, which have none, from 0.95 as in torch's
    OneCycleLR.

    Source: Smith, arXiv 1803.09820, section 4.2 (a rising learning rate needs a falling momentum).
    """
    if recipe.optimizer == "adadelta":
        return 0.0
    cycles, adaptive = recipe.schedule == "one-cycle", recipe.optimizer in ("adam", "adamw")
    if not cycles:
        return ADAM_BETA if adaptive else recipe.momentum
    high = ONE_CYCLE_BETA if adaptive else recipe.momentum
    low = max(high - ONE_CYCLE_MOMENTUM_FALL, 0.0)
    return _cycled(step, total, high, low, high)


def _rung_annealed(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    for start, end in pairwise((0, *rungs)):
        if step < end * steps_per_epoch:
            done = step + 1 - start * steps_per_epoch
            warmup = recipe.warmup_epochs * steps_per_epoch if start == 0 else 0.0
            return _warm_cosine(done, (end - start) * steps_per_epoch, min(warmup, end * steps_per_epoch / 2))
    return 0.0


def _cosine(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    fall = recipe.cosine_epochs * steps_per_epoch or total
    if step < fall:
        return _warm_cosine(step + 1, fall, _warmup(recipe, steps_per_epoch, fall))
    return _between(1.0, 0.0, (step + 1) % (2 * fall) / fall)


def _cosine_step(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    drops = _step(recipe, step, steps_per_epoch, total, rungs)
    return drops * _cosine(recipe, step, steps_per_epoch, total, rungs)


def _cosine_restarts(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    start, fall = 0, recipe.restart_epochs * steps_per_epoch
    while step >= start + fall:
        start, fall = start + fall, fall * recipe.restart_factor
    return _warm_cosine(step + 1 - start, fall, _warmup(recipe, steps_per_epoch, fall) if start == 0 else 0.0)


def _linear(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    done, warmup = step + 1, _warmup(recipe, steps_per_epoch, total)
    return done / warmup if done < warmup else (total - done) / (total - warmup) if done < total else 0.0


def _warmup_stable_decay(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    done, warmup = step + 1, _warmup(recipe, steps_per_epoch, total)
    return done / warmup if done < warmup else min(1.0, (total - done) / (recipe.cooldown_share * total))


def _one_cycle(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    return _cycled(step, total, ONE_CYCLE_START, 1.0, ONE_CYCLE_END)


def _step(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    drops: int = step // (recipe.step_epochs * steps_per_epoch)
    return float(recipe.step_factor**drops)


def _milestones(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    drops = sum(int(epoch) * steps_per_epoch <= step for epoch in recipe.milestones.split(","))
    return float(recipe.step_factor**drops)


def _exponential(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    return float(recipe.exponential_factor ** (step // steps_per_epoch))


def _constant(recipe: Recipe, step: int, steps_per_epoch: int, total: int, rungs: tuple[int, ...]) -> float:
    return 1.0


def _warmup(recipe: Recipe, steps_per_epoch: int, fall: int) -> float:
    """Steps of the warm-up that begins a fall of `fall` steps, or half of these if it would leave none to fall."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    return warmup if warmup < fall else fall / 2


def _warm_cosine(done: float, total: float, warmup: float) -> float:
    if done < warmup:
        return done / warmup
    if done >= total:
        return 0.0
    return _between(1.0, 0.0, (done - warmup) / (total - warmup))


def _cycled(step: int, total: int, start: float, turn: float, end: float) -> float:
    rise = ONE_CYCLE_RISE * total - 1
    if step <= rise:
        return _between(start, turn, step / rise)
    return _between(turn, end, (step - rise) / (total - 1 - rise))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


_FACTORS = {
    "rung-annealed": _rung_annealed,
    "cosine": _cosine,
    "cosine-step": _cosine_step,
    "cosine-restarts": _cosine_restarts,
    "linear": _linear,
    "warmup-stable-decay": _warmup_stable_decay,
    "one-cycle": _one_cycle,
    "step": _step,
    "milestones": _milestones,
    "exponential": _exponential,
    "constant": _constant,
}
