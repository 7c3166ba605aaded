"""What differs from the models' own defaults for each data set; a configuration file and flags come on top."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from search.layouts import LayoutSpace, count_feasible
from search.recipes.dimensions import shown
from trainables.data.datasets import DatasetInfo

SMALL_GREY: dict[str, Any] = {
    "max_epochs": 27,
    "grace_epochs": 3,
    "space": {
        "channels": [8, 12, 16, 24, 32, 48, 64, 96, 128],
        "blocks": [1, 8],
        "min_params": 200_000,
        "max_params": 250_000,
    },
    "recipe": {"crop_padding": 2, "flip": False, "cutout": 0},
}

DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    # Two cores, a minute and a half: 16x16 images, at most 40,000 parameters, three rungs.
    "digits": {
        "trials": 12,
        "confirm": 1,
        "max_epochs": 18,
        "grace_epochs": 2,
        "space": {
            "stages": [2, 3],
            "blocks": [1, 3],
            "channels": [8, 12, 16, 24, 32],
            "min_params": 20_000,
            "max_params": 40_000,
        },
        "recipe": {"batch_size": 64, "crop_padding": 2, "flip": False, "cutout": 0, "rotation_degrees": 10.0},
    },
    "mnist": SMALL_GREY,
    "fashion-mnist": SMALL_GREY | {"recipe": {"crop_padding": 2, "flip": True, "cutout": 8}},
    # A mirrored digit is another picture, so house numbers are not flipped.
    "svhn": {"recipe": {"flip": False}},
}


def dataset_defaults(dataset: str) -> dict[str, Any]:
    """The overrides for `dataset`; none for one that is not listed."""
    return DATASET_DEFAULTS.get(dataset, {})


class Default(NamedTuple):
    """A default that follows from the images of a folder and the budget, and why."""

    value: Any
    reason: str


WIDTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ENOUGH_LAYOUTS = 200
"""Layouts that the defaults of a folder try to leave; a search of a folder has 20 to 100 trials."""


def folder_defaults(
    info: DatasetInfo, max_params: int | None = None, min_params: int | None = None
) -> dict[str, Default]:
    """The defaults for an image folder by key, as in `space.channels`, for the budget and the floor that are given."""
    images, side = info.train_images, info.image_shape[1]
    found: dict[str, Default] = {}
    if max_params is None:
        budget = min(5_000_000, max(20_000, _two_digits(25 * images), 5 * (min_params or 0) // 4))
        found["space.max_params"] = Default(budget, "25 per training image, 20,000 to 5,000,000")
    else:
        budget = max_params
    share = 0.1
    if not info.val_images:
        share = 0.1 if images >= 5_000 else 0.15 if images >= 3_300 else 0.2 if images >= 2_500 else 0.25
        reason = f"about {share * images:,.0f} images; with fewer, chance ranks the trials"
        found["validation_share"] = Default(share, reason)
    training = images - (info.val_images or round(share * images))
    batch = min(128, max(32, 2 ** round(math.log2(max(1, training / 32)))))
    grace = min(12, max(3, round(2_000 / max(1, training))))
    found["recipe.batch_size"] = Default(batch, f"{max(1, training // batch):,} steps per epoch")
    rate = 0.1 if batch == 128 else round(0.1 * math.sqrt(batch / 128), 2)
    found["recipe.learning_rate"] = Default(rate, f"0.1 is for steps of 128 images; this is for {batch}")
    found["grace_epochs"] = Default(grace, f"few images need more epochs; about {grace * training // batch:,} steps")
    found["max_epochs"] = Default(9 * grace, "three rungs")
    trials = min(100, max(20, round(images / 500)))
    found["trials"] = Default(
        trials, "one per 500 training images, 20 to 100; the best of more would be chosen by chance"
    )
    found |= _space_defaults(info, budget, min_params)
    found["recipe.crop_padding"] = Default(min(4, side // 8), "an eighth of the side, at most 4")
    found["recipe.cutout"] = Default(
        min(8, side // 4) if side >= 24 else 0, "a quarter of the side, at most 8; 0 below 24"
    )
    reason = "mirrored letters, digits and signs mean something else; recipe.flip=true for photos"
    found["recipe.flip"] = Default(False, reason)
    return found


def _space_defaults(info: DatasetInfo, budget: int, min_params: int | None) -> dict[str, Default]:
    """The choices of layouts; where they give few, there are more numbers of stages, then more blocks, then widths."""
    side = info.image_shape[1]
    first_stride = 2 if side >= 48 else 1
    deepest = min(4, max(2, int(math.log2(max(8, side // first_stride) / 4)) + 1))
    channels, widest = _widths(budget, info.classes)
    most = min(8, max(3, budget // (18 * deepest * (2 * channels[0]) ** 2)))
    usual = tuple(range(max(2, deepest - 1), deepest + 1))
    every, finer = tuple(range(2, deepest + 1)), tuple(range(WIDTHS[0], widest + 1, 2))
    tries = [(usual, most, channels), *((every, most + more, channels) for more in (0, 2, 4)), (every, most + 4, finer)]
    if min_params is not None:
        floors = [min_params]
    else:
        floors = [*([budget * 4 // 5] if info.train_images >= 5_000 else []), budget // 2, budget // 4, 0]
    fixed: dict[str, Any] = {
        "classes": info.classes,
        "in_channels": info.image_shape[0],
        "max_params": max(1, budget, floors[0]),
    }
    space = LayoutSpace(stages=usual, channels=channels, blocks=(1, most), min_params=0, **fixed)
    for (stages, longest, widths), floor in itertools.product(tries, floors):
        choices = {"stages": stages, "blocks": (1, longest), "channels": widths, "min_params": floor}
        space = space.model_copy(update=choices)
        if count_feasible(space) >= ENOUGH_LAYOUTS:
            break
    smallest = side // first_stride // 2 ** (deepest - 1)
    found = {
        "space.stages": Default(space.stages, f"the last of {deepest} sees {smallest}x{smallest} pixels"),
        "space.first_strides": Default((first_stride,), "2 from 48 pixels, where full size is slow"),
        "space.channels": Default(space.channels, f"{widest} is the widest last stage that the budget has room for"),
        "space.blocks": Default(space.blocks, "deep enough for narrow layouts to use the budget"),
    }
    if min_params is None:
        floor = space.min_params
        reason = f"{_share(floor, budget)} of the budget" if floor else "the budget has room for few layouts"
        found["space.min_params"] = Default(floor, reason)
    return found


def nested_defaults(defaults: dict[str, Default]) -> dict[str, Any]:
    """The values of `folder_defaults` as the tables of a configuration."""
    tables: dict[str, Any] = {}
    for key, default in defaults.items():
        table, dot, name = key.rpartition(".")
        (tables.setdefault(table, {}) if dot else tables)[name] = default.value
    return tables


def _widths(budget: int, classes: int) -> tuple[tuple[int, ...], int]:
    """The widths for a budget, and the widest: 14 w^2 is a last stage of one block after one of half its width."""
    widest = next((w for w in reversed(WIDTHS) if 14 * w * w + classes * w <= budget * 4 // 5), WIDTHS[0])
    least = max(widest // 8, min(8, widest // 2))
    return tuple(w for w in WIDTHS if least <= w <= widest), widest


def _two_digits(number: int) -> int:
    """`number`, rounded down to two digits and zeros."""
    return number - number % int(10 ** max(0, len(str(number)) - 2))


def _share(part: int, whole: int) -> str:
    return {4: "four fifths", 2: "half", 1: "a quarter"}[5 * part // max(1, whole)]


def default_text(key: str, usual: Any) -> str:
    """The default `usual` of `key`, as in `space.channels`, and those of the data sets that differ; empty for none.

    `5,000,000; digits: 40,000; mnist, fashion-mnist: 250,000`.
    """
    *tables, name = key.split(".")
    differing: dict[str, list[str]] = {}
    for dataset, overrides in DATASET_DEFAULTS.items():
        for table in tables:
            overrides = overrides.get(table, {})
        if name in overrides and (value := shown_value(overrides[name])) != shown_value(usual):
            differing.setdefault(value, []).append(dataset)
    others = [f"{', '.join(datasets)}: {value}" for value, datasets in differing.items()]
    return "; ".join(filter(None, [shown_value(usual), *others]))


def shown_value(value: Any) -> str:
    """A value as people write it: `5,000,000`, `0.0005`, `true`, `[3, 4]`; nothing for None and an empty list."""
    if value is None or value == ():
        return ""
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else shown(value)
