"""Spaces that are lists of layouts: the layouts that the entries name, and the choices that these layouts contain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, Final

from model_zoo import PRESETS, LayoutError, ResNetLayout
from model_zoo.blocks import ACTIVATIONS, KINDS

FORM_KEYS: Final[dict[str, str]] = {
    "skip_kernel": "skip_kernels",
    "conv_bias": "conv_biases",
    "block": "block_types",
    "groups": "groups",
    "squeeze": "squeeze_ratios",
    "activation": "activations",
    "expansion": "expansions",
    "skip_pool": "skip_pools",
    "stem_depth": "stem_depths",
    "stem_stride": "stem_strides",
}
"""For each field of a form, the key of a space that lists its choices."""


def read_layouts(given: Any) -> list[ResNetLayout]:
    """The layouts that a list of preset names and layout ids refers to.

    Raises:
        ValueError: it is no list, or entries are neither; the message lists all of them.
    """
    if not isinstance(given, list | tuple):
        raise ValueError(f"layouts: {given!r} given; use a list of preset names and layout ids")
    found, problems = [], []
    for entry in given:
        if not isinstance(entry, str):
            problems.append(f"{entry!r} given; use preset names or layout ids such as 3-5-3x64-128-256")
            continue
        try:
            found.append(PRESETS[entry] if entry in PRESETS else ResNetLayout.from_id(entry))
        except LayoutError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(f"layouts: {'; '.join(problems)}; presets: {', '.join(PRESETS)}")
    return found


@functools.lru_cache(maxsize=4)
def read_list(given: tuple[str, ...], in_channels: int, classes: int) -> dict[ResNetLayout, None]:
    """The distinct layouts of a list for images with `in_channels` channels and `classes` classes, cached."""
    found = [dataclasses.replace(layout, in_channels=in_channels, classes=classes) for layout in read_layouts(given)]
    return dict.fromkeys(found)


def hull(layouts: list[ResNetLayout]) -> dict[str, Any]:
    """The choices that occur in `layouts`; a sampler sees one dimension for each field that differs."""
    blocks = [b for layout in layouts for b in layout.blocks]
    return {
        "stages": sorted({layout.stages for layout in layouts}),
        "blocks": [min(blocks), max(blocks)],
        "channels": sorted({c for layout in layouts for c in layout.channels}),
        "channel_order": "free",
        "strides": sorted({s for layout in layouts for s in layout.strides[1:]}),
        "first_strides": sorted({layout.strides[0] for layout in layouts}),
        "kernels": sorted({k for layout in layouts for k in layout.kernels}),
        "stem_channels": sorted(
            {0 if layout.stem_channels == layout.channels[0] else layout.stem_channels for layout in layouts}
        ),
        **{key: in_order({getattr(layout, name) for layout in layouts}) for name, key in FORM_KEYS.items()},
    }


def in_order(values: Iterable[Any]) -> list[Any]:
    """The distinct values, kinds of blocks and activations in the order of their tables, others ascending."""
    named = [*KINDS, *ACTIVATIONS]
    return sorted(set(values), key=lambda value: named.index(value) if value in named else value)
