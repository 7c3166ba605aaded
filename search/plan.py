"""What a configuration would do: its space, its rungs and its cost, before anything is launched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from results import RunState
from results.wording import counted
from search.config import RunConfig
from search.config.changes import Change
from search.disk import DiskForecast, forecast
from search.errors import ConfigError
from search.layouts import sample_uniform
from search.layouts.report import SpaceReport, make_report
from search.layouts.report_text import print_report
from search.pace import hours_of
from search.runs.warm_start import first_candidates
from search.sharing import TRAINING_PASSES
from search.text import clock, flops_text
from trainables.splits import VAL_FRACTION

COST_SAMPLES = 200


def make_plan(config: RunConfig, storage: Path, concurrency: int = 1) -> dict[str, Any]:
    """The plan of a search with so many trials at a time, as JSON-compatible values: `space`, `rungs`, `trials`,
    `expected_epochs`, `disk`, `training_flops`, `hours` and others.

    Raises:
        EmptySpaceError: no layout is feasible.
        ConfigError: a warm start's name is unknown.
    """
    first, left_out = first_candidates(config, storage)
    report = make_report(config.space, samples=5, seed=config.seed)
    recipes = config.recipe.size
    trials = config.trials if recipes is None else min(config.trials, report.feasible * recipes * config.replicates)
    epochs = expected_epochs(config.rungs, config.reduction_factor, trials)
    planned = forecast(config, concurrency, epochs)
    return {
        "dataset": config.dataset,
        "space": report.to_dict(),
        "recipes": recipes,
        "searched": [list(row) for row in config.recipe.describe()],
        "fixed": [list(row) for row in config.recipe.describe_fixed()],
        "replicates": config.replicates,
        "notes": config.notes,
        "asked_trials": config.trials,
        "warm_start": [f"first: {layout.layout_id}" for layout, _ in first] + left_out,
        "trials": trials,
        "sampler": config.sampler,
        "rungs": list(config.rungs),
        "expected_epochs": epochs,
        "budgets": _budgets(config),
        "most_epochs": trials * config.max_epochs,
        "disk": dataclasses.asdict(planned) | {"total_bytes": planned.total},
        **_cost(config, storage, epochs, trials),
    }


def expected_epochs(rungs: tuple[int, ...], reduction_factor: int, trials: int) -> float:
    """Epochs of all trials when one of `reduction_factor` passes each rung, as in synchronous halving."""
    total, before, alive = 0.0, 0, float(trials)
    for epochs in rungs:
        total += alive * (epochs - before)
        before, alive = epochs, max(1.0, alive / reduction_factor)
    return total


def print_plan(plan: dict[str, Any], console: Console) -> None:
    """Prints what `make_plan` gives."""
    print_report(SpaceReport.from_dict(plan["space"]), console)
    rungs = ", ".join(map(str, plan["rungs"]))
    fixed = ", ".join(f"{name} {value}" for name, value in plan["fixed"])
    console.print(
        f"\nrecipe, fixed: {fixed or 'nothing'}; what is not named has its default",
        highlight=False,
        soft_wrap=True,
        end="",
    )
    for name, values in plan["searched"]:
        console.print(f"\nrecipe.{name}: {values}", highlight=False, soft_wrap=True, end="")
    console.print()
    if plan["searched"]:
        count = "infinitely many recipes" if plan["recipes"] is None else counted(plan["recipes"], "recipe")
        console.print(f"{count} for each layout", highlight=False, soft_wrap=True)
    if plan["replicates"] > 1:
        console.print(f"\neach up to {plan['replicates']} times, with another seed", highlight=False, soft_wrap=True)
    for sentence in plan["warm_start"]:
        console.print(f"\n{sentence}", highlight=False, soft_wrap=True, end="")
    for sentence in plan["notes"]:
        console.print(f"\n{sentence}", highlight=False, soft_wrap=True, end="")
    budgets = "".join(f"{sentence}\n" for sentence in plan["budgets"])
    fewer = plan["trials"] < plan["asked_trials"]
    every = f", every point there is; {plan['asked_trials']:,} were asked for," if fewer else ""
    console.print(
        f"\n{counted(plan['trials'], 'trial')}{every} on {plan['dataset']}, sampler {plan['sampler']}, "
        f"rungs at {rungs} epochs\n"
        f"about {plan['expected_epochs']:,.0f} epochs in all, {plan['most_epochs']:,} if none is stopped\n"
        f"{budgets}"
        f"about {flops_text(plan['training_flops'])} of training and validation, "
        f"{flops_text(plan['flops_per_epoch'])} an epoch of the mean layout\n"
        f"{hours_text(plan)}\n"
        f"at most {DiskForecast.of(plan['disk'])} in the run's folder\n"
        "Nothing was launched.",
        highlight=False,
        soft_wrap=True,
    )


def make_resume_plan(run: str, change: Change, state: RunState, storage: Path) -> dict[str, Any]:
    """What a resume of `run`, whose record holds `state`, would change and has left to do; JSON-compatible values.

    `expected_epochs` and the cost are of the trials that have not ended, without completed ones that go on.
    """
    config, space = change.config, change.config.space
    left = max(0, config.trials - sum(trial.ended for trial in state.trials.values()))
    known = sum(trial.epochs for trial in state.trials.values() if not trial.ended)
    epochs = max(0.0, expected_epochs(config.rungs, config.reduction_factor, left) - known) if left else 0.0
    return {
        "run": run,
        "changes": {key: list(values) for key, values in change.differences.items()},
        "change": change.sentence,
        "trials": change.config.trials,
        "suggested_trials": len(state.trials),
        "ended_trials": sum(trial.ended for trial in state.trials.values()),
        "epochs": state.epochs,
        "epoch_budget": change.config.epoch_budget,
        "leaving_trials": sum(
            trial.within_limits and not space.min_params <= trial.params <= space.max_params
            for trial in state.trials.values()
        ),
        "rungs": list(change.config.rungs),
        "expected_epochs": epochs,
        **_cost(config, storage, epochs, left),
    }


def print_resume_plan(plan: dict[str, Any], console: Console) -> None:
    """Prints what `make_resume_plan` gives."""
    left = max(0, plan["trials"] - plan["ended_trials"])
    going_on = plan["suggested_trials"] - plan["ended_trials"]
    before, now = plan["changes"].get("max_epochs", (0, 0))
    budget = plan["epoch_budget"]
    spent = (
        f"the epoch budget of {budget:,} is spent: nothing would run\n" if budget and plan["epochs"] >= budget else ""
    )
    leaving = (
        f"{counted(plan['leaving_trials'], 'trial')} outside the parameters asked for would lose rank and checkpoint\n"
    )
    cost = f"about {plan['expected_epochs']:,.0f} epochs to go; {hours_text(plan)}\n"
    again = (
        f"besides, completed trials go on to {now:,} epochs where their last rung lets them\n" if now > before else ""
    )
    console.print(
        f"run {plan['run']}: {plan['change'] or 'nothing changes'}\n"
        f"{plan['ended_trials']:,} of {plan['trials']:,} trials have ended, {plan['epochs']:,} epochs in all; "
        f"{left:,} to go, {going_on:,} of them from where they were\n"
        f"{cost if left else ''}{again}{spent}{leaving if plan['leaving_trials'] else ''}Nothing was launched.",
        highlight=False,
        soft_wrap=True,
    )


def hours_text(plan: dict[str, Any]) -> str:
    """How long the training of a plan takes, and how that is known."""
    if plan["hours"] is None:
        return f"no estimate in hours: {plan['hours_why']}"
    hours = plan["hours"]
    number, unit = next(
        (hours * many, name)
        for many, name in ((1, "hours"), (60, "minutes"), (3600, "seconds"))
        if hours * many >= 1 or many == 3600
    )
    return f"about {number:.2g} {unit} of training on this machine, {plan['hours_why']}"


def _budgets(config: RunConfig) -> list[str]:
    """What ends a session before its trials do."""
    time = [] if config.time_budget_s is None else [f"a session ends after {clock(config.time_budget_s)} at the latest"]
    epochs = [] if config.epoch_budget is None else [f"the search ends after {config.epoch_budget:,} epochs in all"]
    return [*time, *epochs]


def _passes(config: RunConfig) -> int:
    """Forward passes of one image that an epoch costs."""
    info = config.dataset_facts
    validation = round(VAL_FRACTION * info.train_images)
    there = info.train_images - validation
    training = config.train_images or there
    if training > there:
        raise ConfigError(f"train_images: {training:,} given, {config.dataset} has about {there:,}; lower it")
    twice = all(radius > 0 for radius in config.recipe.values_of("sam_radius"))  # a second pass at every step
    return TRAINING_PASSES * (2 if twice else 1) * training + validation


def _cost(config: RunConfig, storage: Path, epochs: float, trials: int) -> dict[str, Any]:
    draw = np.random.default_rng(config.seed)
    forward = float(sample_uniform(config.space, COST_SAMPLES, draw).flops(config.space.image_size).mean())
    per_epoch = forward * _passes(config)
    training = per_epoch * epochs
    return {
        "flops_per_epoch": per_epoch,
        "training_flops": training,
        **hours_of(config, storage, training, trials, _passes),
    }
