"""Uniform draws of feasible layouts: every one as likely as any other, and none that is infeasible."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import chisquare

from model_zoo import PRESETS
from search.errors import EmptySpaceError
from search.layouts import LayoutSpace, sample_uniform
from search.layouts.enumeration import count_up_to
from tests.support.examples import examples
from tests.support.zoo_fixtures import brute_force, even, spaces

SMALL: dict[str, Any] = {
    "stages": [2, 3],
    "blocks": [1, 3],
    "channels": [4, 8],
    "kernels": [3, 5],
    "min_params": 6_000,
    "max_params": 9_000,
}
LIKELY = 1e-4
"""Least p-value: a right sampler with another seed fails one test in so many."""


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"predicate": even},
        {"min_depth": 8, "max_flops": 3_000_000},
        {"max_activation_bytes": 260_000, "predicate": even},
        {"skip_kernels": [1, 3], "conv_biases": [True, False], "stem_channels": [0, 6], "kernels": [3]},
        {"strides": [1, 2], "channel_order": "free", "kernels": [3]},
        {"block_types": ["basic", "bottleneck"], "groups": [1, 2], "squeeze_ratios": [0, 6], "kernels": [3]},
    ],
)
def test_every_feasible_layout_is_as_likely_as_any_other(changed: dict[str, Any]) -> None:
    space = LayoutSpace.model_validate(SMALL | changed)
    feasible = set(brute_force(space))
    assert 20 < len(feasible) < 2000
    drawn = Counter(sample_uniform(space, 60 * len(feasible), np.random.default_rng(2)))
    assert drawn.keys() == feasible
    assert chisquare([drawn[layout] for layout in feasible]).pvalue > LIKELY


def test_draws_of_one_layout_at_a_time_are_uniform_too() -> None:
    space = LayoutSpace.model_validate(SMALL | {"predicate": even, "kernels": [3]})
    feasible, generator = set(brute_force(space)), np.random.default_rng(0)
    drawn = Counter(sample_uniform(space, 1, generator)[0] for _ in range(40 * len(feasible)))
    assert drawn.keys() == feasible
    assert chisquare([drawn[layout] for layout in feasible]).pvalue > LIKELY


@pytest.mark.parametrize("predicate", [None, even])
def test_layouts_of_a_list_are_drawn_uniformly(predicate: object) -> None:
    space = LayoutSpace.model_validate(
        {"layouts": list(PRESETS), "min_params": 100_000, "max_params": 10**7, "predicate": predicate}
    )
    feasible = set(brute_force(space))
    assert 5 < len(feasible) < len(PRESETS)
    drawn = Counter(sample_uniform(space, 100 * len(feasible), np.random.default_rng(3)))
    assert drawn.keys() == feasible
    assert chisquare([drawn[layout] for layout in feasible]).pvalue > LIKELY


@pytest.mark.parametrize("refused", [0, 2**20])
def test_the_few_layouts_that_a_predicate_leaves_are_drawn_uniformly(
    refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.layouts.enumeration.MOST_REFUSED", refused)  # with 0 all are walked at once
    everything = LayoutSpace.model_validate(SMALL)
    rare = sorted(brute_force(everything), key=lambda layout: layout.layout_id)[::40]
    space = everything.model_copy(update={"predicate": set(rare).__contains__})
    generator = np.random.default_rng(1)
    drawn = Counter(sample_uniform(space, 1, generator)[0] for _ in range(30 * len(rare)))
    assert drawn.keys() == set(rare)
    assert chisquare([drawn[layout] for layout in rare]).pvalue > LIKELY


def test_no_infeasible_layout_is_among_a_million_draws_from_a_vast_space() -> None:
    space = LayoutSpace.model_validate(
        {
            "stages": [4, 5],
            "blocks": [1, 8],
            "channel_order": "increasing",
            "kernels": [3, 5],
            "strides": [1, 2],
            "stem_channels": [0, 16],
            "max_params": 4_200_000,
        }
    )
    generator, params = np.random.default_rng(0), []
    for _ in range(4):
        batch = sample_uniform(space, 250_000, generator)
        assert np.array_equal(batch.params, batch.counted_params())
        there = np.arange(5) < batch.stages[:, None]
        assert np.isin(batch.stages, space.stages).all()
        assert np.array_equal(batch.blocks > 0, there)
        assert batch.blocks.max() <= space.blocks[1]
        assert (np.diff(batch.channels, axis=1)[there[:, 1:]] > 0).all()
        for column, choices in (
            (batch.channels, space.channels),
            (batch.kernels, space.kernels),
            (batch.strides, space.strides),
        ):
            assert np.isin(column[there], choices).all()
        assert (batch.strides[:, 0] == 1).all()
        assert ((batch.stem_channels == 16) | (batch.stem_channels == batch.channels[:, 0])).all()
        params.append(batch.params)
    drawn = np.concatenate(params)
    assert space.min_params <= drawn.min() <= drawn.max() <= space.max_params
    edges = np.linspace(space.min_params, space.max_params, 11).astype(int).tolist()[1:]
    expected = np.diff([0, *count_up_to(space, edges)])
    seen = np.diff([0, *((drawn <= edge).sum() for edge in edges)])
    assert chisquare(seen, expected / expected.sum() * len(drawn)).pvalue > LIKELY


@examples(40)
@given(space=spaces())
def test_draws_are_feasible_and_an_empty_space_has_none(space: LayoutSpace) -> None:
    feasible = set(brute_force(space))
    generator = np.random.default_rng(0)
    if feasible:
        drawn = sample_uniform(space, 50, generator)
        assert len(drawn) == 50
        assert set(drawn) <= feasible
    else:
        with pytest.raises(EmptySpaceError):
            sample_uniform(space, 1, generator)


def test_a_predicate_that_refuses_all_is_asked_about_each_layout_a_few_times_only() -> None:
    asked: list[object] = []

    def refuses(layout: object) -> bool:
        asked.append(layout)
        return False

    space = LayoutSpace.model_validate(SMALL)
    inside = len(set(brute_force(space)))
    with pytest.raises(EmptySpaceError, match=f"predicate: all {inside:,} layouts"):
        sample_uniform(space.model_copy(update={"predicate": refuses}), 1, np.random.default_rng(0))
    assert len(asked) < 10 * inside


def test_the_generator_alone_decides_the_draws() -> None:
    space = LayoutSpace.model_validate(SMALL | {"max_depth": 14})
    first, again, other = (list(sample_uniform(space, 20, np.random.default_rng(seed))) for seed in (5, 5, 6))
    assert first == again != other
