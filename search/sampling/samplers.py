"""The samplers of the command line, by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from optuna import samplers
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler

from search.errors import ConfigError
from search.sampling.feasible_sampler import FeasibleSampler, InOrder, SeededAnew
from search.sampling.gaussian_process_sampler import GaussianProcessSampler
from search.sampling.joint_space import C, CandidateSpace

UNIFORM_SHARE = 0.25
"""Share of proposals that are drawn uniformly instead of from a model, so that none can mislead a run for good.

Source: the random fraction of BOHB, Falkner et al., arXiv 1807.01774.
"""

LISTING = ("BruteForceSampler",)
"""Samplers that list all values of a dimension, which ranges of real numbers refuse; `grid` lists all candidates."""

OPTUNA = "optuna:"
"""What the names of Optuna's own samplers begin with."""


def make_sampler(
    name: str, candidates: CandidateSpace[C], seed: int, replicates: int = 1, images: int | None = None
) -> FeasibleSampler[C]:
    """The sampler called `name` over `candidates`; its proposals depend only on `seed` and the study.

    With `images`, the values of the study are accuracies on so many images.

    Raises:
        ConfigError: Optuna has no such sampler, or it cannot be the base of one.
    """
    if name == "grid":
        return InOrder(candidates, replicates=replicates)
    if name == "gp":
        return GaussianProcessSampler(
            candidates, seed=seed, uniform_share=UNIFORM_SHARE, replicates=replicates, images=images
        )
    require_sampler(name)
    bases = {"tpe": _tpe, **{OPTUNA + other: make for other, make in optuna_bases().items()}}
    base = None if name == "random" else SeededAnew(bases[name], seed)
    return FeasibleSampler(base, candidates, seed=seed, uniform_share=UNIFORM_SHARE, replicates=replicates)


def require_sampler(name: str) -> None:
    """Checks that a sampler called `name` can be made.

    Raises:
        ConfigError: Optuna has no such sampler, it cannot be the base of one, or its package is missing.
    """
    if not name.startswith(OPTUNA):
        return
    known = optuna_bases()
    if name.removeprefix(OPTUNA) not in known:
        listed = ", ".join(OPTUNA + other for other in known)
        raise ConfigError(f"sampler: {name} is not a sampler of Optuna that needs nothing but a seed; use {listed}")
    if name == f"{OPTUNA}CmaEsSampler" and find_spec("cmaes") is None:
        raise ConfigError(f"sampler: {name} needs the package cmaes; install it with pip install cmaes")


def optuna_bases() -> dict[str, Callable[[int], BaseSampler]]:
    """What makes each of Optuna's samplers that needs nothing but a seed, by its name."""
    found: dict[str, Callable[[int], BaseSampler]] = {}
    for name in samplers.__all__:
        kind: Any = getattr(samplers, name)
        if inspect.isclass(kind) and name not in LISTING:
            options = inspect.signature(kind).parameters
            needed = [option for option in options.values() if option.default is option.empty]
            if "seed" in options and not needed:
                found[name] = partial(_made, name)
    return found


def _tpe(seed: int) -> BaseSampler:
    # Multivariate, because univariate TPE settles on one mode and does no better than random (docs/measurements.md).
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _made(name: str, seed: int) -> BaseSampler:
    with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
        made: BaseSampler = getattr(samplers, name)(seed=seed)
        return made
