"""Learning rates of whole trainings."""

from __future__ import annotations

from hypothesis import strategies as st

from trainables.recipe import Recipe
from trainables.schedule import learning_rate

STEPS = st.integers(1, 40)


def rates(recipe: Recipe, steps_per_epoch: int, *rungs: int) -> list[float]:
    """The learning rates of all steps up to the last of `rungs`, which is the number of epochs."""
    return [learning_rate(recipe, step, steps_per_epoch, rungs) for step in range(rungs[-1] * steps_per_epoch)]
