"""The cost of a search: the FLOPs of its trainings, and the hours, estimated from earlier runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from results import ResultsError, read_record
from results.record.folders import RUN_FILE
from search.config import RunConfig
from search.errors import ConfigError, ResourceError, SearchError
from search.layouts import sample_uniform
from search.planning.gpu_sharing import TRAINING_PASSES, with_share
from search.planning.resources import check_local_resources
from search.runs import read_config
from search.runs.folder import began_on_this_hardware
from trainables.errors import TrainablesError

COST_SAMPLES: Final = 200
"""Layouts drawn from the space to estimate its mean FLOPs."""


def training_cost(config: RunConfig, storage: Path, epochs: float, trials: int) -> dict[str, Any]:
    """`flops_per_epoch` of the space's mean layout, `training_flops` of `epochs` such epochs, `hours` and `hours_why`.

    `hours` is None if no run in `storage` is comparable: on the same data set and image size, started on hardware like
    this machine's, with the same number of CPUs per trial, and with GPUs if and only if this one uses them.
    """
    draw = np.random.default_rng(config.seed)
    forward = float(sample_uniform(config.space, COST_SAMPLES, draw).flops(config.space.image_size).mean())
    per_epoch = forward * passes_per_epoch(config)
    hours, why = _hours(config, storage, per_epoch * epochs, trials)
    return {"flops_per_epoch": per_epoch, "training_flops": per_epoch * epochs, "hours": hours, "hours_why": why}


def passes_per_epoch(config: RunConfig) -> int:
    """The cost of an epoch in forward passes of one image."""
    info = config.dataset_facts
    validation = info.val_images or round(config.validation_share * info.train_images)
    there = info.train_images - validation
    training = config.train_images or there
    if training > there:
        raise ConfigError(f"train_images: {training:,} given, {config.dataset} has about {there:,}; lower it")
    twice = all(radius > 0 for radius in config.recipe.values_of("sam_radius"))  # a second pass at every step
    return TRAINING_PASSES * (2 if twice else 1) * training + validation


def _hours(config: RunConfig, storage: Path, training_flops: float, trials: int) -> tuple[float | None, str]:
    try:
        at_a_time = min(check_local_resources(config.resources), max(1, trials))
    except ResourceError:
        return None, "this machine lacks the resources that a trial needs"
    flops = seconds = 0.0
    used = []
    for file in sorted(storage.glob(f"*/{RUN_FILE}")):
        try:
            earlier = with_share(read_config(file.parent))
            if not (_comparable(earlier, config) and began_on_this_hardware(file.parent)):
                continue
            trained = [trial for trial in read_record(file.parent).trials.values() if trial.epochs]
        except (SearchError, ResultsError, TrainablesError):  # a damaged run, or one whose data set is gone
            continue
        if trained:
            used.append(file.parent.name)
            seconds += sum(trial.train_time_s + trial.eval_time_s for trial in trained)
            flops += passes_per_epoch(earlier) * sum(trial.flops * trial.epochs for trial in trained)
    if not used:
        why = f"{storage} has no earlier {config.dataset} run on this machine with these resources"
        return None, f"{why}; a run of a few trials would give one"
    more = f" and {len(used) - 3} more" if len(used) > 3 else ""
    why = f"{at_a_time} at a time, at the speed of {', '.join(used[:3])}{more}"
    return training_flops * seconds / flops / at_a_time / 3600, why


def _comparable(earlier: RunConfig, config: RunConfig) -> bool:
    def kind(one: RunConfig) -> tuple[str, int | None, int, bool]:
        return one.dataset, one.image_size, one.cpus_per_trial, one.resources.gpus > 0

    return kind(earlier) == kind(config)
