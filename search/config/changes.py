"""What a resume may change in a run's configuration, and why everything else stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from search.config.composition import default_floor, validated
from search.config.run_config import RunConfig
from search.errors import ConfigError, ResumeError
from search.layouts import LayoutSpace
from trainables.data import dataset_info
from trainables.data.datasets import DATASETS
from trainables.errors import DatasetError
from trainables.recipe import Recipe
from trainables.schedule import rung_epochs

CHANGEABLE: Final = {
    "trials",
    "max_epochs",
    "space.max_params",
    "space.min_params",
    "concurrency",
    "cpus_per_trial",
    "gpus_per_trial",
    "compile",
    "time_budget_s",
    "epoch_budget",
    "confirm",
    "max_retries",
    "fail_fast",
    "reuse",
    "data_dir",
    "keep_checkpoints",
    "disk_quota",
}
"""Keys a resume may change: what is ranked after it is comparable."""

_OTHER_IMAGES: Final = "accuracies on different images cannot be ranked together"
_LADDER: Final = "it sets the rungs at which the run's trials were compared"
FIXED: Final = {
    "dataset": _OTHER_IMAGES,
    "image_size": _OTHER_IMAGES,
    "train_images": _OTHER_IMAGES,
    "split_seed": _OTHER_IMAGES,
    "validation_share": _OTHER_IMAGES,
    "test_share": _OTHER_IMAGES,
    "val_folder": _OTHER_IMAGES,
    "validation_splits": _OTHER_IMAGES,
    "all_data": _OTHER_IMAGES,
    "refit_of": "it says what the run was started for",
    "grace_epochs": _LADDER,
    "reduction_factor": _LADDER,
    "earlier_max_epochs": "it follows max_epochs",
    "sampler": "all proposals of a run come from one sampler",
    "seed": "the run's proposals and trainings depend on it",
    "replicates": "the run's layouts were trained with this many seeds",
    "warm_start": "what to try first was decided when the run started",
    "recipe": "layouts trained with other recipes cannot be ranked with those of the run",
    "space": "all proposals of a run come from the space it was started with",
}
"""For every other key, or the table that it is in, why it cannot change."""


@dataclass(frozen=True, slots=True)
class Change:
    """A run's configuration after a resume's changes."""

    config: RunConfig
    differences: dict[str, tuple[Any, Any]]
    """By key, as `space.max_params`: the value before and the value now; what is given again is no difference."""

    @property
    def sentence(self) -> str:
        """The differences in words; empty without any."""
        return ", ".join(
            f"{key} {_shown(key, old)} -> {_shown(key, new)}" for key, (old, new) in self.differences.items()
        )


def changed(before: RunConfig, given: Mapping[str, Any]) -> Change:
    """The configuration `before` with the keys `given` on a resume.

    A floor that is the default one of its budget follows a new budget. An image folder may be given anew, for it may
    have been moved; that it has the same images, the caller checks.

    Raises:
        ResumeError: keys are given another value that cannot change; the message names all of them with the reasons.
        ConfigError: a changed value is wrong.
    """
    stored = before.model_dump(mode="json")
    leaves = dict(_leaves(given))
    if not all(map(_exists, leaves)):
        validated(_merged(stored, leaves), complete=True)  # which names them and what was meant
    changeable = CHANGEABLE
    if before.dataset not in DATASETS and isinstance(moved := leaves.get("dataset"), str) and moved not in DATASETS:
        leaves["dataset"] = dataset_info(moved, before.image_size, val_folder=before.val_folder).name
        changeable = CHANGEABLE | {"dataset"}
    differing = {key: value for key, value in leaves.items() if _differs(stored, key, value)}
    refused = [
        f"{key} ({_shown(key, _at(stored, key))} -> {_shown(key, value)}): {_reason(key)}"
        for key, value in differing.items()
        if key not in changeable
    ]
    refused += _ladder_problems(before, differing.get("max_epochs"))
    if refused:
        keys = " | ".join(refused)
        raise ResumeError(
            f"a resume cannot change {keys}; start a new run, whose --warm-start can take this one's best"
        )
    if "space.max_params" in differing and "space.min_params" not in leaves:
        most, least = before.space.max_params, before.space.min_params
        budget = differing["space.max_params"]
        if least == default_floor(most) and isinstance(budget, int):
            differing["space.min_params"] = default_floor(budget)
        elif before.dataset not in DATASETS and most and isinstance(budget, int) and least in (most // 2, most // 4):
            differing["space.min_params"] = budget * least // most  # the other floors of `folder_defaults`
    if "max_epochs" in differing:
        differing["earlier_max_epochs"] = sorted({*before.earlier_max_epochs, before.max_epochs})
    config = validated(_merged(stored, differing), complete=True) if differing else before
    now = config.model_dump(mode="json")
    pairs = {key: (_at(stored, key), _at(now, key)) for key in differing if key in changeable}
    return Change(config, {key: (old, new) for key, (old, new) in pairs.items() if old != new})


def _leaves(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of `given`, those of its two tables as `space.key` and `recipe.key`, with their values."""
    for key, value in given.items():
        if key in ("space", "recipe") and isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            yield key, value


def _exists(key: str) -> bool:
    table, dot, inner = key.partition(".")
    if not dot:
        return table in RunConfig.model_fields and table not in ("space", "recipe")
    return inner in LayoutSpace.model_fields if table == "space" else inner in {*Recipe.model_fields, "families"}


def _reason(key: str) -> str:
    return FIXED.get(key) or FIXED[key.partition(".")[0]]


def _at(config: Mapping[str, Any], key: str) -> Any:
    table, dot, inner = key.partition(".")
    return config[table].get(inner) if dot else config[table]


def _merged(stored: Mapping[str, Any], leaves: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in stored.items()}
    for key, value in leaves.items():
        table, dot, inner = key.partition(".")
        if dot:
            merged[table][inner] = value
        else:
            merged[table] = value
    return merged


def _differs(stored: Mapping[str, Any], key: str, value: Any) -> bool:
    """Whether `value` means another value of `key` than the stored one; what is wrong by itself does."""
    if value == _at(stored, key):
        return False
    if key in CHANGEABLE:
        return True  # compared once all of them are read, for they may be possible together alone
    try:
        return bool(
            _at(validated(_merged(stored, {key: value}), complete=True).model_dump(mode="json"), key)
            != _at(stored, key)
        )
    except (ConfigError, DatasetError):
        return True


def _ladder_problems(before: RunConfig, epochs: Any) -> list[str]:
    """Why the run's trials could not be ranked after `epochs` epochs at most; nothing when they could, or for None."""
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or epochs == before.max_epochs:
        return []
    other = sorted({str(value) for value in before.recipe.values_of("schedule")} - {"rung-annealed"})
    start = f"max_epochs ({before.max_epochs} -> {epochs:g}): "
    if other:
        return [f"{start}under {', '.join(other)} the learning rate of every epoch depends on it"]
    longest = max((before.max_epochs, *before.earlier_max_epochs))
    ladder = rung_epochs(before.grace_epochs, before.reduction_factor, longest, before.earlier_max_epochs)
    if epochs in ladder or epochs > longest:
        return []
    rungs, more = ", ".join(map(str, ladder)), longest * before.reduction_factor
    remedy = f"use one of these, or more than {longest}, ideally {more}"
    return [f"{start}the run's trials are annealed at epochs {rungs}; {remedy}"]


def _shown(key: str, value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and key.endswith("_params") else str(value)
