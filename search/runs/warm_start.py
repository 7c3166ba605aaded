"""Warm start: the candidates to try first, from presets and from the best trials of earlier runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_zoo import PRESETS, LayoutError, ResNetLayout, count_params
from results import TrialState, read_record
from results.record.folders import RUN_FILE
from results.record.record import RECORD_NAME
from results.wording import counted
from search.config import RunConfig
from search.errors import ConfigError
from search.recipes.table import OF_THE_RUN
from search.runs.folder import ranks_means
from search.runs.ranking import ranked
from search.sampling import JointSpace
from search.sampling.joint_space import Candidate
from trainables.recipe import Recipe

BEST = 3
"""Trials taken from a run if no number is given."""


def first_candidates(config: RunConfig, storage: Path) -> tuple[list[Candidate], list[str]]:
    """The candidates that `config.warm_start` names, each once, and a sentence for each one that is left out.

    A preset gets the default recipe of the space. A trial of a run keeps its own recipe, or gets the default one if its
    own is not in the space.

    Raises:
        ConfigError: a name is neither a preset nor a run, the N of RUN:N is not a number from 1, or this version can
            read no trial of a run.
    """
    candidates = JointSpace(config.space, config.recipe)
    found: dict[Candidate, None] = {}
    left_out = []
    for name in config.warm_start:
        for label, fields, recipe_fields in _named(name, storage):
            try:
                given = ResNetLayout.from_dict(fields)
            except LayoutError as error:
                left_out.append(f"warm start: {label} left out, this version has no such layout ({error})")
                continue
            layout = dataclasses.replace(given, in_channels=config.space.in_channels, classes=config.space.classes)
            if reason := _why_not(config, layout):
                left_out.append(f"warm start: {label} left out, {reason}")
                continue
            recipe = candidates.recipes.decode({})
            if recipe_fields is not None:
                own, why = _own(candidates, recipe_fields | {"keep_weights": recipe.keep_weights}, config.max_epochs)
                if own is None:
                    left_out.append(f"warm start: {label} gets the default recipe; its own cannot be used: {why}")
                recipe = own or recipe
            found[Candidate(layout, recipe)] = None
    return list(found), left_out


def candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON-compatible values; `candidate_from_dict` inverts it."""
    layout, recipe = candidate
    return {"layout": layout.to_dict(), "recipe": recipe.model_dump(mode="json")}


def candidate_from_dict(values: dict[str, Any]) -> Candidate:
    """The candidate whose `candidate_to_dict` is `values`."""
    return Candidate(
        ResNetLayout.from_dict(values["layout"]),
        # Earlier versions also listed the epochs and the seed with the recipe.
        Recipe(**{name: value for name, value in values["recipe"].items() if name not in OF_THE_RUN}),
    )


def stored_candidates(config: RunConfig, stored: Sequence[dict[str, Any]]) -> list[Candidate]:
    """The candidates in `stored`, which a run keeps in its folder, that are feasible under `config`."""
    candidates = map(candidate_from_dict, stored)
    return [candidate for candidate in candidates if _why_not(config, candidate.layout) is None]


def _named(name: str, storage: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """Label, layout's fields and, for a trial, recipe of everything that `name` refers to."""
    if name in PRESETS:
        yield name, PRESETS[name].to_dict(), None
        return
    run, _, number = name.rpartition(":")
    most = int(number) if run and number.isdecimal() else BEST
    run = run if run and number.isdecimal() else name
    if most < 1:
        raise ConfigError(f"warm_start: {name!r} takes no trial; use at least {run}:1")
    folder = next((path for path in (storage / run, Path(run)) if (path / RECORD_NAME).is_file()), None)
    earlier, colon, wrong = name.rpartition(":")
    if folder is None and colon and not wrong.isdecimal() and "/" not in wrong:
        raise ConfigError(
            f"warm_start: {name!r} given; the N of RUN:N is a whole number of trials from 1, not {wrong!r}; "
            f"write {earlier}:{BEST}, or {earlier} alone"
        )
    if folder is None:
        raise ConfigError(
            f"warm_start: {name!r} is neither a preset ({', '.join(PRESETS)}) nor a run in {storage}; check the name"
        )
    best: dict[tuple[str, str], TrialState] = {}
    by_mean = (folder / RUN_FILE).is_file() and ranks_means(folder)
    state = read_record(folder)
    if state.skipped and not state.trials:
        raise ConfigError(
            f"warm_start: {name!r} has no trial that this version can read ({counted(len(state.skipped), 'line')} left "
            f"out, the first: {state.skipped[0]}); name another run"
        )
    for trial in ranked(state, by_mean):
        best.setdefault((trial.layout_id, repr(trial.settings)), trial)  # the best replicate represents the others
    for trial in list(best.values())[:most]:
        yield f"{folder.name} trial {trial.trial}", trial.layout, trial.settings


def _own(candidates: JointSpace, fields: dict[str, Any], epochs: int) -> tuple[Recipe | None, str | None]:
    """The recipe with `fields`, or None and the reason why a trial of `epochs` epochs cannot have it."""
    try:
        recipe = Recipe(**fields).canonical()
    except ValidationError as error:  # written by a version that allowed it
        return None, error.errors()[0]["msg"].removeprefix("Value error, ")
    problems = [*recipe.problems_over(epochs), *recipe.problems_on(candidates.space.image_size)]
    why = next(iter(problems), None) or candidates.recipes.why_not(recipe)
    return (None, why) if why else (recipe, None)


def _why_not(config: RunConfig, layout: ResNetLayout) -> str | None:
    """Why `layout` is not feasible; None when it is."""
    space, params = config.space, count_params(layout)
    if not space.min_params <= params <= space.max_params:
        return f"{params:,} parameters are outside {space.min_params:,} to {space.max_params:,}"
    if changes := list(space.changes_to_offer(layout)):
        return f"the space does not offer {layout.layout_id}; to try it, {' and '.join(changes)}"
    if not space.accepts(layout):
        return f"a limit or the predicate of the space rejects {layout.layout_id}"
    return None
