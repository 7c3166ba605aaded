"""Fields that a recipe does not read: recipes that train alike by their fields are one."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.schedule_fixtures import rates
from trainables.image_sizes import sizes_of_training
from trainables.optimization.optimizers import make_optimizer
from trainables.plateau import Plateau
from trainables.recipe import Optimizer, Policy, Recipe, Schedule
from trainables.schedule import learning_rate, momentum

VALUES: dict[str, list[Any]] = {
    "optimizer": list(get_args(Optimizer)),
    "momentum": [0.5, 0.95],
    "schedule": list(get_args(Schedule)),
    "warmup_epochs": [0.0, 1.5],
    "cosine_epochs": [0, 3],
    "step_epochs": [2, 20],
    "step_factor": [0.1, 0.333],
    "restart_epochs": [2, 10],
    "restart_factor": [1, 2],
    "cooldown_share": [0.1, 0.4],
    "milestones": ["2", "3,5"],
    "exponential_factor": [0.5, 0.9],
    "plateau_epochs": [0, 3],
    "plateau_metric": ["loss", "accuracy"],
    "weight_decay": [0.0, 5e-4],
    "decay_norms": [True, False],
    "muon_rate_factor": [0.1, 0.5],
    "lookahead_steps": [0, 5],
    "lookahead_share": [0.5, 0.8],
    "crop_padding": [0, 2, 4],
    "padding_mode": ["zeros", "reflect"],
    "mixup_alpha": [0.0, 0.4],
    "cutmix_alpha": [0.0],
    "mix_probability": [0.5, 1.0],
    "mix_strength": ["constant", "growing", "fading"],
    "first_image_size": [0, 4],
    "resizing_share": [0.3, 0.5],
    "policy": list(get_args(Policy)),
    "policy_operations": [1, 2],
    "policy_magnitude": [5, 9],
    "head_init": ["uniform", "xavier-normal"],
}
EPOCHS = 6
RECIPES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()})


def plateau_rates(recipe: Recipe) -> list[float]:
    """The learning rates of epochs whose validation loss rises while their accuracy does."""
    plateau, found = Plateau(), []
    for epoch in range(EPOCHS):
        found.append(learning_rate(recipe, 3 * epoch, 3, (EPOCHS,), plateau.drops))
        plateau = plateau.after(recipe, val_accuracy=0.1 * epoch, val_loss=1.0 + epoch)
    return found


def acts(recipe: Recipe) -> tuple[Any, ...]:
    """What the rest of the program makes of every field that some recipes do not read."""
    import torch

    from trainables.augmentation.batch import crop_and_flip
    from trainables.augmentation.mixing import mixed_batch, mixing_strength

    params = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((1,), (2, 2, 1, 1))]
    moved = make_optimizer(params, recipe, torch.device("cpu"))
    groups = [{name: value for name, value in g.items() if name != "params"} for g in moved.param_groups]
    images = torch.arange(36, dtype=torch.uint8).reshape(1, 6, 6, 1)
    crops = crop_and_flip(images, torch.zeros(50, dtype=torch.int64), recipe, torch.Generator().manual_seed(1))
    found, _ = mixed_batch(
        torch.arange(64.0).reshape(4, 1, 4, 4),
        torch.arange(4),
        recipe,
        torch.Generator().manual_seed(1),
        np.random.default_rng(1),
        mixing_strength(recipe, 0.25),
    )
    return (
        found.flatten().tolist(),
        sizes_of_training(recipe.first_image_size, recipe.resizing_share, (6, 6)),
        type(moved).__name__,
        groups,
        rates(recipe, 3, 1, EPOCHS),
        plateau_rates(recipe),
        [momentum(recipe, step, 3 * EPOCHS) for step in range(3 * EPOCHS)],
        crops.flatten().tolist(),
    )


@examples(60)
@given(values=RECIPES)
def test_the_canonical_recipe_trains_alike_and_is_its_own_canonical_one(values: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(values)
    canonical = recipe.canonical()
    assert Recipe.model_validate(canonical.model_dump()) == canonical
    assert canonical.canonical() == canonical
    assert canonical.unread == recipe.unread
    assert acts(canonical) == acts(recipe)


@examples(60)
@given(values=RECIPES, data=st.data())
def test_recipes_that_differ_in_unread_fields_alone_have_one_canonical_recipe(
    values: dict[str, Any], data: st.DataObject
) -> None:
    recipe = Recipe.model_validate(values)
    changed = {name: data.draw(st.sampled_from(VALUES[name]), label=name) for name in sorted(recipe.unread)}
    other = Recipe.model_validate(recipe.model_dump() | changed)
    assert other.unread == recipe.unread
    assert other.canonical() == recipe.canonical()


FEW_EPOCHS = {"step_epochs": 2, "restart_epochs": 2, "milestones": "2", "plateau_epochs": 2}
SCHEDULED = {
    "warmup_epochs": set(get_args(Schedule))
    - {"one-cycle", "step", "milestones", "exponential", "plateau", "constant"},
    "restart_epochs": {"cosine-restarts"},
    "restart_factor": {"cosine-restarts"},
    "cooldown_share": {"warmup-stable-decay"},
    "cosine_epochs": {"cosine", "cosine-step"},
    "step_epochs": {"step", "cosine-step"},
    "step_factor": {"step", "cosine-step", "milestones", "plateau"},
    "milestones": {"milestones"},
    "exponential_factor": {"exponential"},
    "plateau_epochs": {"plateau"},
    "plateau_metric": {"plateau"},
}


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("name", sorted(SCHEDULED))
def test_a_field_of_the_schedule_is_unread_exactly_where_it_changes_no_rate(name: str, schedule: str) -> None:
    first, second = (Recipe.model_validate({"schedule": schedule, **FEW_EPOCHS, name: value}) for value in VALUES[name])
    changes = rates(first, 3, 2, EPOCHS) != rates(second, 3, 2, EPOCHS) or plateau_rates(first) != plateau_rates(second)
    assert changes == (schedule in SCHEDULED[name])
    assert (name in first.unread) == (not changes)


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_momentum_is_read_by_those_that_have_it(optimizer: str) -> None:
    first, second = (Recipe.model_validate({"optimizer": optimizer, "momentum": value}) for value in (0.5, 0.95))
    assert ("momentum" in first.unread) == (momentum(first, 0, 1) == momentum(second, 0, 1))
    assert ("momentum" in first.unread) == (first.canonical() == second.canonical())


@pytest.mark.parametrize(
    ("name", "value", "reader"),
    [
        ("decay_norms", False, {"weight_decay": 5e-4}),
        ("muon_rate_factor", 0.2, {"optimizer": "muon"}),
        ("lookahead_share", 0.8, {"lookahead_steps": 5}),
        *(("mix_probability", 0.5, {mix: 1.0}) for mix in ("mixup_alpha", "cutmix_alpha", "ricap_beta")),
        *(("mix_strength", "fading", {mix: 1.0}) for mix in ("mixup_alpha", "cutmix_alpha", "ricap_beta")),
        ("resizing_share", 0.3, {"first_image_size": 4}),
    ],
)
def test_an_option_of_an_option_is_read_with_it_alone(name: str, value: Any, reader: dict[str, Any]) -> None:
    off = {"weight_decay": 0.0, "optimizer": "sgd"}
    with_it, without = (
        Recipe.model_validate({**off, **reader, name: value}),
        Recipe.model_validate({**off, name: value}),
    )
    assert name not in with_it.unread
    assert name in without.unread
    assert without.canonical() == Recipe.model_validate(off)


def test_the_mode_of_a_padding_that_is_none_is_unread() -> None:
    assert Recipe(crop_padding=0, padding_mode="zeros").canonical() == Recipe(crop_padding=0)
    assert Recipe(crop_padding=1, padding_mode="zeros").canonical() != Recipe(crop_padding=1)
