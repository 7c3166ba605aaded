"""Kinds of blocks, groups, squeezes and activations as choices of a space, and a space without them as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo import LayoutError, ResNetLayout
from search.errors import EmptySpaceError
from search.layouts import LayoutSpace, count_feasible, sample_uniform
from search.layouts.chains import chains
from search.layouts.dimensions import decode_layout, encode_layout, layout_bounds
from search.layouts.enumeration import count_combinations, count_total
from search.layouts.index import index_of_space
from search.layouts.report import make_report
from search.sampling.neighbours import Neighbours
from tests.support.zoo_fixtures import brute_force

SMALL: dict[str, Any] = {"stages": [2], "blocks": [1, 2], "channels": [4, 8, 12], "min_params": 0}
EVERYTHING: dict[str, Any] = {
    "block_types": ["bottleneck", "preactivation", "basic"],
    "groups": [4, 1, 2],
    "squeeze_ratios": [16, 0, 4],
    "activations": ["leaky-relu", "gelu", "relu", "silu"],
}
OLD: dict[str, Any] = {
    "stages": [2, 3],
    "blocks": [1, 2],
    "channels": [4, 8, 12],
    "kernels": [3, 5],
    "stem_channels": [0, 4, 6],
    "skip_kernels": [1, 3],
    "conv_biases": [False, True],
    "min_params": 3_000,
    "max_params": 9_000,
}


def test_a_space_without_the_choices_keeps_its_numbers_and_its_dimensions() -> None:
    default, old = LayoutSpace(), LayoutSpace.model_validate(OLD)
    numbered = {0: "1-1-14x16-16-128", 1_000_000: "13-10-1-15x32-32-32-128", 2_392_051: "10-1-1-1x96-256-256-256"}
    assert {number: index_of_space(default).at(np.array([number]))[0].layout_id for number in numbered} == numbered
    assert list(layout_bounds(default)) == [f"{name}_{i}" for i in range(1, 5) for name in ("blocks", "width")]
    assert count_feasible(old) == 2_491
    ends = {0: "1-2x4-12", 830: "2-2-1x4-4-8+kernel5-5-3+stem6", 2_490: "1-1-1x8-8-12+kernel5-3-3+skip3+bias1"}
    assert {number: index_of_space(old).at(np.array([number]))[0].layout_id for number in ends} == ends
    per_stage = [f"{name}_{i}" for i in range(1, 4) for name in ("blocks", "width", "kernel")]
    assert list(layout_bounds(old)) == [*per_stage, "stem", "skip", "bias"]


def test_the_choices_are_ordinal_dimensions_in_their_own_order() -> None:
    space = LayoutSpace.model_validate(SMALL | EVERYTHING)
    assert space.block_types == ("basic", "preactivation", "bottleneck")
    assert space.activations == ("relu", "silu", "gelu", "leaky-relu")
    bounds = list(layout_bounds(space).items())[-4:]
    assert bounds == [("block", (0, 2)), ("groups", (0, 2)), ("squeeze", (0, 2)), ("activation", (0, 3))]
    layout = ResNetLayout((1, 1), (8, 8), block="bottleneck", groups=2, squeeze=4, activation="silu")
    values = encode_layout(space, layout)
    assert [values[name] for name, _ in bounds] == [2, 1, 1, 1]
    assert decode_layout(space, values) == layout


def test_a_proposal_whose_blocks_do_not_fit_its_widths_is_moved_to_one_that_does() -> None:
    space = LayoutSpace.model_validate(SMALL | EVERYTHING)
    proposal = encode_layout(space, ResNetLayout((1, 1), (4, 4), block="bottleneck")) | {"groups": 2}
    with pytest.raises(LayoutError, match="groups: 4 does not divide the inner width 1"):
        decode_layout(space, proposal)
    away, nearest = next(Neighbours(space).around(proposal))
    assert away > 0
    assert space.contains(nearest)


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    space = LayoutSpace.model_validate(SMALL | EVERYTHING | {"activations": ["relu"]})
    feasible = set(brute_force(space))
    report = make_report(space, 0, 0)
    # 6 pairs of widths in order, 4 of blocks; 27 forms.
    assert report.total == count_combinations(space.model_copy(update={"channel_order": "free"})) == 9 * 4 * 27
    removed = {removal.by: removal.layouts for removal in report.removed}
    misfits = removed["choices of blocks and stem that do not fit the widths"]
    assert misfits == 6 * 4 * 27 - len(feasible) > 0
    assert report.feasible == count_total(space) == len(feasible)


def test_a_space_in_which_nothing_fits_says_why() -> None:
    for changed, message in (
        ({"groups": [5]}, "groups: 5 does not divide the 4 channels"),
        ({"squeeze_ratios": [64]}, "squeeze: 64 exceeds the 4 channels of a stage"),
        ({"block_types": ["bottleneck"], "channels": [2, 3]}, "channels: 2 given"),
        ({"groups": [12], "channel_order": "increasing"}, "groups: 12 does not divide the 4 channels"),
        ({"groups": [4], "stem_channels": [6]}, "groups: 4 does not divide the 6 channels of the stem"),
    ):
        space = LayoutSpace.model_validate(SMALL | changed)
        assert list(chains(space)) == []
        with pytest.raises(EmptySpaceError, match=rf"^block_types, .*: no layout can be built \({message}.*\); change"):
            make_report(space, 1, 0)


def test_many_draws_from_a_large_space_of_all_forms_are_feasible() -> None:
    space = LayoutSpace.model_validate(EVERYTHING | {"min_params": 4_900_000})
    batch = sample_uniform(space, 3_000, np.random.default_rng(0))
    assert np.array_equal(batch.params, batch.counted_params())
    assert all(space.contains(layout) for layout in batch)  # which builds each, so its blocks fit
    assert {layout.form for layout in batch} == set(space.forms)


def test_a_list_of_layouts_may_hold_any_form() -> None:
    ids = ["1-1x8-8", "1-2x16-32+blockbottleneck+groups4+squeeze8+actgelu", "2-1x8-16+blockpreactivation+actsilu"]
    space = LayoutSpace.model_validate({"layouts": ids, "min_params": 0})
    assert space.block_types == ("basic", "preactivation", "bottleneck")
    assert (space.groups, space.squeeze_ratios, space.activations) == ((1, 4), (0, 8), ("relu", "silu", "gelu"))
    for text in ids:
        layout = ResNetLayout.from_id(text)
        assert next(Neighbours(space).around(encode_layout(space, layout))) == (0, layout)
    report = make_report(space, 3, 0)
    assert (report.total, report.feasible, report.removed) == (3, 3, [])
