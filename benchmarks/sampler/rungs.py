"""Whole searches with early stopping: regret by epochs, on a made-up function of layouts and recipes with noise.

Usage: python -m benchmarks.sampler.rungs --seeds 5 --trials 150 --workers 1 --arms gp,run,random

The accuracy at the last rung is the analytic one of the layout, less what a recipe other than the best one costs. After
fewer epochs it is lower, for deep networks and small learning rates more so, and from some learning rate on a training
diverges. It is measured on `IMAGES` images, which adds binomial noise. ASHA decides as in a search. Regret is that of
the trial with the best measured accuracy so far, at the last rung and without noise. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from benchmarks.sampler.comparison import ARMS, suggested
from benchmarks.sampler.problems import batch_accuracy
from benchmarks.sampler.regret import mean_and_error
from search.config import compose
from search.config.views import Ladder
from search.layouts.batch import LayoutBatch
from search.layouts.enumeration import enumerate_batches
from search.recipes import RecipeSpace
from search.runs.rungs import AshaRungs
from search.sampling import Candidate, JointSpace
from search.sampling.samplers import make_sampler

IMAGES = 5_000
"""Validation images."""
RUNGS = (8, 24, 72)
FACTOR = 3
MARKS = (250, 500, 1000, 1500)
"""Epochs at which regret is shown."""
RECIPE: dict[str, Any] = {
    "optimizer": ["nesterov", "adamw"],
    "learning_rate": {"low": 0.001, "high": 0.4, "log": True},
    "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
    "momentum": {"low": 0.8, "high": 0.98},
    "label_smoothing": [0.0, 0.1, 0.2],
}


def last_accuracy(candidate: Candidate) -> float | None:
    """The accuracy at the last rung, in [0, 1]; None if the training diverges."""
    layout, recipe = candidate
    adaptive = recipe.optimizer == "adamw"
    rate = math.log10(recipe.learning_rate) - (-2.3 if adaptive else -1.0) + 0.3 * math.log10(layout.depth / 20)
    if rate > 0.8:
        return None
    inertia = 0.0 if adaptive else 2.0 * (recipe.momentum - 0.9) ** 2
    decay = 0.002 * (math.log10(recipe.weight_decay) + 3.3) ** 2
    lost: float = 0.01 * rate**2 + decay + inertia + 0.05 * (recipe.label_smoothing - 0.1) ** 2 + 0.002 * adaptive
    accuracy: float = batch_accuracy(LayoutBatch.of([layout])).item()
    return accuracy - lost


def accuracy_after(candidate: Candidate, epochs: int) -> float | None:
    """The accuracy after `epochs` epochs, in [0, 1]; None if the training diverges."""
    last = last_accuracy(candidate)
    if last is None:
        return None
    rate = candidate.recipe.learning_rate * (20 if candidate.recipe.optimizer == "adamw" else 1)
    slowness = 0.4 * math.sqrt(candidate.layout.depth / 20) * (rate / 0.1) ** -0.15
    return float(1 - (1 - last) * (1 + slowness * ((RUNGS[-1] / epochs) ** 0.6 - 1)))


def search(
    candidates: JointSpace,
    make: Callable[[JointSpace, int], BaseSampler],
    optimum: float,
    seed: int,
    trials: int,
    workers: int,
) -> list[tuple[int, float]]:
    """Runs a search and returns its regret after each number of epochs at which that changed."""
    study = optuna.create_study(direction="maximize", sampler=make(candidates, seed))
    noise, asha = np.random.default_rng([seed, 1]), AshaRungs(Ladder(RUNGS, FACTOR))
    best, spent, asked = -1.0, 0, 0
    regrets: list[tuple[int, float]] = []
    waiting: list[tuple[int, int, int, Any]] = []  # when its rung is reached, its number, the rung's place, the trial
    now = 0

    def launch() -> None:
        nonlocal asked
        trial = study.ask()
        suggested(trial, candidates)
        heapq.heappush(waiting, (now + RUNGS[0], trial.number, 0, trial))
        asked += 1

    while asked < min(workers, trials):
        launch()
    while waiting:
        now, number, place, trial = heapq.heappop(waiting)
        spent += RUNGS[place] - (RUNGS[place - 1] if place else 0)
        candidate = candidates.decode(trial.params)
        accuracy, last = accuracy_after(candidate, RUNGS[place]), last_accuracy(candidate)
        if accuracy is None or last is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            measured = float(noise.binomial(IMAGES, accuracy)) / IMAGES
            if measured > best:
                best = measured
                regrets.append((spent, optimum - last))
            trial.report(measured, RUNGS[place])
            if asha.goes_on(number, RUNGS[place], measured):
                heapq.heappush(waiting, (now + RUNGS[place + 1] - RUNGS[place], number, place + 1, trial))
                continue
            if place == len(RUNGS) - 1:
                study.tell(trial, measured)
            else:
                study.tell(trial, state=TrialState.PRUNED)
        if asked < trials:
            launch()
    return [*regrets, (spent, regrets[-1][1])]


def arm_of(name: str) -> Callable[[JointSpace, int], BaseSampler]:
    """The function that makes the sampler of an arm; it tells a Gaussian process the number of validation images."""
    if name == "gp":
        return lambda candidates, seed: make_sampler("gp", candidates, seed, images=IMAGES)
    return ARMS[name].sampler


def regret_at(regrets: Sequence[tuple[int, float]], epochs: int) -> float:
    """The regret after `epochs` epochs, in points."""
    return 100 * [regret for spent, regret in regrets if spent <= epochs or spent == regrets[0][0]][-1]


def main(given: Sequence[str] | None = None) -> int:
    """Runs the comparison of the command line and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sampler.rungs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--workers", type=int, default=1, help="trials at a time")
    parser.add_argument("--arms", type=lambda text: text.split(","), default=["run", "gp", "random"])
    asked = parser.parse_args(given)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = compose(None, None, {"dataset": "cifar10"}, []).space
    candidates = JointSpace(space, RecipeSpace.model_validate(RECIPE))
    optimum = max(float(batch_accuracy(batch).max()) for batch in enumerate_batches(space))
    samplers = {arm: arm_of(arm) for arm in asked.arms}
    found: dict[str, Any] = {}
    for arm in asked.arms:
        started = time.perf_counter()
        runs = [
            search(candidates, samplers[arm], optimum, seed, asked.trials, asked.workers) for seed in range(asked.seeds)
        ]
        regrets = np.array([[regret_at(run, mark) for mark in MARKS] for run in runs])
        mean, error = (np.round(figure, 4).tolist() for figure in mean_and_error(regrets))
        found[arm] = {
            "regret": dict(zip(MARKS, zip(mean, error, strict=True), strict=True)),
            "epochs": float(np.mean([run[-1][0] for run in runs])),
            "ms_per_trial": round(1000 * (time.perf_counter() - started) / asked.seeds / asked.trials, 1),
        }
        sys.stderr.write(f"{arm}: {found[arm]}\n")
    sys.stdout.write(
        json.dumps({"seeds": asked.seeds, "trials": asked.trials, "workers": asked.workers, **found}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
