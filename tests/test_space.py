"""The space: enumeration and counts against brute force, in constant memory; what is refused; what empties it."""

import itertools
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from model_zoo import PRESETS, ResNetLayout, count_params
from search.config import read_toml
from search.enumeration import count_total, require_feasible
from search.errors import EmptySpaceError
from search.space import SearchSpace, count_feasible, enumerate_layouts
from tests.zoo_fixtures import brute_force, even, layouts, nothing, spaces, unbounded

untimed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

SMALL: dict[str, Any] = {"stages": [2], "blocks": [1, 3], "channels": [4, 8], "min_params": 0, "max_params": 10**6}


@untimed
@given(space=spaces())
def test_the_enumeration_is_the_brute_force_set_each_once_in_a_stable_order(space: SearchSpace) -> None:
    expected = set(brute_force(space))
    listed = list(enumerate_layouts(space))
    assert Counter(listed) == Counter(expected)
    assert listed == list(enumerate_layouts(space))
    assert count_feasible(space) == len(expected)


@untimed
@given(space=spaces())
def test_the_total_is_the_count_without_window_and_predicate(space: SearchSpace) -> None:
    anything = unbounded(space)
    assert count_total(space) == count_total(anything) == len(set(brute_force(anything))) == count_feasible(anything)


@untimed
@given(space=spaces(max_stages=3), other=layouts(max_blocks=4, max_channels=9))
def test_a_space_contains_what_it_enumerates_and_nothing_else(space: SearchSpace, other: ResNetLayout) -> None:
    feasible = set(brute_force(space))
    wider = unbounded(space).model_copy(update={"blocks": (1, space.blocks[1] + 1), "channel_order": "free"})
    for layout in itertools.islice(enumerate_layouts(wider), 300):
        assert space.contains(layout) == (layout in feasible)
    assert all(space.contains(layout) for layout in feasible)
    assert space.contains(other) == (other in feasible)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_expressible(name: str) -> None:
    preset = PRESETS[name]
    params = count_params(preset)
    space = SearchSpace.model_validate(
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


def test_counting_and_walking_a_vast_space_takes_constant_memory() -> None:
    # 16**6 blocks for each of 16 widths: the grid of one skeleton alone would be 128 MiB.
    space = SearchSpace.model_validate(
        {"stages": [6], "channels": [16, 32, 64], "min_params": 1_000_000, "max_params": 5_000_000}
    )
    tracemalloc.start()
    try:
        total, feasible = count_total(space), count_feasible(space)
        first = list(itertools.islice(enumerate_layouts(space), 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 28 * 16**6
    assert 10**8 < feasible < total
    assert len(set(first)) == 1000
    assert all(space.contains(layout) for layout in first)
    assert peak < 24 * 2**20


def test_the_default_space_has_the_documented_size() -> None:
    assert (count_total(SearchSpace()), count_feasible(SearchSpace())) == (66_772_992, 2_392_052)


def window(low: int, high: int, **others: Any) -> SearchSpace:
    return SearchSpace.model_validate(SMALL | {"min_params": low, "max_params": high} | others)


def test_the_bound_that_empties_a_space_is_named_with_the_nearest_counts() -> None:
    counts = sorted(count_params(layout) for layout in brute_force(window(0, 10**6)))
    below, above = next((a, b) for a, b in itertools.pairwise(counts) if b - a > 2)
    for space, message in (
        (window(0, counts[0] - 1), f"max_params: the smallest layout has {counts[0]:,} parameters, over the budget of"),
        (
            window(counts[-1] + 1, 10**6),
            f"min_params: the largest layout has {counts[-1]:,} parameters, under the floor",
        ),
        (window(below + 1, above - 1), f"the nearest have {below:,} and {above:,} parameters; widen the window"),
        (
            window(0, 10**6, predicate=nothing),
            f"predicate: it refuses all {len(counts):,} layouts inside the parameter",
        ),
    ):
        assert count_feasible(space) == 0
        with pytest.raises(EmptySpaceError, match=re.escape(message)):
            require_feasible(space)


@untimed
@given(space=spaces())
def test_only_an_empty_space_is_refused_and_its_message_has_the_true_neighbours(space: SearchSpace) -> None:
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
    if inside:
        assert message.startswith(f"predicate: it refuses all {inside:,} layouts")
    elif below is None:
        assert message.startswith(f"max_params: the smallest layout has {above:,} parameters")
    elif above is None:
        assert message.startswith(f"min_params: the largest layout has {below:,} parameters")
    else:
        assert f"the nearest have {below:,} and {above:,} parameters" in message


def test_all_problems_of_fields_are_listed_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        SearchSpace.model_validate(
            {
                "stages": [1, 7],
                "blocks": [0, 2],
                "channels": [],
                "channel_order": "up",
                "strides": [3],
                "kernels": [4],
                "stem_channels": [-1],
                "skip_kernels": [5],
                "classes": 1,
                "max_params": 0,
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
        "classes",
        "max_params",
        "predicate",
        "budget",
    ]


def test_all_problems_between_fields_are_listed_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        SearchSpace.model_validate(
            {"blocks": [3, 1], "channels": [8], "channel_order": "increasing", "min_params": 9, "max_params": 8}
        )
    message = str(caught.value)
    assert "blocks: 3 to 1 is empty; give [fewest, most]" in message
    assert "min_params 9 exceeds max_params 8; lower min_params or raise max_params" in message
    assert "channels: 1 widths cannot increase over 4 stages; add widths" in message


def test_a_space_too_large_to_index_is_refused_with_its_size() -> None:
    with pytest.raises(ValidationError, match=r"512,512 combinations exceed 262,144; give fewer choices"):
        SearchSpace.model_validate({"stages": [6], "kernels": [3, 5], "channels": list(range(8, 19))})
    with pytest.raises(
        ValidationError, match=r"blocks: 1 to 102 is too long a range for 6 stages; at most 101 choices"
    ):
        SearchSpace.model_validate({"stages": [6], "blocks": [1, 102]})
    SearchSpace.model_validate({"stages": [6], "blocks": [2, 102]})
    SearchSpace.model_validate({"stages": [2], "blocks": [1, 2**20]})


@untimed
@given(space=spaces())
def test_the_size_that_is_refused_is_an_upper_bound_of_the_skeletons(space: SearchSpace) -> None:
    skeletons = len(list(space.skeletons()))
    assert skeletons <= space._most_skeletons()
    if space.stem_channels == (0,):
        assert skeletons == space._most_skeletons()


def test_choices_are_sorted_and_without_repeats() -> None:
    space = SearchSpace.model_validate(SMALL | {"channels": [8, 4, 8], "kernels": [5, 3], "conv_biases": [True, False]})
    assert (space.channels, space.kernels, space.conv_biases) == ((4, 8), (3, 5), (False, True))


def test_a_space_is_loaded_from_a_file_with_its_predicate_by_import_path(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'stages = [2]\nblocks = [1, 3]\nchannels = [4, 8]\nmin_params = 0\npredicate = "tests.zoo_fixtures.even"\n'
    )
    space = SearchSpace.model_validate(read_toml(file))
    assert space.predicate is even
    assert set(enumerate_layouts(space)) == {layout for layout in brute_force(space) if sum(layout.blocks) % 2 == 0}
    assert SearchSpace.model_validate_json(space.model_dump_json()) == space
