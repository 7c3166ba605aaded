"""Random layouts and random small spaces for property tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import strategies as st

from model_zoo import ResNetLayout, count_params
from search.space import SearchSpace


@st.composite
def layouts(draw: st.DrawFn, max_blocks: int = 2, max_channels: int = 6) -> ResNetLayout:
    """Layouts that vary in every field, small enough to be built in milliseconds."""
    stages = draw(st.integers(2, 6))

    def per_stage(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(values) for _ in range(stages))

    return ResNetLayout(
        per_stage(st.integers(1, max_blocks)),
        per_stage(st.integers(1, max_channels)),
        draw(st.sampled_from([(), per_stage(st.integers(1, 2))])),
        draw(st.sampled_from([(), per_stage(st.sampled_from([3, 5]))])),
        draw(st.integers(0, max_channels)),
        draw(st.sampled_from([1, 3])),
        draw(st.booleans()),
        draw(st.integers(1, 4)),
        draw(st.integers(2, 12)),
    )


def even(layout: ResNetLayout) -> bool:
    """A predicate for half the layouts: an even number of blocks."""
    return sum(layout.blocks) % 2 == 0


def nothing(layout: ResNetLayout) -> bool:
    """The predicate that no layout fulfils."""
    return False


def unbounded(space: SearchSpace) -> SearchSpace:
    """`space` without parameter window and predicate."""
    return space.model_copy(update={"min_params": 0, "max_params": 2**62, "predicate": None})


def choices(values: list[int], most: int = 2) -> st.SearchStrategy[list[int]]:
    """One to `most` of `values`, in any order, repeats included."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most)


@st.composite
def spaces(draw: st.DrawFn, max_stages: int = 4) -> SearchSpace:
    """Spaces of at most a few thousand layouts that vary in every field; some have no feasible layout."""
    stages = draw(choices(list(range(2, max_stages + 1))))
    fewest = draw(st.integers(1, 3))
    channels = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True))
    orders = ["free", "nondecreasing"] + (["increasing"] if len(channels) >= max(stages) else [])
    wide = max(stages) <= 3
    space = SearchSpace.model_validate(
        {
            "stages": stages,
            "blocks": [fewest, fewest + draw(st.integers(0, 2 if wide else 1))],
            "channels": channels,
            "channel_order": draw(st.sampled_from(orders)),
            "strides": draw(choices([1, 2])) if wide else [draw(st.integers(1, 2))],
            "first_strides": draw(choices([1, 2])),
            "kernels": draw(choices([3, 5])) if wide else [draw(st.sampled_from([3, 5]))],
            "stem_channels": draw(choices([0, *channels, 9])),
            "skip_kernels": draw(choices([1, 3])) if len(stages) == 1 else [1],
            "conv_biases": draw(st.sampled_from([[False], [True], [True, False]])) if len(stages) == 1 else [False],
            "in_channels": draw(st.integers(1, 3)),
            "classes": draw(st.integers(2, 10)),
            "min_params": 0,
            "predicate": draw(st.sampled_from([None, even])),
        }
    )
    counts = sorted({count_params(layout) for layout in brute_force(space)} or {1})
    ends = sorted(draw(st.tuples(st.integers(0, len(counts) - 1), st.integers(0, len(counts) - 1))))
    fewest = counts[ends[0]] + draw(st.sampled_from([0, 0, 0, 1]))  # 1 over a count is often between two
    return space.model_copy(update={"min_params": fewest, "max_params": max(fewest, counts[ends[1]])})


def brute_force(space: SearchSpace) -> Iterator[ResNetLayout]:
    """Every feasible layout of `space`, perhaps twice, by building and judging each combination of choices."""
    steps = {"free": lambda a, b: True, "nondecreasing": lambda a, b: a <= b, "increasing": lambda a, b: a < b}
    in_order = steps[space.channel_order]
    for stages in space.stages:
        combinations = itertools.product(
            itertools.product(range(space.blocks[0], space.blocks[1] + 1), repeat=stages),
            itertools.product(space.channels, repeat=stages),
            itertools.product(space.first_strides, *[space.strides] * (stages - 1)),
            itertools.product(space.kernels, repeat=stages),
            space.stem_channels,
            space.skip_kernels,
            space.conv_biases,
        )
        for fields in combinations:
            if all(in_order(a, b) for a, b in itertools.pairwise(fields[1])):
                layout = ResNetLayout(*fields, in_channels=space.in_channels, classes=space.classes)
                inside = space.min_params <= count_params(layout) <= space.max_params
                if inside and (space.predicate is None or space.predicate(layout)):
                    yield layout
