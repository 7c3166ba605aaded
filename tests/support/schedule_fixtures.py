"""Learning rates of whole trainings."""

from __future__ import annotations

from hypothesis import strategies as st

from trainables.recipe import Recipe
from trainables.schedule import learning_rate

STEPS = st.integers(1, 40)


def rates(recipe: Recipe, steps_per_epoch: int, rungs: tuple[int, ...] = ()) -> list[float]:
    ladder = rungs or (recipe.epochs,)
    return [learning_rate(recipe, step, steps_per_epoch, ladder) for step in range(recipe.epochs * steps_per_epoch)]
