"""The configuration that trains a trial again, alone, as TOML."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from results.record.events import RECIPE_FIELDS

_OF_RUN: Final = (
    *("dataset", "data_dir", "image_size", "train_images", "split_seed"),
    *("max_epochs", "grace_epochs", "reduction_factor"),
    *("cpus_per_trial", "gpus_per_trial", "compile"),
)
"""Keys of a run that decide what a training computes: its data, its rungs, its arithmetic."""


def recipe_toml(trial: Mapping[str, Any]) -> str:
    """The recipe of `trial`, a row of the trials table, as a table of TOML, without the fields that it does not use."""
    fields = {name: trial[f"recipe_{name}"] for name in RECIPE_FIELDS if name != "epochs"}
    return "[recipe]\n" + _assignments(fields)


def configuration_toml(trial: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The configuration of a search whose one trial is `trial`, of a run with the configuration `config`."""
    of_run = {name: config.get(name) for name in _OF_RUN} | {"seed": trial["seed"], "trials": 1}
    space = {"layouts": [trial["layout_id"]], "max_params": trial["params"]}
    return f"{_assignments(of_run)}\n[space]\n{_assignments(space)}\n{recipe_toml(trial)}"


def training_command(run: str, trial: int, storage: str) -> str:
    """The command line that trains `trial` of `run`, a name or path in `storage`, again."""
    file = f"trial-{trial}.toml"
    there = "" if storage == "runs" else f" --storage {shlex.quote(storage)}"
    show = f"python -m results.show {shlex.quote(run)} {trial}{there} --toml > {file}"
    return f"{show} && python -m search.run --config {file}"


def _assignments(fields: Mapping[str, Any]) -> str:
    """One line per field that is not None; JSON's texts, numbers, lists and truth values are TOML's as well."""
    given = {name: value for name, value in fields.items() if value is not None}
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in given.items())
