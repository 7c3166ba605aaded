"""Samplers through the study of a run: feasible layouts only, none twice, until none is left."""

from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from model_zoo import ResNetLayout
from results import RunState
from search.encoding import decode
from search.history import History
from search.sampler import SAMPLERS, SpaceExhausted
from search.space import SearchSpace, count_feasible, enumerate_layouts
from tests.zoo_fixtures import even

SMALL: dict[str, Any] = {
    "stages": [2, 3],
    "blocks": [1, 3],
    "channels": [4, 6, 8],
    "strides": [1, 2],
    "stem_channels": [0, 4],
    "min_params": 4_000,
    "max_params": 4_300,
}


def space(**changed: Any) -> SearchSpace:
    return SearchSpace.model_validate(SMALL | changed)


def depth_score(layout: ResNetLayout) -> float:
    """An accuracy with one best layout: deep first stages, a wide last one."""
    return (layout.blocks[0] / 16 + layout.channels[-1] / 64 + (layout.stages == 3)) / 3


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "changed", [{}, {"predicate": even}, {"stages": [2], "max_params": 6_000}, {"stages": [3], "stem_channels": [0]}]
)
def test_a_study_goes_through_the_whole_space_and_then_says_that_it_is_exhausted(
    sampler: str, changed: dict[str, Any]
) -> None:
    searched = space(**changed)
    expected = set(enumerate_layouts(searched))
    history = History(searched, sampler, 3, RunState())
    seen = []
    for expected_number in range(len(expected)):
        number, layout, proposal = history.ask()
        assert number == expected_number
        recorded = history.study.get_trials(deepcopy=False)[number]
        assert recorded.params == proposal
        assert decode(searched, recorded.params) == layout
        seen.append(layout)
        if number % 3:
            history.tell(number, "completed", depth_score(layout))
    assert len(seen) == len(expected) == count_feasible(searched) > 10
    assert set(seen) == expected
    for _ in range(2):
        with pytest.raises(SpaceExhausted):
            history.ask()
        assert history.study.trials[-1].state is TrialState.FAIL


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("window", [(0, 10**6), None])
def test_a_space_of_one_layout_gives_it_once(sampler: str, window: tuple[int, int] | None) -> None:
    one = {"stages": [2], "blocks": [2, 2], "channels": [4], "strides": [2], "stem_channels": [0]}
    if window is None:  # several dimensions, but only one layout in the window
        searched = space(min_params=0, max_params=10**6)
        smallest = next(enumerate_layouts(space(min_params=0, max_params=10**6)))
        searched = searched.model_copy(update={"predicate": smallest.__eq__})
    else:
        searched = space(**one, min_params=window[0], max_params=window[1])
    (only,) = enumerate_layouts(searched)
    history = History(searched, sampler, 0, RunState())
    assert history.ask()[:2] == (0, only)
    with pytest.raises(SpaceExhausted):
        history.ask()


def test_grid_goes_in_the_order_of_the_enumeration() -> None:
    history = History(space(), "grid", 0, RunState())
    listed = list(enumerate_layouts(space()))
    assert [history.ask()[1] for _ in range(20)] == listed[:20]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_seed_alone_decides_the_proposals(sampler: str) -> None:
    def asked(seed: int) -> list[ResNetLayout]:
        history = History(space(), sampler, seed, RunState())
        layouts = []
        for number in range(14):
            layouts.append(history.ask()[1])
            history.tell(number, "completed", depth_score(layouts[-1]))
        return layouts

    np.random.seed(1)  # noqa: NPY002  # the global generator must not matter
    first = asked(0)
    np.random.seed(2)  # noqa: NPY002
    assert asked(0) == first
    assert asked(1) != first


def test_tpe_draws_uniformly_at_first_and_then_proposes_better_than_random() -> None:
    searched = SearchSpace.model_validate(
        {"channels": [8, 16, 24, 32, 48, 64], "min_params": 100_000, "max_params": 120_000}
    )
    late: dict[str, list[float]] = {"tpe": [], "random": []}
    for seed in range(3):
        first = {}
        for sampler, scores in late.items():
            history = History(searched, sampler, seed, RunState())
            layouts = []
            for number in range(40):
                layouts.append(history.ask()[1])
                history.tell(number, "completed", depth_score(layouts[-1]))
            first[sampler] = layouts[:10]
            scores += map(depth_score, layouts[20:])
        assert first["tpe"] == first["random"]
    assert np.mean(late["tpe"]) > np.mean(late["random"]) + 0.1


def test_the_study_holds_each_ending_as_optuna_names_it() -> None:
    history = History(space(), "random", 0, RunState())
    for number, (status, rungs) in enumerate(
        [
            ("completed", {2: 0.25, 6: 0.75}),
            ("stopped", {2: 0.5}),
            ("diverged", {2: 0.125}),
            ("failed", {}),
            (None, {2: 0.375}),
        ]
    ):
        history.ask()
        for epoch, value in rungs.items():
            history.report(number, epoch, value)
        if status is not None:
            history.tell(number, status, list(rungs.values())[-1] if rungs else None)
    trials = history.study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "RUNNING"]
    assert [trial.intermediate_values for trial in trials] == [
        {2: 0.25, 6: 0.75},
        {2: 0.5},
        {2: 0.125},
        {},
        {2: 0.375},
    ]
    assert [trial.value for trial in trials[:4]] == [0.75, 0.5, None, None]
