"""The space: what it contains and what it refuses; which bound empties it; files and presets."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from model_zoo import PRESETS, ResNetLayout, count_flops, count_params
from search.config import RunConfig
from search.config.composition import read_toml
from search.errors import ConfigError, EmptySpaceError
from search.layouts import LayoutSpace, count_feasible, enumerate_layouts, require_feasible
from search.layouts.chains import MAX_HALF, chains
from tests.support.examples import examples
from tests.support.zoo_fixtures import FIGURES, brute_force, even, fulfils, layouts, nothing, spaces, unbounded

SMALL: dict[str, Any] = {"stages": [2], "blocks": [1, 3], "channels": [4, 8], "min_params": 0, "max_params": 10**6}


@examples(60)
@given(space=spaces(max_stages=3), other=layouts(max_blocks=4, max_channels=9))
def test_a_space_contains_the_feasible_layouts_and_nothing_else(space: LayoutSpace, other: ResNetLayout) -> None:
    offered = set(brute_force(unbounded(space)))
    feasible = set(brute_force(space))
    wider = unbounded(space).model_copy(update={"blocks": (1, space.blocks[1] + 1), "channel_order": "free"})
    for layout in {other, *offered, *itertools.islice(enumerate_layouts(wider), 300)}:
        assert space.contains(layout) == (layout in feasible)
        assert space.offers(layout) == (layout in offered)
        if layout in offered:
            inside = space.min_params <= count_params(layout) <= space.max_params
            assert (inside and space.accepts(layout)) == fulfils(space, layout)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_expressible(name: str) -> None:
    preset = PRESETS[name]
    params = count_params(preset)
    space = LayoutSpace.model_validate(
        {
            "stages": [preset.stages],
            "blocks": [1, 16],
            "channels": list(preset.channels),
            "strides": [1, 2],
            "stem_channels": [0, 64],
            "skip_kernels": [1, 3],
            "conv_biases": [preset.conv_bias],
            "min_params": params - 50,
            "max_params": params,
        }
    )
    assert space.contains(preset)
    assert preset in enumerate_layouts(space)
    assert not space.model_copy(update={"max_params": params - 1}).contains(preset)


def window(low: int, high: int, **others: Any) -> LayoutSpace:
    return LayoutSpace.model_validate(SMALL | {"min_params": low, "max_params": high} | others)


def test_the_bound_that_empties_a_space_is_named_with_the_nearest_counts() -> None:
    counts = sorted(count_params(layout) for layout in brute_force(window(0, 10**6)))
    rejected = f"all {len(counts):,} layouts within the parameter limits are rejected"
    depths = [layout.depth for layout in brute_force(window(0, 10**6))]
    flops = [count_flops(layout, (32, 32)) for layout in brute_force(window(0, 10**6))]
    below, above = next((a, b) for a, b in itertools.pairwise(counts) if b - a > 2)
    for space, message in (
        (window(0, counts[0] - 1), f"max_params: the smallest layout has {counts[0]:,} parameters, above the budget"),
        (
            window(counts[-1] + 1, 10**6),
            f"min_params: the largest layout has {counts[-1]:,} parameters, below the floor",
        ),
        (window(below + 1, above - 1), f"the nearest have {below:,} and {above:,}; widen the limits"),
        (
            window(0, 10**6, predicate=nothing),
            f"predicate: {rejected}; loosen it",
        ),
        (
            window(0, 10**6, min_depth=1000),
            f"min_depth: {rejected}; min_depth = 1,000 rejects all; lower it to {max(depths)} or less",
        ),
        (
            window(0, 10**6, max_flops=1, predicate=even),
            f"max_flops, predicate: {rejected}; max_flops = 1 rejects all; raise it to {min(flops):,} or more",
        ),
    ):
        assert count_feasible(space) == 0
        with pytest.raises(EmptySpaceError, match=re.escape(message)):
            require_feasible(space)


@examples(60)
@given(space=spaces())
def test_only_an_empty_space_is_refused_and_its_message_has_the_true_neighbours(space: LayoutSpace) -> None:
    if next(brute_force(space), None) is not None:
        require_feasible(space)
        return
    with pytest.raises(EmptySpaceError) as caught:
        require_feasible(space)
    message = str(caught.value)
    counts = [count_params(layout) for layout in set(brute_force(unbounded(space)))]
    below = max((n for n in counts if n < space.min_params), default=None)
    above = min((n for n in counts if n > space.max_params), default=None)
    inside = sum(space.min_params <= n <= space.max_params for n in counts)
    if not counts:
        assert message.startswith("block_types, groups, squeeze_ratios, expansions, stem_depths: ")
    elif inside:
        assert f": all {inside:,} layouts within the parameter limits are rejected" in message
    elif below is None:
        assert message.startswith(f"max_params: the smallest layout has {above:,} parameters")
    elif above is None:
        assert message.startswith(f"min_params: the largest layout has {below:,} parameters")
    else:
        assert f"parameters; the nearest have {below:,} and {above:,}; " in message


def test_all_problems_of_fields_are_listed_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        LayoutSpace.model_validate(
            {
                "stages": [1, 7],
                "blocks": [0, 2],
                "channels": [],
                "channel_order": "up",
                "strides": [3],
                "kernels": [4],
                "stem_channels": [-1],
                "skip_kernels": [5],
                "block_types": ["wide"],
                "groups": [0],
                "squeeze_ratios": [-1],
                "activations": ["tanh"],
                "classes": 1,
                "image_size": [0, 32],
                "max_params": 0,
                "min_depth": -1,
                "max_flops": -1,
                "predicate": "os.no_such_function",
                "budget": 1,
            }
        )
    assert [".".join(map(str, item["loc"])) for item in caught.value.errors()] == [
        "stages.0",
        "stages.1",
        "blocks.0",
        "channels",
        "channel_order",
        "strides.0",
        "kernels.0",
        "stem_channels.0",
        "skip_kernels.0",
        "block_types.0",
        "groups.0",
        "squeeze_ratios.0",
        "activations.0",
        "classes",
        "image_size.0",
        "max_params",
        "min_depth",
        "max_flops",
        "predicate",
        "budget",
    ]


def test_all_problems_between_fields_are_listed_at_once() -> None:
    crossed = {f"min_{figure}": 9 for figure in FIGURES} | {f"max_{figure}": 8 for figure in FIGURES}
    with pytest.raises(ValidationError) as caught:
        LayoutSpace.model_validate({"blocks": [3, 1], "channels": [8], "channel_order": "increasing", **crossed})
    message = str(caught.value)
    assert "blocks: the range 3 to 1 is empty; give [fewest, most]" in message
    for figure in FIGURES:
        assert f"min_{figure} 9 exceeds max_{figure} 8; lower min_{figure} or raise max_{figure}" in message
    assert "channels: 1 widths cannot increase over 4 stages; add widths" in message


@pytest.mark.parametrize(
    ("stages", "blocks", "widths", "halves"),
    # A back is counted for every width it may start behind.
    [(2, 2**40, 11, 11 * (11 * 2**40)), (4, 400, 8, 8 * (8 * 400) ** 2), (6, 20, 10, 10 * (10 * 20) ** 3)],
)
def test_a_space_too_large_to_count_is_refused_with_its_size(
    stages: int, blocks: int, widths: int, halves: int
) -> None:
    table = {"stages": [stages], "blocks": [1, blocks], "channels": list(range(8, 8 + widths)), "channel_order": "free"}
    message = f"{halves:,} combinations for half the stages exceed {MAX_HALF:,}; give fewer choices or fewer stages"
    space = LayoutSpace.model_validate(table)
    with pytest.raises(ValidationError, match=re.escape(f"space.blocks, channels, strides, kernels: {message}")):
        RunConfig(space=space)
    for count in (count_feasible, lambda space: next(enumerate_layouts(space))):
        with pytest.raises(ConfigError, match=re.escape(message)):
            count(space)


@examples(40)
@given(space=spaces().filter(lambda space: not space.layouts))
def test_the_halves_are_as_many_as_brute_force_finds(space: LayoutSpace) -> None:
    everything = list(set(brute_force(unbounded(space))))
    for chain in chains(space):
        mine = [layout for layout in everything if (layout.stages, layout.form) == (chain.stages, chain.form)]
        cells = {
            (
                layout.stem_channels,
                tuple(zip(layout.blocks, layout.channels, layout.strides, layout.kernels, strict=True)),
            )
            for layout in mine
        }
        fronts = {(stem, stages[: chain.cut]) for stem, stages in cells}
        backs = {(stages[chain.cut - 1][1], stages[chain.cut :]) for _, stages in cells}
        front_size, back_size = chain.half_sizes(chain.cut)
        # Sizes are those before the ends are matched, and count a stem once for each place in the list.
        assert len(fronts) <= front_size
        assert len(backs) <= back_size
        if space.stem_channels == (0,) and space.channel_order != "increasing":
            assert (len(fronts), len(backs)) == (front_size, back_size)


def test_a_budget_too_large_to_be_coded_is_refused() -> None:
    table = {"stages": [6], "channels": [2**16 - i for i in range(10)], "min_params": 0, "max_params": 2**62}
    message = r"space\.max_params: 4,611,686,018,427,387,904 is too large for this many choices"
    space = LayoutSpace.model_validate(table)
    with pytest.raises(ValidationError, match=message):
        RunConfig(space=space)
    with pytest.raises(ConfigError, match=message):
        count_feasible(space)


def test_choices_are_sorted_and_without_repeats() -> None:
    space = LayoutSpace.model_validate(SMALL | {"channels": [8, 4, 8], "kernels": [5, 3], "conv_biases": [True, False]})
    assert (space.channels, space.kernels, space.conv_biases) == ((4, 8), (3, 5), (False, True))


def test_a_space_is_loaded_from_a_file_with_its_predicate_by_import_path(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        "stages = [2]\nblocks = [1, 3]\nchannels = [4, 8]\nmin_params = 0\n"
        'predicate = "tests.support.zoo_fixtures.even"\n'
    )
    space = LayoutSpace.model_validate(read_toml(file))
    assert space.predicate is even
    assert set(enumerate_layouts(space)) == {layout for layout in brute_force(space) if sum(layout.blocks) % 2 == 0}
    assert LayoutSpace.model_validate_json(space.model_dump_json()) == space


@examples(30)
@given(space=spaces())
def test_json_keeps_a_space(space: LayoutSpace) -> None:
    assert LayoutSpace.model_validate_json(space.model_dump_json()) == space
    assert LayoutSpace.model_validate(space.model_dump(mode="json")) == space
