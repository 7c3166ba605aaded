"""Recipes: frozen, validated with every problem named, and the same fields as the record's columns."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results.record.events import RECIPE_FIELDS
from trainables.optimization.optimizers import make_optimizer
from trainables.recipe import Optimizer, Recipe, Schedule
from trainables.schedule import learning_rate

WRONG: dict[str, list[Any]] = {
    "optimizer": ["lion", None],
    "learning_rate": [0, -0.1, math.inf, math.nan],
    "weight_decay": [-1e-9, math.inf, math.nan],
    "momentum": [-0.1, 1.0, math.nan],
    "adaptive_clipping": [-0.01, math.inf, math.nan],
    "batch_size": [1, 65537, 2.5],
    "label_smoothing": [-0.1, 1.0, math.nan],
    "keep_last_batch": ["perhaps"],
    "conv_init": ["orthogonal"],
    "head_init": ["orthogonal"],
    "mix_probability": [0, 1.1, math.nan],
    "mix_strength": ["swelling"],
    "first_image_size": [-1, 16.5],
    "resizing_share": [0, 1, math.nan],
    "resized_crop": [-0.1, 1, math.nan],
    "jitter_brightness": [-0.1, math.inf, math.nan],
    "jitter_contrast": [-0.1, math.inf, math.nan],
    "jitter_saturation": [-0.1, math.inf, math.nan],
    "jitter_hue": [-0.1, 0.6, math.nan],
    "schedule": ["polynomial"],
    "decay_norms": ["perhaps"],
    "gradient_clipping": [-0.1, math.inf, math.nan],
    "muon_rate_factor": [0, -1, math.inf, math.nan],
    "lookahead_steps": [-1, 0.5],
    "lookahead_share": [0, 1, math.nan],
    "sam_radius": [-0.1, math.inf, math.nan],
    "ema_decay": [-0.1, 1, math.nan],
    "stochastic_depth": [-0.1, 1, math.nan],
    "dropout": [-0.1, 1, math.nan],
    "restart_epochs": [0, 1.5],
    "restart_factor": [0, 1.5, 101],
    "cooldown_share": [0, 1, math.nan],
    "milestones": ["", "0", "3,2", "3,3", "1.5", "a", "1,,2", 81, None],
    "exponential_factor": [0, 1.1, math.nan],
    "plateau_epochs": [-1, 0.5],
    "plateau_metric": ["error"],
    "warmup_epochs": [-1, math.nan, math.inf],
    "cosine_epochs": [-1, 2.5],
    "step_epochs": [0],
    "step_factor": [0, 1.1, math.nan],
    "patience_epochs": [-1, 0.5],
    "crop_padding": [-1, 17],
    "padding_mode": ["edge"],
    "flip": ["perhaps"],
    "cutout": [-1],
    "rotation_degrees": [-1, 181, math.nan],
    "mixup_alpha": [-0.1, math.inf, math.nan],
    "cutmix_alpha": [-0.1, math.inf, math.nan],
    "flip_order": ["never"],
    "policy": ["augmix"],
    "policy_operations": [0, 17, 1.5],
    "policy_magnitude": [-1, 31, 0.5],
    "erasing": [-0.1, 1.1, math.nan],
    "ricap_beta": [-0.1, math.inf, math.nan],
    "precision": ["float16"],
    "keep_weights": ["first"],
}


def test_the_columns_of_the_record_are_the_fields_and_the_epochs() -> None:
    assert set(RECIPE_FIELDS) == {*Recipe.model_fields, "epochs"}


def test_every_field_says_what_it_is() -> None:
    assert [name for name, field in Recipe.model_fields.items() if not field.description] == []


def test_milestones_are_one_text_whatever_their_spaces() -> None:
    spaced, dense = (Recipe(schedule="milestones", milestones=text) for text in (" 081, 151 ", "81,151"))
    assert spaced == dense
    assert dense.milestones == "81,151"
    with pytest.raises(ValidationError, match="use ascending epochs in one string, such as '81,151'"):
        Recipe.model_validate({"milestones": [81, 151]})


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().learning_rate = 1.0
    assert hash(Recipe()) == hash(Recipe())


@settings(deadline=None)
@given(data=st.data(), names=st.sets(st.sampled_from(sorted(WRONG)), min_size=1))
def test_every_value_outside_its_range_is_named_at_once(data: st.DataObject, names: set[str]) -> None:
    values = {name: data.draw(st.sampled_from(WRONG[name]), label=name) for name in sorted(names)}
    with pytest.raises(ValidationError) as raised:
        Recipe.model_validate(values | {"unknown_key": 1})
    assert {error["loc"][0] for error in raised.value.errors()} == names | {"unknown_key"}


def test_wrong_values_of_every_field_are_tried() -> None:
    assert set(WRONG) == set(Recipe.model_fields)


def test_contradictions_are_named_at_once() -> None:
    with pytest.raises(ValidationError) as raised:
        Recipe(
            optimizer="nesterov",
            momentum=0,
            mixup_alpha=0.5,
            cutmix_alpha=1,
            patience_epochs=3,
            flip=False,
            flip_order="alternating",
            gradient_clipping=1,
            adaptive_clipping=0.01,
        )
    message = str(raised.value)
    assert "momentum: 0 given with nesterov" in message
    assert (
        "mixup_alpha: 0.5 given with cutmix_alpha 1, but a batch is mixed in one way only; set one of them to 0"
        in message
    )
    assert "patience_epochs: 3 given with rung-annealed" in message
    assert "flip_order: alternating given, but flip is false; set flip to true or flip_order to random" in message
    assert (
        "gradient_clipping: 1 given with adaptive_clipping 0.01, but a gradient is clipped in one way only" in message
    )


@pytest.mark.parametrize(
    ("mixes", "message"),
    [
        (
            {"ricap_beta": 0.3, "mixup_alpha": 1},
            "mixup_alpha: 1 given with ricap_beta 0.3, but a batch is mixed in one way only; set one of them to 0",
        ),
        (
            {"ricap_beta": 0.3, "cutmix_alpha": 1},
            "cutmix_alpha: 1 given with ricap_beta 0.3, but a batch is mixed in one way only; set one of them to 0",
        ),
        (
            {"ricap_beta": 0.3, "mixup_alpha": 1, "cutmix_alpha": 2},
            "mixup_alpha: 1 given with cutmix_alpha 2 and ricap_beta 0.3, but a batch is mixed in one way only; set",
        ),
    ],
)
def test_a_batch_is_mixed_one_way(mixes: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Recipe.model_validate(mixes)
    assert message in str(raised.value)
    assert all(Recipe.model_validate({name: value}) for name, value in mixes.items())


@pytest.mark.parametrize("schedule", ["cosine", "cosine-step"])
@pytest.mark.parametrize(("cosine_epochs", "falling"), [(0, 8), (3, 3), (10, 8)])
def test_a_warmup_ends_before_the_first_fall_and_the_training_do(
    schedule: str, cosine_epochs: int, falling: int
) -> None:
    assert_warmup_below(falling, {"schedule": schedule, "cosine_epochs": cosine_epochs})


@pytest.mark.parametrize(("restart_epochs", "falling"), [(3, 3), (10, 8)])
def test_a_warmup_ends_before_the_first_restart(restart_epochs: int, falling: int) -> None:
    assert_warmup_below(falling, {"schedule": "cosine-restarts", "restart_epochs": restart_epochs})


@pytest.mark.parametrize("schedule", ["rung-annealed", "linear", "warmup-stable-decay"])
def test_a_warmup_ends_before_a_training_that_falls_once(schedule: str) -> None:
    assert_warmup_below(8, {"schedule": schedule, "cooldown_share": 0.01, "cosine_epochs": 3, "restart_epochs": 3})


def assert_warmup_below(falling: int, values: dict[str, Any]) -> None:
    """Fails unless a recipe of `values` over 8 epochs may warm up in less than `falling` epochs and no longer."""
    shorter, as_long = (
        Recipe.model_validate({**values, "warmup_epochs": warmup}) for warmup in (falling - 0.5, falling)
    )
    assert shorter.first_fall(8) == as_long.first_fall(8) == falling
    assert shorter.problems_over(8) == []
    assert as_long.problems_over(8) == [f"warmup_epochs: {falling} given for {falling} epochs; use less than {falling}"]


def test_a_warmup_ends_before_the_cooldown_begins() -> None:
    recipes = [Recipe(schedule="warmup-stable-decay", cooldown_share=0.25, warmup_epochs=warmup) for warmup in (6, 6.5)]
    assert [recipe.problems_over(8) for recipe in recipes] == [
        [],
        ["warmup_epochs: 6.5 given for 8 epochs, of which cooldown_share 0.25 leaves 6; lower one of them"],
    ]


@pytest.mark.parametrize(("size", "text"), [((32, 32), "32x32"), ((40, 32), "40x32"), ((32, 40), "32x40")])
def test_the_first_images_are_smaller_than_the_others(size: tuple[int, int], text: str) -> None:
    assert [Recipe(first_image_size=first).problems_on(size) for first in (0, 1, 31)] == [[], [], []]
    for first in (32, 40):
        message = f"first_image_size: {first} given, the images have {text} pixels; use less than 32, or 0"
        assert Recipe(first_image_size=first).problems_on(size) == [message]


@pytest.mark.parametrize("optimizer", ["nesterov", "muon"])
def test_nesterovs_momentum_is_not_zero(optimizer: str) -> None:
    with pytest.raises(ValidationError, match=f"momentum: 0 given with {optimizer}, which needs more than 0"):
        Recipe.model_validate({"optimizer": optimizer, "momentum": 0})


@pytest.mark.parametrize("schedule", ["one-cycle", "step", "milestones", "exponential", "plateau", "constant"])
def test_schedules_without_a_warmup_do_not_mind_its_length(schedule: str) -> None:
    assert Recipe.model_validate({"schedule": schedule, "warmup_epochs": 5}).problems_over(5) == []


def test_a_recipe_fits_some_numbers_of_epochs_and_not_others() -> None:
    recipe = Recipe(warmup_epochs=5)
    assert [recipe.problems_over(epochs) for epochs in (4, 5, 6)] == [
        ["warmup_epochs: 5 given for 4 epochs; use less than 4"],
        ["warmup_epochs: 5 given for 5 epochs; use less than 5"],
        [],
    ]


@pytest.mark.parametrize("schedule", sorted(set(get_args(Schedule)) - {"rung-annealed"}))
def test_patience_goes_with_every_schedule_that_knows_no_rungs(schedule: str) -> None:
    assert Recipe.model_validate({"schedule": schedule, "patience_epochs": 5}).patience_epochs == 5


@settings(deadline=None)
@given(
    optimizer=st.sampled_from(get_args(Optimizer)),
    schedule=st.sampled_from(get_args(Schedule)),
    learning_rate_=st.floats(1e-9, 10),
)
def test_a_recipe_survives_its_dump(optimizer: str, schedule: str, learning_rate_: float) -> None:
    values = {"optimizer": optimizer, "schedule": schedule, "learning_rate": learning_rate_}
    recipe = Recipe.model_validate(values)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe(**recipe.model_dump()) == recipe


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_name_is_implemented(optimizer: str, schedule: str) -> None:
    import torch

    recipe = Recipe.model_validate({"optimizer": optimizer, "schedule": schedule})
    made = make_optimizer([torch.nn.Parameter(torch.zeros(2))], recipe, torch.device("cpu"))
    assert made.param_groups[0]["weight_decay"] == recipe.weight_decay
    assert learning_rate(recipe, 0, 10, (2,)) > 0
