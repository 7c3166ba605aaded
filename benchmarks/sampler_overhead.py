"""How long does a proposal take after many finished trials: TPE alone, FeasibleSampler over it, a Gaussian process?

Usage: python -m benchmarks.sampler_overhead [--trials 1000] [--proposals 40]

They alternate, and all have the same finished trials of the default CIFAR-10 space with a searched recipe. The last
line is one JSON object: median milliseconds of processor time per proposal, the ratio of the first two, and the longest
of the Gaussian process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from search.layouts import LayoutSpace
from search.recipes import RecipeSpace
from search.sampling import FeasibleSampler, GaussianProcessSampler, JointSpace
from search.sampling.feasible_sampler import SpaceExhausted

RECIPE: dict[str, Any] = {
    "optimizer": ["nesterov", "adamw"],
    "learning_rate": {"low": 0.01, "high": 0.4, "log": True},
    "weight_decay": {"low": 1e-4, "high": 2e-3, "log": True},
    "momentum": {"low": 0.8, "high": 0.95},
    "label_smoothing": [0.0, 0.1, 0.2],
}


def ask(study: optuna.Study, candidates: JointSpace) -> float:
    """Seconds of processor time of one proposal with all its dimensions; the trial is then marked as failed."""
    started = time.process_time()
    trial = study.ask()
    for name, dimension in candidates.dimensions.items():
        if isinstance(dimension, FloatDistribution):
            trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        else:
            trial.suggest_int(name, dimension.low, dimension.high)  # type: ignore[attr-defined]
    seconds = time.process_time() - started
    study.tell(trial, state=TrialState.FAIL)
    return seconds


def study_with(sampler: BaseSampler, candidates: JointSpace, trials: int) -> optuna.Study:
    """A study with `trials` finished trials of uniform draws, in which deeper networks score higher."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    draw = np.random.default_rng(0)
    for _ in range(trials):
        candidate = candidates.draw(draw, frozenset())
        if candidate is None:
            raise SpaceExhausted
        layout, recipe = candidate
        score = layout.depth / 100 - abs(np.log10(recipe.learning_rate) + 1)
        values, dimensions = candidates.encode(candidate), dict(candidates.dimensions)
        study.add_trial(optuna.trial.create_trial(value=score, params=values, distributions=dimensions))
    return study


def main() -> dict[str, Any]:
    """Measures both and returns the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sampler_overhead", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--proposals", type=int, default=40)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    candidates = JointSpace(LayoutSpace(), RecipeSpace.model_validate(RECIPE))
    alone = study_with(TPESampler(seed=0, multivariate=True, constant_liar=True), candidates, given.trials)
    base = TPESampler(seed=0, multivariate=True, constant_liar=True)
    wrapped = study_with(FeasibleSampler(base, candidates), candidates, given.trials)
    gp = study_with(GaussianProcessSampler(candidates, images=5_000), candidates, given.trials)
    times: dict[str, list[float]] = {"alone": [], "wrapped": [], "gp": []}
    for _ in range(given.proposals):
        times["alone"].append(ask(alone, candidates))
        times["wrapped"].append(ask(wrapped, candidates))
        times["gp"].append(ask(gp, candidates))
    medians = {name: 1000 * float(np.median(seconds)) for name, seconds in times.items()}
    return {
        "trials": given.trials,
        "dimensions": len(candidates.dimensions),
        "tpe_ms": round(medians["alone"], 2),
        "feasible_tpe_ms": round(medians["wrapped"], 2),
        "ratio": round(medians["wrapped"] / medians["alone"], 3),
        "gp_ms": round(medians["gp"], 2),
        "gp_most_ms": round(1000 * max(times["gp"]), 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
