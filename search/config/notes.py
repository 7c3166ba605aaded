"""What a configuration does that its user may not expect, in sentences."""

from __future__ import annotations

from typing import Final

from results.ranking.intervals import wilson_interval
from search.config.run_config import RunConfig
from search.recipes.annealing import unannealed
from search.recipes.dimensions import Choice
from search.recipes.table import read_with
from trainables.recipe import USUAL_RATE

FEW_VAL_IMAGES: Final = 1_000
"""Below this many validation images the 95% interval of an accuracy of 95% is wider than 2.7 points."""


def notes_on(config: RunConfig) -> list[str]:
    """Sentences on what `config` does that its user may not expect."""
    schedules = unannealed(config.recipe, config.rungs)
    found = []
    if schedules:
        early = ", ".join(map(str, config.rungs[:-1]))
        found.append(
            f"note: under {', '.join(schedules)} the learning rate is not zero at epochs {early}, where trials are "
            "compared; use recipe.schedule=rung-annealed, or set grace_epochs to max_epochs"
        )
    facts = config.dataset_facts
    images = round(config.validation_share * facts.train_images)
    judged = not (facts.val_images or config.refit_of or config.all_data)
    if 0 < images < FEW_VAL_IMAGES and judged and config.validation_splits == 1:
        low, high = wilson_interval(0.95, images)
        found.append(
            f"note: with {images:,} validation images the 95% interval of an accuracy of 95% is "
            f"{100 * (high - low):.1f} points wide; --validation-splits 3 ranks by means over three splits"
        )
    lowest = min(config.recipe.values_of("learning_rate"))
    small = sorted(set(config.recipe.values_of("optimizer")) & USUAL_RATE.keys())
    found += [
        f"note: recipe.learning_rate: {lowest:g} or more is high for {name}, whose usual rate is {usual:g}"
        for name in small
        if lowest > 20 * (usual := USUAL_RATE[name])
    ]
    lists = [part for part in config.recipe.searched if isinstance(part, Choice) and part.name in part.fields]
    pairs = [(part.name, *config.recipe.values_of(part.name)) for part in lists if part.count == 2]
    found += [
        f"note: recipe.{name}: [{low:g}, {high:g}] are two choices, and nothing between them is tried; a range is "
        f"{{low = {low:g}, high = {high:g}, log = true}}"
        for name, low, high in pairs
        if config.sampler != "grid" and isinstance(low, float) and 0 < 10 * low <= high
    ]
    found += [f"note: recipe.{name} has no effect here; it needs {read_with(name)}" for name in config.recipe.unread]
    return found
