"""The note on schedules that do not anneal where trials are compared, against the learning rates themselves."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from search.config import compose
from search.config.notes import notes_on
from search.recipes.annealing import unannealed
from tests.support.recipe_fixtures import space_of
from trainables.recipe import Recipe, Schedule
from trainables.schedule import learning_rate


@pytest.mark.parametrize("rungs", [(1, 3, 9), (3, 9, 27), (4, 8, 16), (6, 18)])
@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize(
    "periods",
    [
        {},
        {"cosine_epochs": 3, "restart_epochs": 3, "restart_factor": 1},
        {"cosine_epochs": 1, "restart_epochs": 1, "restart_factor": 1},
        {"restart_epochs": 4, "restart_factor": 1},
        {"restart_epochs": 6, "restart_factor": 2},
        {"cosine_epochs": 2, "restart_epochs": 1, "restart_factor": 2},
    ],
)
def test_a_schedule_is_named_where_a_rung_but_the_last_has_a_rate(
    periods: dict[str, int], schedule: str, rungs: tuple[int, ...]
) -> None:
    values: dict[str, Any] = {"schedule": schedule, "warmup_epochs": 0, **periods}
    steps, recipe = 7, Recipe.model_validate(values)
    left = [learning_rate(recipe, rung * steps - 1, steps, rungs) for rung in rungs[:-1]]
    assert unannealed(space_of(values), rungs) == ([schedule] if any(left) else [])
    assert unannealed(space_of(values), rungs[-1:]) == []


def test_one_period_that_does_not_fit_is_enough_and_a_range_is_not_looked_into() -> None:
    table = {"schedule": ["cosine", "rung-annealed"], "cosine_epochs": [1, 2]}
    assert unannealed(space_of(table), (1, 3, 9)) == ["cosine"]
    assert unannealed(space_of(table | {"cosine_epochs": [1, 9]}), (1, 9)) == ["cosine"]
    assert unannealed(space_of(table | {"cosine_epochs": 1}), (1, 3, 9)) == []
    ranged = {"restart_epochs": {"low": 1, "high": 4}}
    assert unannealed(space_of(table | ranged | {"cosine_epochs": 1}), (1, 3, 9)) == ["cosine"]


def test_the_note_names_schedules_and_epochs() -> None:
    sets = ['recipe.schedule=["linear","cosine-restarts","rung-annealed"]', "recipe.restart_factor=1"]
    lengths = {"max_epochs": 27, "grace_epochs": 3}

    def note_with(epochs: int) -> str:
        notes = notes_on(compose(None, None, lengths, [*sets, f"recipe.restart_epochs={epochs}"]))
        (found,) = (note for note in notes if "the learning rate is not zero" in note)
        return found

    note = note_with(3)
    assert note.startswith(
        "note: under linear the learning rate is not zero at epochs 3, 9, where trials are compared; "
    )
    note = note_with(4)
    assert note.startswith("note: under cosine-restarts, linear the learning rate is not zero at epochs 3, 9")
