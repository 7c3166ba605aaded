"""The table of a recipe space: what it may say, what is refused and how it is named, what lies under it."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from search.config import compose
from search.errors import ConfigError
from search.recipes import RecipeSpace
from search.recipes.combinations import MAX_COMBINATIONS, MAX_NAMED
from search.recipes.table import over_defaults
from tests.support.recipe_fixtures import space_of
from trainables.recipe import Recipe


def problems_of(table: Mapping[str, Any] | str) -> list[str]:
    """What is refused, as `key: message`."""
    with pytest.raises(ValidationError) as caught:
        space_of(table)
    return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in caught.value.errors()]


def test_all_problems_of_a_table_are_listed_at_once() -> None:
    found = problems_of(
        """
        lerning_rate = 0.1
        epochs = 5
        optimizer = ["sgd", "admw"]
        cutout = []
        batch_size = {low = 1, high = 512}
        label_smoothing = {low = 0.3, high = 0.1}
        weight_decay = {low = 0.0, high = 0.1, log = true}
        rotation_degrees = {low = 0.0, high = 100.0, log = true, step = 10}
        step_epochs = {low = 1, high = 10, step = 4}
        crop_padding = {low = 0, high = 4, step = 0.5}
        momentum = {low = 0.5, hihg = 0.9}
        step_factor = {low = 0.1, high = 0.5, log = "yes"}
        cosine_epochs = {low = 0, high = 5, step = -1}
        flip = {low = false, high = true}
        mixup_alpha = "much"
        """
    )
    assert found == [
        "lerning_rate: no such key; did you mean learning_rate?",
        "epochs: no such key; set the run's max_epochs instead",
        "optimizer: 'admw' given; use sgd, nesterov, adam, adamw, adadelta or muon",
        "weight_decay.low: 0 given, but log needs a low above 0; raise it or leave log out",
        "momentum.hihg: no such key; did you mean high?",
        "momentum: the range has no high; give low and high",
        "batch_size.low: 1 given; use at least 2",
        "label_smoothing: 0.3 to 0.1 is an empty range; give a low below the high, or a single value",
        "cosine_epochs.step: -1 given; use a number above 0",
        "step_epochs.high: 10 given, but steps of 4 from 1 do not reach it; use 9 or 13",
        "step_factor.log: 'yes' given; use true or false",
        "crop_padding.step: 0.5 given, but the field takes whole numbers; use a whole number",
        "flip: a range given, but the field is not a number; give a list of choices",
        "cutout: the list is empty; give at least one value",
        "rotation_degrees.step: 10 given with log; leave one of them out",
        "mixup_alpha: 'much' given; use a number",
    ]


def test_values_that_contradict_each_other_are_refused_by_name_each_once() -> None:
    found = problems_of(
        """
        optimizer = ["sgd", "nesterov"]
        momentum = [0.9, 0]
        mixup_alpha = {low = 0, high = 0.5}
        cutmix_alpha = [0, 1]
        """
    )
    both, still = ": mixup_alpha 0.5 with cutmix_alpha 1", ": optimizer nesterov with momentum 0"
    mixed = "mixup_alpha: 0.5 given with cutmix_alpha 1, but a batch is mixed in one way only; set one of them to 0"
    unmoved = "momentum: 0 given with nesterov, which needs more than 0; raise it or use sgd"
    assert found == [
        f"{both} is a possible combination; {mixed}",
        f"{still} is a possible combination; {unmoved}",
    ]
    many = problems_of({"mixup_alpha": [0, 0.1, 0.2, 0.3, 0.4, 0.5], "cutmix_alpha": [0, 1, 2, 3]})
    assert len(many) == MAX_NAMED + 1
    assert many[-1] == f": {5 * 3 - MAX_NAMED} more contradictory combinations; use a family to set fields together"


def test_contradictions_of_two_values_are_found_among_any_number_of_combinations() -> None:
    lists = {"learning_rate": [i / 100 for i in range(1, 61)], "weight_decay": [i / 1000 for i in range(60)]}
    assert MAX_COMBINATIONS < 60 * 60 * 2 * 2
    (problem,) = problems_of(lists | {"optimizer": ["sgd", "nesterov"], "momentum": [0.9, 0]})
    assert problem.startswith(": optimizer nesterov with momentum 0 is a possible combination")


def test_values_that_contradict_the_number_of_epochs_are_named_by_what_causes_them() -> None:
    assert space_of({"warmup_epochs": 2}).problems_over(3) == []
    too_long = "warmup_epochs: 2 given for 2 epochs; use less than 2"
    assert space_of({"warmup_epochs": 2}).problems_over(2) == [too_long]
    space = space_of({"schedule": ["constant", "cosine"], "cosine_epochs": [0, 5], "warmup_epochs": [1, 6]})
    (problem,) = space.problems_over(20)
    named = "schedule cosine with warmup_epochs 6 with cosine_epochs 5 is a possible combination"
    assert problem == f"{named}; warmup_epochs: 6 given for 5 epochs; use less than 5"
    with pytest.raises(ConfigError, match=re.escape(f"recipe.{too_long}")):
        compose(None, None, {"max_epochs": 2}, ["recipe.warmup_epochs=2"])


def test_a_family_sets_its_fields_together_and_defaults_what_an_option_leaves_out() -> None:
    space = space_of(
        """
        optimizer = "sgd"
        [families.augmentation]
        cutout = {cutout = 16}
        mixup = {cutout = 0, mixup_alpha = 0.5}
        both = {mixup_alpha = 0.5}
        """
    )
    found = [(recipe.cutout, recipe.mixup_alpha) for recipe in space.in_order()]
    assert found == [(16, 0.0), (0, 0.5), (Recipe().cutout, 0.5)]


def test_what_a_family_may_not_say_is_listed_at_once() -> None:
    found = problems_of(
        """
        momentum = 0.9
        [families.update]
        sgd = {optimizer = "sgd", momentum = 0.8}
        adam = {optimizer = "adam"}
        [families.second]
        a = {optimizer = "sgd"}
        b = {optimizer = "adam"}
        [families.lonely]
        only = {cutout = 8}
        [families.flip]
        a = {flip = true}
        b = {flip = false}
        [families.wrong]
        a = {cutuot = 8, epochs = 3}
        b = {mixup_alpha = [0.1, 0.2], crop_padding = 99}
        [families.same]
        mixup = {mixup_alpha = 0.5}
        both = {mixup_alpha = 0.5, cutmix_alpha = 0}
        """
    )
    remedy = "for fields left out have their defaults; set a field that differs"
    assert found == [
        "families.update: momentum is set here and outside the family; set it in one place",
        "families.second: optimizer is set here and in families.update; set it in one place",
        "families.lonely: 1 option given; give at least two, or set its fields without a family",
        "families.flip: 'flip' given as the name of a family; use a name that no field has",
        "families.wrong.a.cutuot: no such key; did you mean cutout?",
        "families.wrong.a.epochs: no such key; set the run's max_epochs instead",
        "families.wrong.b.mixup_alpha: [0.1, 0.2] given; use a single value in an option",
        "families.wrong.b.crop_padding: 99 given; use at most 16",
        f"families.same: both is the same as mixup (mixup_alpha 0.5, cutmix_alpha 0), {remedy}",
    ]
    assert problems_of({"families": 3}) == ["families: 3 given; give a table of families"]
    message = "families.a: not a table of options; write each as option = {field = value, ...}"
    assert problems_of({"families": {"a": {"b": 3, "c": 4}}}) == [message]
    assert problems_of({"families": {"a": {"b": {}, "c": {}}}})[0].startswith("families.a: c is the same as b")


def test_a_data_sets_defaults_lie_under_the_table_and_under_the_options_of_a_family() -> None:
    defaults = {"cutout": 0, "flip": False, "batch_size": 64}
    given = {
        "batch_size": {"low": 32, "high": 64},
        "families": {"augmentation": {"cutout": {"cutout": 8}, "mixup": {"mixup_alpha": 0.5}}},
    }
    space = space_of(over_defaults(given, defaults))
    recipes = list(space.in_order())
    assert {(r.cutout, r.mixup_alpha) for r in recipes} == {(8, 0.0), (0, 0.5)}
    assert {r.flip for r in recipes} == {False}
    assert {r.batch_size for r in recipes} == set(range(32, 65))
    assert space_of(over_defaults({}, defaults)).fixed == Recipe.model_validate(defaults)
    assert problems_of(over_defaults({"families": {"a": 3}}, defaults))[0].startswith("families.a: not a table")


def test_problems_keep_their_keys_inside_a_configuration() -> None:
    class Outer(BaseModel):
        recipe: RecipeSpace = RecipeSpace()

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"recipe": {"momentum": 3, "families": {"a": {"b": {"cutuot": 1}, "c": {}}}}})
    assert [item["loc"] for item in caught.value.errors()] == [
        ("recipe", "families", "a", "b", "cutuot"),
        ("recipe", "momentum"),
    ]
    assert {item["type"] for item in caught.value.errors()} == {"value_error"}
    assert Outer(recipe=space_of({"momentum": [0.5, 0.6]})).recipe == space_of({"momentum": [0.5, 0.6]})
