"""How long a search would take here, by how fast earlier runs on the same data were trained on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from results import ResultsError, read_record
from search.config import RunConfig
from search.errors import ConfigError, ResourceError, SearchError
from search.layouts import sample_uniform
from search.planning.gpu_sharing import TRAINING_PASSES, with_share
from search.planning.resources import check_local_resources
from search.runs import read_config
from search.runs.folder import RUN_FILE, began_on_this_hardware
from trainables.data.splits import VAL_FRACTION
from trainables.errors import TrainablesError


def hours_of(
    config: RunConfig, storage: Path, training_flops: float, trials: int, passes: Callable[[RunConfig], float]
) -> dict[str, Any]:
    """`hours` that so many `trials` of `config`, `training_flops` in all, take here, and `hours_why` in words.

    `hours` is None if nothing tells. What tells are runs in `storage` on the same data set, begun on hardware like this
    machine's with as many CPUs a trial, and a GPU or none alike. `passes` gives the forward passes that an epoch of a
    configuration costs.
    """
    try:
        at_a_time = min(check_local_resources(config), max(1, trials))
    except ResourceError:
        return {"hours": None, "hours_why": "this machine lacks what a trial needs"}
    flops = seconds = 0.0
    told = []
    for file in sorted(storage.glob(f"*/{RUN_FILE}")):
        try:
            earlier = with_share(read_config(file.parent))
            if not (_alike(earlier, config) and began_on_this_hardware(file.parent)):
                continue
            trained = [trial for trial in read_record(file.parent).trials.values() if trial.epochs]
        except (SearchError, ResultsError, TrainablesError):  # damaged, or its data is gone: it tells nothing
            continue
        if trained:
            told.append(file.parent.name)
            seconds += sum(trial.train_time_s + trial.eval_time_s for trial in trained)
            flops += passes(earlier) * sum(trial.flops * trial.epochs for trial in trained)
    if not told:
        where = f"{storage} has no earlier {config.dataset} run on this machine with these resources"
        return {"hours": None, "hours_why": f"{where}; a run of a few trials would give one"}
    hours = training_flops * seconds / flops / at_a_time / 3600
    return {"hours": hours, "hours_why": f"{at_a_time} at a time, as fast as {_some(told)}"}


def _some(names: list[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _alike(earlier: RunConfig, config: RunConfig) -> bool:
    def kind(one: RunConfig) -> tuple[str, int | None, int, bool]:
        return one.dataset, one.image_size, one.cpus_per_trial, one.gpu_share > 0

    return kind(earlier) == kind(config)


COST_SAMPLES = 200


def expected_epochs(rungs: tuple[int, ...], reduction_factor: int, trials: int) -> float:
    """Epochs of all trials when one of `reduction_factor` passes each rung, as in synchronous halving."""
    total, before, alive = 0.0, 0, float(trials)
    for epochs in rungs:
        total += alive * (epochs - before)
        before, alive = epochs, max(1.0, alive / reduction_factor)
    return total


def passes_per_epoch(config: RunConfig) -> int:
    """Forward passes of one image that an epoch costs."""
    info = config.dataset_facts
    validation = round(VAL_FRACTION * info.train_images)
    there = info.train_images - validation
    training = config.train_images or there
    if training > there:
        raise ConfigError(f"train_images: {training:,} given, {config.dataset} has about {there:,}; lower it")
    twice = all(radius > 0 for radius in config.recipe.values_of("sam_radius"))  # a second pass at every step
    return TRAINING_PASSES * (2 if twice else 1) * training + validation


def training_cost(config: RunConfig, storage: Path, epochs: float, trials: int) -> dict[str, Any]:
    draw = np.random.default_rng(config.seed)
    forward = float(sample_uniform(config.space, COST_SAMPLES, draw).flops(config.space.image_size).mean())
    per_epoch = forward * passes_per_epoch(config)
    training = per_epoch * epochs
    return {
        "flops_per_epoch": per_epoch,
        "training_flops": training,
        **hours_of(config, storage, training, trials, passes_per_epoch),
    }
