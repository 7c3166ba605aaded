"""What a configuration would do: its space, its rungs and its cost, before anything is launched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from results import RunState
from search.config import RunConfig
from search.config.changes import Change
from search.layouts.report import make_report
from search.planning.cost import expected_epochs, training_cost
from search.planning.disk import forecast
from search.runs.warm_start import first_candidates
from search.text import clock


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
        **training_cost(config, storage, epochs, trials),
    }


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
        **training_cost(config, storage, epochs, left),
    }


def _budgets(config: RunConfig) -> list[str]:
    """What ends a session before its trials do."""
    time = [] if config.time_budget_s is None else [f"a session ends after {clock(config.time_budget_s)} at the latest"]
    epochs = [] if config.epoch_budget is None else [f"the search ends after {config.epoch_budget:,} epochs in all"]
    return [*time, *epochs]
