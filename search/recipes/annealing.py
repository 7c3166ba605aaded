"""The schedules of a recipe space under which the learning rate is not zero when trials are compared."""

from __future__ import annotations

import itertools
from typing import Final

from search.recipes.dimensions import Range
from search.recipes.space import RecipeSpace
from trainables.recipe import Recipe
from trainables.schedule import learning_rate

PERIODS: Final = ("cosine_epochs", "restart_epochs", "restart_factor")
"""Fields that determine at which epochs a schedule is zero."""


def unannealed(space: RecipeSpace, rungs: tuple[int, ...]) -> list[str]:
    """The schedules of `space`, sorted, whose learning rate is not zero at some rung before the last.

    Cosine with periods and cosine-restarts may be zero at every rung (1, 3, 9 are odd multiples of 1). If a period is
    a range, they are assumed not to be.
    """
    if len(rungs) == 1:
        return []
    ranged = any(part.name in PERIODS and isinstance(part, Range) for part in space.searched)
    periods = list(itertools.product(*(space.values_of(field) for field in PERIODS)))
    return [
        schedule
        for schedule in sorted(space.values_of("schedule"))
        if schedule != "rung-annealed" and (ranged or any(_rate_left(schedule, values, rungs) for values in periods))
    ]


def _rate_left(schedule: str, periods: tuple[int, ...], rungs: tuple[int, ...]) -> bool:
    # Not validated: a warm-up that is too long for some period is reported elsewhere, and does not move the zeros.
    values = dict(zip(PERIODS, periods, strict=True))
    recipe = Recipe.model_construct(None, **values, schedule=schedule, warmup_epochs=0.0)
    return any(learning_rate(recipe, rung - 1, 1, rungs) > 0 for rung in rungs[:-1])
