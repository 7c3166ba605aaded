"""Recipes: frozen, validated with every problem named, and the same fields as the record's columns."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results import RECIPE_COLUMNS
from trainables.optimizers import make_optimizer
from trainables.recipe import Optimizer, Recipe, Schedule
from trainables.schedule import learning_rate

WRONG: dict[str, list[Any]] = {
    "optimizer": ["lion", None],
    "learning_rate": [0, -0.1, math.inf, math.nan],
    "weight_decay": [-1e-9, math.inf, math.nan],
    "momentum": [-0.1, 1.0, math.nan],
    "batch_size": [1, 65537, 2.5],
    "label_smoothing": [-0.1, 1.0, math.nan],
    "schedule": ["linear"],
    "warmup_epochs": [-1, math.nan, math.inf],
    "step_epochs": [0],
    "step_factor": [0, 1.1, math.nan],
    "crop_padding": [-1, 17],
    "padding_mode": ["edge"],
    "flip": ["perhaps"],
    "cutout": [-1],
    "rotation_degrees": [-1, 181, math.nan],
    "precision": ["float16"],
    "epochs": [0],
    "seed": [-1, 2**31],
}


def test_the_fields_are_the_columns_of_the_record_and_the_seed() -> None:
    assert set(Recipe.model_fields) == {*RECIPE_COLUMNS, "seed"}


def test_every_field_says_what_it_is() -> None:
    assert [name for name, field in Recipe.model_fields.items() if not field.description] == []


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
        Recipe(optimizer="nesterov", momentum=0, schedule="cosine", warmup_epochs=5, epochs=5)
    assert "momentum: 0 given with nesterov" in str(raised.value)
    assert "warmup_epochs: 5 given for 5 epochs" in str(raised.value)


@pytest.mark.parametrize("schedule", ["one-cycle", "step", "constant"])
def test_schedules_without_a_warmup_do_not_mind_its_length(schedule: str) -> None:
    assert Recipe.model_validate({"schedule": schedule, "warmup_epochs": 5, "epochs": 5}).epochs == 5


@settings(deadline=None)
@given(
    optimizer=st.sampled_from(get_args(Optimizer)),
    schedule=st.sampled_from(get_args(Schedule)),
    learning_rate_=st.floats(1e-9, 10),
    epochs=st.integers(1, 1000),
)
def test_a_recipe_survives_its_dump(optimizer: str, schedule: str, learning_rate_: float, epochs: int) -> None:
    values = {"optimizer": optimizer, "schedule": schedule, "learning_rate": learning_rate_, "epochs": epochs}
    recipe = Recipe.model_validate(values)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe(**recipe.model_dump()) == recipe


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_name_is_implemented(optimizer: str, schedule: str) -> None:
    import torch

    recipe = Recipe.model_validate({"optimizer": optimizer, "schedule": schedule, "epochs": 2})
    made = make_optimizer([torch.nn.Parameter(torch.zeros(2))], recipe, torch.device("cpu"))
    assert made.param_groups[0]["weight_decay"] == recipe.weight_decay
    assert learning_rate(recipe, 0, 10, (2,)) > 0
