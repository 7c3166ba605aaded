"""The first lines of a search: its images and what is done to them, the defaults that follow from them, the space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from search.config import RunConfig
from search.config.dataset_defaults import folder_defaults, shown_value
from search.layouts import LayoutSpace, count_feasible
from search.layouts.enumeration import count_in_window
from trainables.data.counts import counts_line
from trainables.data.datasets import DATASETS, DatasetInfo
from trainables.data.splits import TEST_FRACTION, VAL_FRACTION

FEW: Final = 100
"""Feasible layouts below which the lines say what would give more."""
MOST_WALKED: Final = 2**17
"""Layouts in the parameter window up to which all other windows are applied to count them."""


def opening_lines(config: RunConfig) -> list[str]:
    """The lines, one sentence or list each."""
    info = config.dataset_facts
    return [
        *folder_lines(config),
        _images(config, info),
        *_without_effect(config, info),
        *(_defaults(config, info) if info.is_folder else []),
        *space_lines(config.space),
    ]


def folder_lines(config: RunConfig) -> list[str]:
    """What an image folder holds, in one line; nothing for a known data set."""
    if config.dataset in DATASETS:
        return []
    return [counts_line(config.dataset_facts, None if config.all_data else config.validation_share)]


def _images(config: RunConfig, info: DatasetInfo) -> str:
    channels, height, width = info.image_shape
    colour = "grey" if channels == 1 else "RGB"
    size = f"{height}x{width} pixels, {colour}"
    prepared = (
        f"each is turned upright, cropped to its central square and resized to {size} (bilinear)"
        if info.is_folder
        else size
    )
    flips = any(config.recipe.values_of("flip"))
    crop, cutout, turn = (max(config.recipe.values_of(key)) for key in ("crop_padding", "cutout", "rotation_degrees"))
    first = max(config.recipe.values_of("first_image_size"))
    policies = [f"by the policy {name}" for name in config.recipe.values_of("policy") if name != "none"]
    done = [
        f"shifted by up to {crop} pixels" if crop else "",
        f"turned by up to {turn:g} degrees" if turn else "",
        "mirrored half of the time (--set recipe.flip=false turns it off)" if flips else "",
        f"without a square of {cutout} pixels (recipe.cutout)" if cutout else "",
        f"changed {' or '.join(policies)}" if policies else "",
        f"of {first} pixels at first (recipe.first_image_size)" if first else "",
    ]
    training = ", ".join(filter(None, done)) or "unchanged"
    mirrored = "" if flips else "; not mirrored (--set recipe.flip=true turns it on)"
    return f"images: {prepared}; in training {training}{mirrored}"


def _without_effect(config: RunConfig, info: DatasetInfo) -> Iterator[str]:
    if info.val_images and not config.all_data:
        given = [
            f"{key} {value:g}"
            for key, value, usual in (
                ("validation_share", config.validation_share, VAL_FRACTION),
                ("split_seed", config.split_seed, 0),
                ("validation_splits", config.validation_splits, 1),
            )
            if value != usual
        ]
        without = f", and {' and '.join(given)} has no effect on it" if given else ""
        yield f"validation: the {info.val_images:,} images of the folder's own val/{without}"
    if info.own_test and config.test_share != TEST_FRACTION:
        yield f"note: test_share {config.test_share:g} has no effect, for the data set has its own test set"


def _defaults(config: RunConfig, info: DatasetInfo) -> list[str]:
    space = config.space
    usual = folder_defaults(info) | folder_defaults(info, space.max_params)
    values = config.model_dump(mode="python")
    chosen = []
    for key, default in usual.items():
        table, _, name = key.rpartition(".")
        if space.layouts and table == "space" and name != "max_params":
            continue  # a list of layouts is not made of them
        if key == "validation_share" and config.all_data:
            continue
        found: Any = config.recipe.values_of(name) if table == "recipe" else (values[table] if table else values)[name]
        if found == ([default.value] if table == "recipe" else default.value):
            chosen.append(f"  {key} = {shown_value(default.value)}: {default.reason}")
    start = "defaults that follow from the images and the budget, each changed by --set or its flag:"
    return [start, *chosen] if chosen else []


def space_lines(space: LayoutSpace) -> Iterator[str]:
    """What the floor hides, and which keys of the space leave few layouts, with what a change of each would give."""
    if space.layouts:
        return
    if space.min_params:
        with_all = count_in_window(space.model_copy(update={"min_params": 0}))
        if smaller := with_all - count_in_window(space):
            yield (
                f"space.min_params {space.min_params:,} leaves out {smaller:,} of the {with_all:,} layouts within the "
                "budget, which are smaller; --min-params 0 includes them"
            )
    if (found := _count(space)) is None or not 0 < found < FEW:
        return
    gains = [(count, change) for change, wider in _wider(space) if (count := _count(wider)) and count > found]
    best = [f"{change}: {count:,}" for count, change in sorted(gains, key=lambda gain: -gain[0])[:3]]
    if best:
        yield f"few layouts are feasible: {found:,}; with {', with '.join(best)}"


def _count(space: LayoutSpace) -> int | None:
    """The number of feasible layouts; None where counting takes long."""
    if space.predicate is not None or (space.is_filtered and count_in_window(space) > MOST_WALKED):
        return None
    return count_feasible(space)


def _wider(space: LayoutSpace) -> Iterator[tuple[str, LayoutSpace]]:
    """Changes of one key each, with the space that they give."""

    def with_keys(**keys: Any) -> LayoutSpace:
        return space.model_copy(update=keys)

    if space.min_params:
        yield "--min-params 0", with_keys(min_params=0)
    yield f"--max-params {2 * space.max_params}", with_keys(max_params=2 * space.max_params)
    blocks = (space.blocks[0], space.blocks[1] + 2)
    yield f"space.blocks={shown_value(blocks).replace(' ', '')}", with_keys(blocks=blocks)
    if (half := space.channels[0] // 2) >= 2:
        narrower = (half, (half + space.channels[0]) // 2, *space.channels)
        yield f"space.channels={shown_value(narrower).replace(' ', '')}", with_keys(channels=narrower)
    if space.stages[0] > 2:
        stages = (space.stages[0] - 1, *space.stages)
        yield f"space.stages={shown_value(stages).replace(' ', '')}", with_keys(stages=stages)
    for window in space.filters:
        yield (
            f"no space.min_{window.name} or max_{window.name}",
            with_keys(**{f"min_{window.name}": 0, f"max_{window.name}": None}),
        )
