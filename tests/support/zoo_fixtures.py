"""Random layouts and random small spaces for property tests, and what is feasible in them by brute force."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hypothesis import strategies as st

from model_zoo import PRESETS, LayoutError, ResNetLayout, count_flops, count_params
from model_zoo.blocks import ACTIVATIONS, DEFAULT_KIND, KINDS, PLAIN, Form, canonical
from model_zoo.memory import count_activation_bytes
from model_zoo.widths import allows, allows_stem
from search.layouts import LayoutSpace
from search.layouts.lists import FORM_KEYS

T = TypeVar("T")

MOST_COMBINATIONS = 800
"""Layouts of a random space before its windows, at most; brute force builds each."""

FIGURES: dict[str, Callable[[ResNetLayout, tuple[int, int]], int]] = {
    "params": lambda layout, size: count_params(layout),
    "depth": lambda layout, size: layout.depth,
    "flops": count_flops,
    "activation_bytes": count_activation_bytes,
}
"""What a window bounds, for one layout and image size."""


def read_by(block: str, **fields: Any) -> dict[str, Any]:
    """The kind of block and those of the fields of a layout that it reads."""
    return {"block": block} | {name: value for name, value in fields.items() if name not in KINDS[block].unread}


@st.composite
def layouts(draw: st.DrawFn, max_blocks: int = 2, max_channels: int = 6) -> ResNetLayout:
    """Layouts that vary in every field, small enough to be built in milliseconds."""
    stages = draw(st.integers(2, 6))
    block = draw(st.sampled_from([DEFAULT_KIND, *KINDS]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    form = canonical(
        Form(
            draw(st.sampled_from([1, 3])),
            draw(st.booleans()),
            block,
            groups,
            expansion=draw(st.sampled_from([0, 1, 2, 3])),
            skip_pool=draw(st.booleans()),
            stem_depth=draw(st.sampled_from([1, 1, 2, 3])),
            stem_stride=draw(st.sampled_from([1, 1, 2])),
        )
    )
    groups = form.groups
    least = next(width for width in itertools.count(1) if allows(form, width))
    most = max(max_channels, least * max(1, max_channels // groups))
    widths = [width for width in range(1, most + 1) if allows(form, width)]
    stems = [width for width in range(1, max(max_channels, 2, groups) + 1) if allows_stem(form, width)]

    def per_stage(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(values) for _ in range(stages))

    channels = per_stage(st.sampled_from(widths))
    return ResNetLayout(
        per_stage(st.integers(1, max_blocks)),
        channels,
        draw(st.sampled_from([(), per_stage(st.integers(1, 2))])),
        draw(st.sampled_from([(), per_stage(st.sampled_from([3, 5, 7]))])),
        draw(st.sampled_from([0, *stems] if allows_stem(form, channels[0]) else stems)),
        in_channels=draw(st.integers(1, 4)),
        classes=draw(st.integers(2, 12)),
        **form._replace(
            squeeze=draw(st.sampled_from([0, draw(st.integers(1, min(channels)))])),
            activation=draw(st.sampled_from(ACTIVATIONS)),
        )._asdict(),
    )


def even(layout: ResNetLayout) -> bool:
    """A predicate for half the layouts: an even number of blocks."""
    return sum(layout.blocks) % 2 == 0


def nothing(layout: ResNetLayout) -> bool:
    """The predicate that no layout fulfils."""
    return False


def unbounded(space: LayoutSpace) -> LayoutSpace:
    """`space` without its windows and predicate."""
    open_ = {f"min_{name}": 0 for name in FIGURES} | {f"max_{name}": None for name in FIGURES}
    return space.model_copy(update=open_ | {"max_params": 2**62, "predicate": None})


def choices(values: list[T], most: int = 2) -> st.SearchStrategy[list[T]]:
    """One to `most` of `values`, in any order, repeats included."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most)


@st.composite
def tables_of_choices(draw: st.DrawFn, max_stages: int) -> dict[str, Any]:
    """Tables of spaces that vary in every choice, with at most `MOST_COMBINATIONS` layouts."""
    stages = sorted(draw(st.sets(st.integers(2, max_stages), min_size=1, max_size=2)))
    fewest = draw(st.integers(1, 3))
    width = st.sampled_from([*range(1, 9), 8, 12, 16])  # a bottleneck needs 4, and 8 for two groups
    channels = draw(st.lists(width, min_size=1, max_size=3, unique=True))
    orders = ["free", "nondecreasing"] + (["increasing"] if len(channels) >= max(stages) else [])
    table: dict[str, Any] = {
        "stages": stages,
        "blocks": [fewest, fewest + draw(st.integers(0, 2))],
        "channels": channels,
        "channel_order": draw(st.sampled_from(orders)),
        "strides": draw(choices([1, 2])),
        "first_strides": draw(choices([1, 2])),
        "kernels": draw(choices([3, 5, 7])),
        "stem_channels": draw(choices([0, *channels, draw(st.integers(1, 9))])),
        "skip_kernels": draw(choices([1, 3])),
        "conv_biases": draw(st.sampled_from([[False], [True], [True, False]])),
        "block_types": draw(choices(list(KINDS))),
        "groups": draw(choices([1, 1, 2, 3, 4])),
        "squeeze_ratios": draw(choices([0, 0, 2, 5])),
        "activations": draw(choices(list(ACTIVATIONS))),
        "expansions": draw(choices([0, 2, 4])),
        "skip_pools": draw(choices([False, True])),
        "stem_depths": draw(choices([1, 2, 3])),
        "stem_strides": draw(choices([1, 2])),
    }
    plain = draw(st.sampled_from([[], ["stem_depths", "stem_strides", "skip_pools"], list(FORM_KEYS.values())]))
    table |= {key: [getattr(PLAIN, name)] for name, key in FORM_KEYS.items() if key in plain}
    shortened = iter(draw(st.permutations(sorted(set(table) - {"stages", "channels", "channel_order"}))))
    while _combinations(table) > MOST_COMBINATIONS:
        name = next(shortened, None)
        if name is None:
            table["stages"] = stages[:1]
            break
        table[name] = [fewest, fewest] if name == "blocks" else table[name][:1]
    return table


def _combinations(table: dict[str, Any]) -> int:
    """Combinations of a table's choices, those out of order included."""
    count = {name: len(set(values)) for name, values in table.items() if isinstance(values, list)}
    count["blocks"] = table["blocks"][1] - table["blocks"][0] + 1
    shared = math.prod(count[name] for name in ("first_strides", "stem_channels", *FORM_KEYS.values()))
    a_stage = count["blocks"] * count["channels"] * count["kernels"]
    return sum(shared * a_stage**stages * count["strides"] ** (stages - 1) for stages in table["stages"])


@st.composite
def tables_of_layouts(draw: st.DrawFn) -> dict[str, Any]:
    """Tables of spaces that are lists of layouts, by preset and by id, some of them twice."""
    listed = [layout.layout_id for layout in draw(st.lists(layouts(), min_size=1, max_size=12))]
    return {"layouts": listed + draw(st.lists(st.sampled_from([*PRESETS, *listed]), max_size=3))}


@st.composite
def spaces(draw: st.DrawFn, max_stages: int = 4) -> LayoutSpace:
    """Spaces of at most a few thousand layouts that vary in every field; some have no feasible layout."""
    facts = {
        "in_channels": draw(st.integers(1, 3)),
        "classes": draw(st.integers(2, 10)),
        "image_size": draw(st.sampled_from([(8, 8), (5, 7), (32, 32)])),
        "min_params": 0,
        "max_params": 2**40,
    }
    table = draw(st.one_of(*[tables_of_choices(max_stages)] * 4, tables_of_layouts()))
    space = LayoutSpace.model_validate(table | facts)
    inside = list(brute_force(space))
    if not inside:
        return space
    windows: dict[str, Any] = {"predicate": draw(st.sampled_from([None, even]))}
    for name, figure in FIGURES.items():
        if name != "params" and draw(st.integers(0, 3)):
            continue
        values = sorted({figure(layout, space.image_size) for layout in inside})
        ends = sorted(draw(st.tuples(*[st.integers(0, len(values) - 1)] * 2)))
        least = values[ends[0]] + draw(st.sampled_from([0, 0, 0, 1]))  # 1 over a value is often between two
        most = max(least, values[ends[1]])
        windows |= {f"min_{name}": least, f"max_{name}": most}
        if name != "params":
            windows |= draw(st.sampled_from([{}, {f"min_{name}": 0}, {f"max_{name}": None}]))
    return space.model_copy(update=windows)


def fulfils(space: LayoutSpace, layout: ResNetLayout) -> bool:
    """Whether the windows and the predicate of `space` accept `layout`."""
    for name, figure in FIGURES.items():
        value, most = figure(layout, space.image_size), getattr(space, f"max_{name}")
        if value < getattr(space, f"min_{name}") or (most is not None and value > most):
            return False
    return space.predicate is None or space.predicate(layout)


def brute_force(space: LayoutSpace) -> Iterator[ResNetLayout]:
    """Every feasible layout of `space`, perhaps twice, by building and judging each combination of choices."""
    offered = _of_list(space) if space.layouts else _of_choices(space)
    return (layout for layout in offered if fulfils(space, layout))


def _of_list(space: LayoutSpace) -> Iterator[ResNetLayout]:
    for entry in space.layouts:
        layout = PRESETS.get(entry) or ResNetLayout.from_id(entry)
        yield dataclasses.replace(layout, in_channels=space.in_channels, classes=space.classes)


def _of_choices(space: LayoutSpace) -> Iterator[ResNetLayout]:
    for fields in combinations(space):
        try:
            form = canonical(Form(*fields[5:]))
            yield ResNetLayout(*fields[:5], in_channels=space.in_channels, classes=space.classes, **form._asdict())
        except LayoutError:  # the blocks do not fit the widths
            continue


def combinations(space: LayoutSpace) -> Iterator[tuple[Any, ...]]:
    """The fields of every combination of choices whose widths are in order, without those of the images."""
    steps = {"free": lambda a, b: True, "nondecreasing": lambda a, b: a <= b, "increasing": lambda a, b: a < b}
    in_order = steps[space.channel_order]
    for stages in space.stages:
        everything = itertools.product(
            itertools.product(range(space.blocks[0], space.blocks[1] + 1), repeat=stages),
            itertools.product(space.channels, repeat=stages),
            itertools.product(space.first_strides, *[space.strides] * (stages - 1)),
            itertools.product(space.kernels, repeat=stages),
            space.stem_channels,
            *(getattr(space, key) for key in FORM_KEYS.values()),
        )
        yield from (f for f in everything if all(in_order(a, b) for a, b in itertools.pairwise(f[1])))
