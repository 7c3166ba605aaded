"""The cost of a search: the FLOPs of its trainings, and the hours, estimated from earlier runs on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from model_zoo import ResNetLayout, count_flops
from model_zoo.complexity import count_norms
from results import ResultsError, RunState, TrialState, read_record
from results.record.folders import RUN_FILE
from search.config import RunConfig
from search.errors import ConfigError, ResourceError, SearchError
from search.gpus import Gpu, gpus
from search.layouts import sample_uniform
from search.planning.gpu_sharing import with_share
from search.planning.gpu_time import TRAINING_PASSES, Step
from search.planning.halving import replayed
from search.planning.resources import check_local_resources, local_gpus, spread
from search.runs import read_config
from search.runs.folder import began_on_this_hardware
from trainables.errors import TrainablesError
from trainables.image_sizes import Size, sizes_of_training
from trainables.recipe import Recipe

COST_SAMPLES: Final = 200
"""Layouts drawn from the space to estimate its mean FLOPs."""
RESIZING: Final = ("first_image_size", "resizing_share")
"""The fields of a recipe that make its training images smaller."""


def training_cost(
    config: RunConfig,
    storage: Path,
    trials: int,
    *,
    ended: int = 0,
    known: int = 0,
    spent: int = 0,
    confirmed: int = 0,
    further: float = 0.0,
) -> dict[str, Any]:
    """What `trials` trials take, as JSON-compatible values.

    Before them, `ended` others have ended, `known` of their own epochs are trained, and `spent` of the epoch budget.
    After them, `confirmed` trials are trained for `further` epochs together.

    `expected_epochs` and `hours` are medians of replays of the search, `epochs_range` and `hours_range` hold eight of
    ten of them. `flops_per_epoch` is that of the space's mean layout, and `training_flops` is for the expected epochs.

    `hours` is None if no run in `storage` is comparable: on the same data set and image size, started on hardware like
    this machine's, with the same number of CPUs per trial and the same share of a GPU.
    """
    draw = np.random.default_rng(config.seed)
    sample, full = sample_uniform(config.space, COST_SAMPLES, draw), config.space.image_size
    forward = sample.flops(full).astype(np.float64)
    training = np.sum([share * sample.flops(size) for size, share in _sizes(config)], axis=0)
    trained, validated = passes_per_epoch(config)
    per_epoch = trained * float(training.mean()) + validated * float(forward.mean())
    at_a_time, pace, why = _pace(config, storage, max(trials, confirmed))
    gpu = _gpu(config)
    values_of = config.recipe.values_of
    rows = zip(sample, training.tolist(), forward.tolist(), strict=True)
    works = np.array([_work(config, gpu, values_of, *row) for row in rows])
    work = float(works.mean())
    epoch_s = 0.0 if pace is None else work * pace.seconds_per_work
    found = replayed(
        config.ladder,
        trials,
        at_a_time,
        works / work,
        config.seed,
        start=pace.trial_start_s / epoch_s if pace is not None and epoch_s else 0.0,
        ended=ended,
        budget=None if config.epoch_budget is None else max(0, config.epoch_budget - spent),
    )
    if config.epoch_budget is not None:
        further = min(further, max(0.0, config.epoch_budget - spent - found.epochs.median))
    epochs, in_means = found.epochs.scaled(1.0, further - known), found.work.scaled(1.0, further - known)
    shorter = (found.epochs.median - known) / max(1.0, found.epochs.median)
    confirming_s = further * epoch_s / max(1, min(at_a_time, confirmed))
    hours = None
    if pace is not None:
        hours = found.time.scaled(shorter * epoch_s / 3600, (pace.session_start_s + confirming_s) / 3600)
    return {
        "expected_epochs": max(0.0, epochs.median),
        "epochs_range": [max(0.0, epochs.low), max(0.0, epochs.high)],
        "flops_per_epoch": per_epoch,
        "training_flops": per_epoch * max(0.0, in_means.median),
        "hours": None if hours is None else hours.median,
        "hours_range": None if hours is None else [hours.low, hours.high],
        "hours_why": why,
    }


def passes_per_epoch(config: RunConfig) -> tuple[int, int]:
    """The cost of an epoch in forward passes of one image: of training, and of validation, which is at full size."""
    training, validation = epoch_images(config)
    twice = all(radius > 0 for radius in config.recipe.values_of("sam_radius"))  # a second pass at every step
    return TRAINING_PASSES * (2 if twice else 1) * training, validation


def epoch_images(config: RunConfig) -> tuple[int, int]:
    """The images that an epoch trains on, and those that it validates on."""
    info = config.dataset_facts
    validation = info.val_images or round(config.validation_share * info.train_images)
    if config.all_data:
        validation = 0
    there = info.train_images - validation
    training = config.train_images or there
    if training > there:
        raise ConfigError(f"train_images: {training:,} given, {config.dataset} has about {there:,}; lower it")
    return training, validation


def _gpu(config: RunConfig) -> Gpu | None:
    """The GPU that trials are trained on; None on a CPU, or where torch can use none."""
    return gpus().usable[0] if config.resources.gpus and gpus().usable else None


def _work(
    config: RunConfig,
    gpu: Gpu | None,
    values_of: Callable[[str], Sequence[Any]],
    layout: ResNetLayout,
    training: float,
    full: float,
) -> float:
    """What the time of an epoch is proportional to: FLOPs on a CPU; on a GPU, which waits for its host, modelled time.

    `values_of` gives a recipe's values by field; `training` and `full` are the FLOPs of a forward pass on one image,
    the mean over a training and at full size.
    """
    if gpu is None:
        trained, validated = passes_per_epoch(config)
        return trained * training + validated * full
    step = Step.of(values_of, gpu.bfloat16)
    return epoch_images(config)[0] / step.batch * step.seconds(count_norms(layout)[0], training, gpu)


def mean_flops(layout: ResNetLayout, first: int, share: float, image_size: Size) -> float:
    """The FLOPs of a forward pass on one training image, the mean over a training that ends at `image_size`.

    Its images begin with `first` pixels and grow during `share` of it, see `trainables.image_sizes`. Under
    rung-annealed this is the mean between any two rungs too.
    """
    return _mean_flops(sizes_of_training(first, share, image_size), lambda size: count_flops(layout, size))


def _mean_flops(sizes: Iterable[tuple[Size, float]], flops: Callable[[Size], float]) -> float:
    return sum(share * flops(size) for size, share in sizes)


def _sizes(config: RunConfig) -> list[tuple[Size, float]]:
    """The sizes of training images with their shares of the steps, the mean over choices and the ends of ranges."""
    firsts, shares = (config.recipe.values_of(name) for name in RESIZING)
    pairs = list(itertools.product(firsts, shares))
    found = [sizes_of_training(first, share, config.space.image_size) for first, share in pairs]
    return [(size, share / len(pairs)) for sizes in found for size, share in sizes]


class _Pace(NamedTuple):
    """What earlier runs took of time."""

    seconds_per_work: float
    """Of one trial's training and validation, for one unit of `_work`."""
    trial_start_s: float
    """Of a trial beside its training: its process, the data, its end."""
    session_start_s: float
    """Of a session before its first trial and after its last."""


def _pace(config: RunConfig, storage: Path, trials: int) -> tuple[int, _Pace | None, str]:
    """Trials at a time, the pace of comparable runs or None, and what that is based on or why there is none."""
    try:
        at_a_time = min(check_local_resources(config.resources), max(1, trials))
    except ResourceError:
        at_a_time = max(1, config.concurrency or 1)
        return at_a_time, None, "this machine lacks the resources that a trial needs"
    gpu, works, seconds = _gpu(config), 0.0, 0.0
    share = spread(config.resources, at_a_time, local_gpus(config.resources)).gpus
    used, of_trials, of_sessions = [], list[float](), list[float]()
    for file in sorted(storage.glob(f"*/{RUN_FILE}")):
        try:
            earlier = with_share(read_config(file.parent))
            if not (_comparable(earlier, config) and began_on_this_hardware(file.parent, gpu is not None)):
                continue
            state = read_record(file.parent)
        except (SearchError, ResultsError, TrainablesError):  # a damaged run, or one whose data set is gone
            continue
        if share and any(session.resources.get("gpu", 0) != share for session in state.sessions.values()):
            continue
        trained = [trial for trial in state.trials.values() if trial.epochs]
        if trained:
            used.append(file.parent.name)
            seconds += sum(trial.train_time_s + trial.eval_time_s for trial in trained)
            works += sum(trial.epochs * _trial_work(earlier, gpu, trial) for trial in trained)
            of_trials += _trial_starts(state)
            of_sessions += _session_starts(state)
    if not used:
        why = f"{storage} has no earlier {config.dataset} run on this machine with these resources"
        return at_a_time, None, f"{why}; a run of a few trials would give one"
    more = f" and {len(used) - 3} more" if len(used) > 3 else ""
    why = f"{at_a_time} at a time, at the speed of {', '.join(used[:3])}{more}"
    return at_a_time, _Pace(seconds / works, _mean(of_trials), _mean(of_sessions)), why


def _trial_work(config: RunConfig, gpu: Gpu | None, trial: TrialState) -> float:
    """The work of a mean epoch of `trial` of an earlier run."""
    layout, recipe, full = ResNetLayout.from_dict(trial.layout), Recipe(**trial.settings), float(trial.flops)
    training = full
    if recipe.first_image_size:
        training = mean_flops(layout, recipe.first_image_size, recipe.resizing_share, config.space.image_size)
    return _work(config, gpu, lambda name: [getattr(recipe, name)], layout, training, full)


def _trial_starts(state: RunState) -> list[float]:
    """Seconds of each trial beside its epochs, for a run of one session; in others, a trial may have waited between."""
    if len(state.sessions) != 1:
        return []
    ended = [trial for trial in state.trials.values() if trial.epochs and not trial.reused]
    return [
        max(0.0, trial.ended_s - trial.started_s - trial.train_time_s - trial.eval_time_s)
        for trial in ended
        if trial.ended_s is not None and trial.started_s is not None
    ]


def _session_starts(state: RunState) -> list[float]:
    """Seconds of the session before its first trial and after its last, for a run of one session that ended."""
    ends = [trial.ended_s for trial in state.trials.values() if trial.ended_s is not None]
    starts = [trial.started_s for trial in state.trials.values() if trial.started_s is not None]
    if len(state.sessions) != 1 or not ends or not starts:
        return []
    (session,) = state.sessions.values()
    return [] if session.wall_time_s is None else [max(0.0, session.wall_time_s - (max(ends) - min(starts)))]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _comparable(earlier: RunConfig, config: RunConfig) -> bool:
    def kind(one: RunConfig) -> tuple[str, int | None, int, bool]:
        return one.dataset, one.image_size, one.cpus_per_trial, one.resources.gpus > 0

    return kind(earlier) == kind(config)
