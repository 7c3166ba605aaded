"""The plan of a search or of a resume: its space, rungs and cost, before anything is launched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from results import RunState
from search.config import RunConfig
from search.config.changes import Change
from search.config.notes import notes_on
from search.layouts.report import make_report
from search.planning.cost import training_cost
from search.planning.disk import forecast
from search.planning.preparation import Prepared
from search.runs.confirmation import Confirmation
from search.text import clock


def make_plan(prepared: Prepared, storage: Path) -> dict[str, Any]:
    """The plan of a search as JSON-compatible values, among them `space`, `rungs`, `expected_epochs`, `disk`, `hours`.

    Raises:
        ConfigError: there are fewer training images than the configuration requests.
    """
    config = prepared.config
    report = make_report(config.space, samples=5, seed=config.seed)
    recipes = config.recipe.size
    trials = config.trials if recipes is None else min(config.trials, report.feasible * recipes * config.replicates)
    confirmed = min(config.confirm * config.trials_per_place, trials)
    confirming = config.ladder.confirmation_epochs(confirmed)
    planned = forecast(config, prepared.concurrency)
    return {
        "dataset": config.dataset,
        "opening": prepared.opening,
        "space": report.to_dict(),
        "recipes": recipes,
        "searched": [list(row) for row in config.recipe.describe()],
        "fixed": [list(row) for row in config.recipe.describe_fixed()],
        "replicates": config.replicates,
        "validation_splits": config.validation_splits,
        "notes": notes_on(config),
        "asked_trials": config.trials,
        "warm_start": [f"first: {layout.layout_id}" for layout, _ in prepared.first] + prepared.left_out,
        "trials": trials,
        "sampler": config.sampler,
        "rungs": list(config.rungs),
        "confirmed_trials": confirmed if confirming else 0,
        "confirmation_epochs": confirming,
        "budgets": _budgets(config),
        "most_epochs": trials * config.max_epochs,
        "disk": dataclasses.asdict(planned) | {"total_bytes": planned.total},
        **training_cost(config, storage, trials, confirmed=confirmed, further=confirming),
    }


def make_resume_plan(
    run: str, change: Change, state: RunState, val_images: int | None, storage: Path
) -> dict[str, Any]:
    """What a resume of `run`, whose record holds `state`, would change and still has to do, as JSON-compatible values.

    `expected_epochs` and the cost count trials that have not ended and the most that may be confirmed, but not
    completed ones that a resume continues.
    """
    config, space = change.config, change.config.space
    left = state.left(config.trials)
    known = sum(state.trials[number].epochs for number in state.open_trials)
    if left or config.limits != state.limits:
        since = 0 if len(state.trials) < config.trials or config.limits != state.limits else state.confirmed
        most = config.confirm * config.trials_per_place
        confirmed = max(0, min(most, config.trials) - since) if val_images else 0
        confirming = config.ladder.confirmation_epochs(confirmed)
    else:
        chosen = Confirmation(config.confirm, val_images, config.trials_per_place).next_ones(state)
        confirmed, confirming = len(chosen), sum(config.max_epochs - trial.epochs for trial in chosen)
    return {
        "run": run,
        "changes": {key: list(values) for key, values in change.differences.items()},
        "change": change.sentence,
        "trials": config.trials,
        "suggested_trials": len(state.trials),
        "ended_trials": state.ended,
        "epochs": state.epochs,
        "epoch_budget": config.epoch_budget,
        "leaving_trials": sum(
            trial.within_limits and not space.min_params <= trial.params <= space.max_params
            for trial in state.trials.values()
        ),
        "rungs": list(config.rungs),
        "confirmed_trials": confirmed if confirming else 0,
        "confirmation_epochs": confirming,
        **training_cost(
            config,
            storage,
            left,
            ended=state.ended,
            known=known,
            spent=state.epochs - known,
            confirmed=confirmed,
            further=confirming,
        ),
    }


def _budgets(config: RunConfig) -> list[str]:
    """Sentences on the budgets that may end a session before all trials have ended."""
    time = [] if config.time_budget_s is None else [f"a session ends after {clock(config.time_budget_s)} at the latest"]
    epochs = [] if config.epoch_budget is None else [f"the search ends after {config.epoch_budget:,} epochs in total"]
    return [*time, *epochs]
