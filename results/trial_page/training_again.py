"""The configuration that trains a trial again, alone, as TOML."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from results.record.events import RECIPE_FIELDS
from results.record.folders import OLDER_RUNS

OF_A_TRAINING: Final = (
    *("dataset", "data_dir", "image_size", "train_images", "split_seed"),
    *("validation_share", "test_share", "val_folder", "all_data"),
    *("max_epochs", "grace_epochs", "reduction_factor"),
    *("cpus_per_trial", "gpus_per_trial", "compile"),
)
"""Keys of a run that decide what a training computes: its data, its rungs, its arithmetic."""


def recipe_toml(trial: Mapping[str, Any]) -> str:
    """The recipe of `trial`, a row of the trials table, as a table of TOML, without the fields that it does not use."""
    return "[recipe]\n" + _assignments(_known(_recipe(trial)))


def configuration(
    layout_id: str, params: int, recipe: Mapping[str, Any], seed: int, config: Mapping[str, Any]
) -> dict[str, Any]:
    """The configuration of a search with one trial: a layout of `params` parameters, trained with `recipe` and `seed`.

    Its data and the length of its training are those of the run with the configuration `config`.
    """
    known = {**OLDER_RUNS, **config} if config else {}
    of_run = {name: known.get(name) for name in OF_A_TRAINING} | {"seed": seed, "trials": 1}
    if config:  # replicates take turns at the validation splits
        of_run["split_seed"] += (seed - config["seed"]) % config.get("validation_splits", 1)
    fields = {name: value for name, value in recipe.items() if name != "epochs"}
    return _known(of_run) | {"space": {"layouts": [layout_id], "max_params": params}, "recipe": _known(fields)}


def configuration_toml(trial: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The `configuration` of `trial`, a row of the trials table of a run with the configuration `config`, as TOML."""
    given = configuration(trial["layout_id"], trial["params"], _recipe(trial), trial["seed"], config)
    space, recipe = given.pop("space"), given.pop("recipe")
    return f"{_assignments(given)}\n[space]\n{_assignments(space)}\n[recipe]\n{_assignments(recipe)}"


def training_command(run: str, trial: int, storage: str) -> str:
    """The command line that trains `trial` of `run`, a name or path in `storage`, again."""
    file = f"trial-{trial}.toml"
    there = "" if storage == "runs" else f" --storage {shlex.quote(storage)}"
    show = f"python -m results.show {shlex.quote(run)} {trial}{there} --toml > {file}"
    return f"{show} && python -m search.run --config {file}"


def _recipe(trial: Mapping[str, Any]) -> dict[str, Any]:
    return {name: trial[f"recipe_{name}"] for name in RECIPE_FIELDS if name != "epochs"}


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _assignments(fields: Mapping[str, Any]) -> str:
    """One line per field; JSON's texts, numbers, lists and truth values are TOML's as well."""
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items())
