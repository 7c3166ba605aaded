"""The identity of a training: with the same identity two trainings are the same, with the same past they are so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from model_zoo import LayoutError, ResNetLayout
from trainables.recipe import Recipe


def identity(
    layout: ResNetLayout, recipe: Recipe, rungs: Sequence[int], seed: int, data: Mapping[str, object]
) -> dict[str, object]:
    """Everything that determines a training, as JSON-compatible values; `data` is the identity of its images.

    The seed and the number of epochs, which is the last of `rungs`, are listed with the recipe.
    """
    return {
        "layout": layout.to_dict(),
        "recipe": recipe.model_dump() | {"epochs": rungs[-1], "seed": seed},
        "rungs": list(rungs),
        "data": dict(data),
    }


def past(identity: dict[str, Any], epoch: int) -> dict[str, Any]:
    """The part of a training's identity on which its first `epoch` epochs depend.

    Under rung-annealed it has the rungs up to the first one at or after `epoch` but not the number of epochs; other
    schedules do not depend on rungs. A field of the layout or the recipe that is newer than the file has its default.
    """
    layout, recipe, rungs = identity.get("layout"), identity.get("recipe"), identity.get("rungs")
    if not isinstance(layout, dict) or not isinstance(recipe, dict):
        return identity  # damaged, so it equals no other
    if not isinstance(rungs, list) or not all(isinstance(r, int) for r in rungs):
        return identity
    if recipe.get("schedule") == "rung-annealed":
        recipe = {name: value for name, value in recipe.items() if name != "epochs"}
        rungs = [end for before, end in pairwise((0, *rungs)) if before < epoch]
    else:
        rungs = []
    of_recipe = {name: field.default for name, field in Recipe.model_fields.items()}
    try:
        of_layout = ResNetLayout.from_dict(layout).to_dict()
    except LayoutError:
        return identity  # damaged, so it equals no other
    return identity | {"layout": of_layout, "recipe": of_recipe | recipe, "rungs": rungs}
