"""Pools of candidates: feasible, near what they should be near, and described by features that mean something."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from benchmarks.sampler.nas_bench_201 import TableCells
from search.layouts import LayoutSpace
from search.recipes.dimensions import Values
from search.sampling import JointSpace
from search.sampling.features import Floats
from search.sampling.pools import MOST_MOVED, JointPools, PlainPools, Pool, pools_of
from tests.support.recipe_fixtures import space_of
from tests.support.zoo_fixtures import even

SPACE = LayoutSpace.model_validate(
    {
        "stages": [2, 3],
        "blocks": [1, 6],
        "channels": [8, 16, 24, 32],
        "strides": [1, 2],
        "block_types": ["basic", "bottleneck", "preactivation"],
        "activations": ["relu", "silu", "gelu"],
        "squeeze_ratios": [0, 4],
        "min_params": 20_000,
        "max_params": 60_000,
    }
)
RECIPES = space_of(
    {
        "optimizer": ["sgd", "adam", "adamw"],
        "momentum": {"low": 0.5, "high": 0.9},
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "cutout": {"low": 0, "high": 8, "step": 2},
    }
)


@pytest.fixture(scope="module")
def joint() -> JointSpace:
    return JointSpace(SPACE, RECIPES)


def cells() -> TableCells:
    return TableCells({f"{a}{b}{c}000": 0.5 for a in range(5) for b in range(5) for c in range(5)}, 500_000)


def all_of(pool: Pool[Any]) -> list[Any]:
    return [pool.candidate(i) for i in range(len(pool.features))]


@pytest.mark.parametrize("predicate", [None, even])
def test_drawn_and_neighbouring_candidates_are_feasible(predicate: Any) -> None:
    joint = JointSpace(SPACE.model_copy(update={"predicate": predicate}), RECIPES)
    pools, generator = JointPools(joint), np.random.default_rng(0)
    drawn = all_of(pools.drawn(generator, 50))
    near = all_of(pools.near(drawn[:3], generator, 200))
    assert len(near) > 40
    for candidate in [*drawn, *near]:
        assert joint.space.contains(candidate.layout)
        assert joint.recipes.encode(candidate.recipe) is not None


def test_neighbours_differ_from_a_centre_in_a_few_dimensions(joint: JointSpace) -> None:
    pools, generator = JointPools(joint), np.random.default_rng(1)
    (centre,) = all_of(pools.drawn(generator, 1))
    at = joint.encode(centre)
    assert at is not None
    changed = set()
    for candidate in all_of(pools.near([centre], generator, 300)):
        values = joint.encode(candidate)
        assert values is not None
        moved = {name for name in values if values[name] != at[name]}
        # Another optimizer may make momentum read or unread, another stage its width and stride.
        depends = {"momentum"} | {f"{kind}_3" for kind in ("width", "stride")} | {"width_2", "width_3"}
        assert len(moved - depends) <= MOST_MOVED
        changed |= moved
    assert changed >= {"blocks_1", "optimizer", "learning_rate", "cutout"}


@pytest.mark.parametrize("space", [JointSpace(SPACE, RECIPES), cells()])
def test_the_features_of_a_pool_are_those_of_its_candidates(space: Any) -> None:
    pools, generator = pools_of(space), np.random.default_rng(2)
    drawn = pools.drawn(generator, 30)
    near = pools.near(all_of(drawn)[:4], generator, 60)
    for pool in (drawn, near):
        assert pool.features.shape[1] == len(pools.groups)
        np.testing.assert_allclose(pool.features, pools.of(all_of(pool)), atol=1e-12)


def column_group(joint: JointSpace, name: str) -> int:
    return list(joint.dimensions).index(name)


def distance(pools: JointPools, joint: JointSpace, name: str, one: Values, other: Values) -> float:
    """The distance of two candidates along one dimension."""
    rows = pools.of([joint.decode(one), joint.decode(other)])
    difference: Floats = (rows[0] - rows[1])[pools.groups == column_group(joint, name)]
    return float(np.sqrt((difference**2).sum()))


def test_choices_without_an_order_are_equally_far_and_numbers_by_their_size(joint: JointSpace) -> None:
    pools = JointPools(joint)
    (candidate,) = all_of(pools.drawn(np.random.default_rng(3), 1))
    values = joint.encode(candidate)
    assert values is not None
    for name in ("optimizer", "activation"):
        away = [
            distance(pools, joint, name, values | {name: a}, values | {name: b}) for a, b in ((0, 1), (0, 2), (1, 2))
        ]
        np.testing.assert_allclose(away, 1.0)
    for name, low, middle, high in (("learning_rate", 0.001, 0.01, 0.1), ("cutout", 0, 4, 8)):
        whole, half = (distance(pools, joint, name, values | {name: low}, values | {name: up}) for up in (high, middle))
        assert (whole, half) == (pytest.approx(1), pytest.approx(0.5))


def test_what_is_not_read_is_halfway_between_all_values(joint: JointSpace) -> None:
    pools = JointPools(joint)
    (candidate,) = all_of(pools.drawn(np.random.default_rng(3), 1))
    values = joint.encode(candidate)
    assert values is not None
    adam = values | {"optimizer": 1}
    sgd = [values | {"optimizer": 0, "momentum": momentum} for momentum in (0.5, 0.9)]
    assert distance(pools, joint, "momentum", adam | {"momentum": 0.5}, adam | {"momentum": 0.9}) == 0
    assert distance(pools, joint, "momentum", *sgd) == pytest.approx(1)
    assert [distance(pools, joint, "momentum", adam, other) for other in sgd] == pytest.approx([0.5, 0.5])


def test_the_closed_form_costs_are_features(joint: JointSpace) -> None:
    pools = JointPools(joint)
    drawn = all_of(pools.drawn(np.random.default_rng(4), 60))
    costs = pools.of(drawn)[:, -4:]
    depths = np.array([candidate.layout.depth for candidate in drawn])
    assert np.corrcoef(costs[:, 2], np.log(depths))[0, 1] == pytest.approx(1)
    assert -0.5 < costs.min() < 0.1 < 0.9 < costs.max() < 1.5


def test_of_any_other_space_numbers_with_few_values_are_also_compared_as_options() -> None:
    class Space:
        dimensions: ClassVar = {
            "few": IntDistribution(1, 4),
            "two": IntDistribution(0, 1),
            "many": IntDistribution(0, 50),
            "real": FloatDistribution(0.1, 10, log=True),
        }

        def encode(self, candidate: Any) -> Values:
            return dict(zip(self.dimensions, candidate, strict=True))

    pools: PlainPools[Any] = PlainPools(Space())  # type: ignore[arg-type]  # only what features need
    rows = pools.of([(1, 0, 0, 0.1), (4, 1, 50, 10.0), (2, 0, 25, 1.0)])
    assert np.bincount(pools.groups).tolist() == [1, 4, 1, 1, 1]
    np.testing.assert_allclose(rows[0], [0, 0.5**0.5, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(rows[1], [1, 0, 0, 0, 0.5**0.5, 1, 1, 1])
    np.testing.assert_allclose(rows[2], [1 / 3, 0, 0.5**0.5, 0, 0, 0, 0.5, 0.5])
