"""What a refit trains: the configuration of a run that trains one trial of another run again, to its own end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from results import TrialState, read_record
from results.trial_page.training_again import configuration
from results.wording import counted
from search.config import RunConfig
from search.config.composition import merge, validated
from search.errors import ConfigError
from search.machine import available_cpus
from search.planning.gpu_sharing import with_share
from search.planning.resources import available_concurrency
from search.planning.speed import epoch_time_s, epochs_within
from search.runs import existing_run_folder, read_config
from search.runs.ranking import ranked
from search.text import clock

WHOLE_LENGTH: Final = ("linear", "one-cycle", "warmup-stable-decay")
"""Schedules that reach zero once, at the end of the training; a refit keeps them, and replaces others by a cosine."""


@dataclass(frozen=True, slots=True)
class Refit:
    """A trial of a run, and what its next training has of its own."""

    run: str
    source: RunConfig
    """The configuration of the run."""
    trial: TrialState
    seeds: int
    all_data: bool
    schedule: str | None
    """None for the trial's own if it is one of `WHOLE_LENGTH`, else cosine."""
    changes: Mapping[str, Any]
    """Keys that replace those of the run."""

    def config(self, epochs: int) -> RunConfig:
        """The configuration of a run of `epochs` epochs.

        Raises:
            ConfigError: values contradict each other; the message lists all problems.
        """
        trial, source = self.trial, self.source.model_dump(mode="json")
        given = configuration(trial.layout_id, trial.params, trial.settings, trial.seed, source)
        if self.all_data:  # a search may have trained on a part of them
            given.pop("train_images", None)
        recipe = given["recipe"]
        chosen = self.schedule or (recipe["schedule"] if recipe["schedule"] in WHOLE_LENGTH else "cosine")
        recipe |= {"schedule": chosen, "patience_epochs": 0} | ({"cosine_epochs": 0} if chosen == "cosine" else {})
        given |= {
            **{"max_epochs": epochs, "grace_epochs": epochs, "sampler": "grid", "confirm": 0},
            **dict.fromkeys(("trials", "replicates", "keep_checkpoints"), self.seeds),
            **{"refit_of": f"{self.run}:{trial.trial}", "all_data": self.all_data},
            "cpus_per_trial": max(1, available_cpus() // self.seeds),
        }
        merge(given, self.changes)
        return validated(given)

    def config_within(self, budget_s: float, say: Callable[[str], None]) -> RunConfig:
        """The configuration of the longest run that ends within `budget_s` seconds, but at least of the trial's length.

        The speed is measured on this machine, and said.

        Raises:
            SearchError: values contradict each other, or the machine lacks the resources.
            TrainablesError: the data set cannot be loaded.
        """
        own = self.config(self.source.max_epochs)
        shared = with_share(own)
        at_once = min(self.seeds, available_concurrency(shared.resources, None))
        (layout,), recipe = shared.space.listed_layouts, shared.recipe.fixed
        if recipe is None:
            raise ConfigError("recipe: a refit trains one recipe; give each field of it one value")
        epoch_s = epoch_time_s(shared, layout, recipe, at_once)
        epochs = epochs_within(budget_s, epoch_s, rounds=-(-self.seeds // at_once))
        say(f"measured: {epoch_s:.3g} s per epoch with {at_once} at a time; {clock(budget_s)} are {epochs:,} epochs")
        if epochs < own.max_epochs:
            say(f"note: the training is not made shorter than the trial's own {counted(own.max_epochs, 'epoch')}")
        return self.config(max(epochs, own.max_epochs))

    def sentence(self, config: RunConfig) -> str:
        """What `config` trains, in words."""
        trial = self.trial
        of = f"refit of {self.run} trial {trial.trial}: {trial.layout_id}, {trial.params:,} parameters"
        on = "all training and validation images" if config.all_data else "the training images of the search"
        length = f"{counted(config.max_epochs, 'epoch')} of {config.recipe.values_of('schedule')[0]}"
        return f"{of}, {length} on {on}, {counted(config.replicates, 'seed')}"


def refit_of(
    storage: Path, name: str, seeds: int, all_data: bool, schedule: str | None, changes: Mapping[str, Any]
) -> Refit:
    """The refit of the trial that RUN:TRIAL names; RUN alone stands for its best trial.

    Raises:
        RunNotFoundError: there is no such run.
        ConfigError: the run has no such trial, none has reached a rung, or a change is the refit's own.
    """
    for key in ("max_epochs", "grace_epochs", "trials", "replicates"):
        if key in changes:
            flag = "--epochs" if "epochs" in key else "--seeds"
            raise ConfigError(f"{key}: given to a refit, which has no rungs and one network; use {flag}")
    run, colon, number = name.rpartition(":")
    if not colon or not number.isdecimal():
        run, number = name, ""
    folder = existing_run_folder(storage, run)
    config, state = read_config(folder), read_record(folder)
    if number and int(number) not in state.trials:
        trials = counted(len(state.trials), "trial")
        raise ConfigError(f"refit: {name} given, but {folder.name} has {trials}, numbered from 0")
    trial = state.trials[int(number)] if number else next(iter(ranked(state, config.trials_per_place > 1)), None)
    if trial is None:
        raise ConfigError(f"refit: no trial of {folder.name} has reached a rung; name one as {run}:TRIAL")
    return Refit(folder.name, config, trial, seeds, all_data, schedule, changes)
