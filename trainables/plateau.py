"""What the schedule plateau remembers of the validation results so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from trainables.recipe import Recipe

LEAST_IMPROVEMENT: Final = 1e-4
"""Share of the best result so far by which a result has to be better; torch's default."""
LEAST_FALL: Final = 1e-8
"""A drop that lowers the learning rate by no more is left out; torch's default."""


@dataclass(frozen=True, slots=True)
class Plateau:
    """The drops of a learning rate by the validation results, as torch's ReduceLROnPlateau with its defaults."""

    drops: int = 0
    """Drops so far."""
    best: float | None = None
    """The best result so far; None before the first."""
    waited: int = 0
    """Epochs since the last improvement or drop."""

    def after(self, recipe: Recipe, val_accuracy: float, val_loss: float) -> Plateau:
        """The state after one more epoch with these validation results."""
        if recipe.plateau_metric == "loss":
            value, better = val_loss, self.best is None or val_loss < self.best * (1 - LEAST_IMPROVEMENT)
        else:
            value, better = val_accuracy, self.best is None or val_accuracy > self.best * (1 + LEAST_IMPROVEMENT)
        if better:
            return Plateau(self.drops, value, 0)
        if self.waited < recipe.plateau_epochs:
            return replace(self, waited=self.waited + 1)
        rate = recipe.learning_rate * recipe.step_factor**self.drops
        falls = rate - rate * recipe.step_factor > LEAST_FALL
        return Plateau(self.drops + falls, self.best, 0)
