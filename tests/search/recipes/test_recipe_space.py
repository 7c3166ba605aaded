"""The space of recipes: order, size, draws and encoding against brute force."""

import itertools
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from scipy import stats

from search.config import compose
from search.config.notes import notes_on
from search.errors import ConfigError
from search.recipes import RecipeSpace
from search.recipes.neighbours import Values
from search.sampling.joint_space import recipe_dimensions
from tests.support.cli import ROOT
from tests.support.examples import examples
from tests.support.recipe_fixtures import INFINITE, finite_tables, products, space_of
from trainables.recipe import Recipe


@examples(30)
@given(table=finite_tables)
def test_the_order_holds_each_recipe_that_trains_differently_once(table: dict[str, Any]) -> None:
    space = space_of(table)
    expected = {recipe.canonical() for _, recipe in products(table)}
    listed = list(space.in_order())
    assert Counter(listed) == Counter(expected)
    assert listed == list(space_of(table).in_order())
    assert space.size == len(expected)
    assert space.fixed == (listed[0] if len(listed) == 1 else None)


@examples(30)
@given(table=finite_tables)
def test_encoding_inverts_decoding_and_is_the_same_for_recipes_that_train_alike(table: dict[str, Any]) -> None:
    space = space_of(table)
    encoded: dict[Recipe, Values] = {}
    for _, recipe in products(table):
        values = space.encode(recipe)
        assert values is not None
        assert space.why_not(recipe) is None
        assert space.decode(values) == recipe.canonical()
        assert encoded.setdefault(recipe.canonical(), values) == values
        assert list(values) == list(recipe_dimensions(space))
        assert all(dim._contains(dim.to_internal_repr(values[name])) for name, dim in recipe_dimensions(space).items())
    assert len({tuple(values.values()) for values in encoded.values()}) == len(encoded)


def test_a_range_that_no_recipe_reads_is_neither_infinite_nor_walked() -> None:
    space = space_of('optimizer = "adam"\nmomentum = {low = 0.1, high = 0.9}\nflip = [true, false]')
    assert space.size == 2
    assert set(space.in_order()) == {recipe for _, recipe in space.nearby({"momentum": 0.3, "flip": 1})}
    assert space_of('optimizer = "adam"\nmomentum = {low = 0.1, high = 0.9}').fixed == Recipe(optimizer="adam")


def test_a_vast_space_is_counted_and_asked_without_a_walk() -> None:
    lists: dict[str, Any] = {
        "learning_rate": [i / 1000 for i in range(1, 101)],
        "weight_decay": [i / 10000 for i in range(100)],
        "batch_size": {"low": 2, "high": 65536},
        "momentum": [0.5, 0.6, 0.7],
        "optimizer": ["sgd", "adam"],
        "schedule": ["step", "constant"],
        "step_epochs": {"low": 1, "high": 20},
    }
    space = space_of(lists)
    assert space.size == 100 * 100 * 65535 * (3 + 1) * (20 + 1)
    assert len(list(itertools.islice(space.in_order(), 50))) == 50
    nearest = list(itertools.islice(space.nearby({"batch_size": 100, "learning_rate": 50}), 50))
    # What the proposal leaves out is free, so all of it comes at distance 0.
    assert {(away, recipe.batch_size, recipe.learning_rate) for away, recipe in nearest} == {(0.0, 100, 0.051)}


def test_draws_are_uniform_over_every_dimension() -> None:
    space = space_of(
        """
        optimizer = ["sgd", "nesterov", "adam"]
        flip = [true, false]
        label_smoothing = {low = 0.0, high = 0.3, step = 0.1}
        families.augmentation = {cutout = {cutout = 8}, mixup = {cutout = 0, mixup_alpha = 0.5}}
        """
    )
    generator = np.random.default_rng(7)
    counts = Counter(space.draw(generator) for _ in range(4800))
    assert set(counts) == set(space.in_order())
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_draws_from_ranges_follow_their_scale() -> None:
    space = space_of(
        """
        learning_rate = {low = 0.001, high = 1.0, log = true}
        momentum = {low = 0.5, high = 0.9}
        batch_size = {low = 2, high = 9, log = true}
        """
    )
    generator = np.random.default_rng(3)
    drawn = [space.draw(generator) for _ in range(3000)]
    rates = [recipe.learning_rate for recipe in drawn]
    assert stats.kstest(rates, stats.loguniform(0.001, 1.0).cdf).pvalue > 0.001
    assert stats.kstest([recipe.momentum for recipe in drawn], stats.uniform(0.5, 0.4).cdf).pvalue > 0.001
    # A whole number owns what is rounded to it, on the logarithmic scale from 1.5 to 9.5.
    sizes = range(2, 10)
    shares = [math.log((n + 0.5) / (n - 0.5)) / math.log(9.5 / 1.5) for n in sizes]
    counts = Counter(recipe.batch_size for recipe in drawn)
    assert stats.chisquare([counts[n] for n in sizes], [3000 * share for share in shares]).pvalue > 0.001


def test_optuna_proposes_values_that_decode_to_recipes_of_the_space() -> None:
    space = space_of(INFINITE + "rotation_degrees = {low = 0, high = 0.3, step = 0.1}")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(50):
        trial = study.ask(recipe_dimensions(space))
        recipe = space.decode(trial.params)
        assert space.why_not(recipe) is None
        assert recipe.rotation_degrees in (0.0, 0.1, 0.2, 0.3)
        assert recipe.learning_rate == trial.params["learning_rate"]
        study.tell(trial, 0.0)


def test_dimensions_are_flat_and_numeric() -> None:
    space = space_of(INFINITE + 'schedule = ["step"]\nflip = [true, false]\nfamilies.hats = {a = {cutout = 0}, b = {}}')
    ints, floats = optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution
    assert recipe_dimensions(space) == {
        "optimizer": ints(0, 1),
        "learning_rate": floats(0.01, 0.5, log=True),
        "momentum": floats(0.8, 0.99),
        "batch_size": ints(64, 512, step=64),
        "flip": ints(0, 1),
        "hats": ints(0, 1),
    }
    assert space.describe() == [
        ("optimizer", "sgd, adam"),
        ("learning_rate", "0.01 to 0.5, log"),
        ("momentum", "0.8 to 0.99"),
        ("batch_size", "64 to 512 by 64"),
        ("flip", "false, true"),
        ("hats", "a, b"),
    ]


def test_an_empty_table_is_the_default_recipe_and_fields_are_those_of_the_recipe() -> None:
    space = RecipeSpace()
    assert (space.fixed, space.size, recipe_dimensions(space)) == (Recipe(), 1, {})
    assert space.model_dump(mode="json") == Recipe().model_dump(mode="json")
    assert list(space.in_order()) == [Recipe()] == [recipe for _, recipe in space.nearby({})]
    for recipe in (Recipe(optimizer="adam", batch_size=5, flip=False), Recipe(schedule="constant", cutout=0)):
        assert space_of(recipe.model_dump(mode="json")).fixed == recipe.canonical()


@examples(30)
@given(table=finite_tables)
def test_a_space_survives_its_json_and_equals_its_copy(table: dict[str, Any]) -> None:
    space = space_of(table)
    for copy in (
        RecipeSpace.model_validate(space.model_dump(mode="json")),
        RecipeSpace.model_validate_json(space.model_dump_json()),
    ):
        assert copy == space
        assert hash(copy) == hash(space)
        assert list(copy.in_order()) == list(space.in_order())
    assert space != space_of(table | {"dropout": 0.5})


def test_ranges_survive_their_json_and_order_of_numbers_is_theirs() -> None:
    space = space_of(INFINITE + "cutout = [16, 0, 8, 8]")
    assert space_of(space.model_dump(mode="json")) == space
    assert space == space_of("cutout = [0, 8, 16]" + INFINITE)
    assert space != space_of("cutout = [0, 8, 16]" + INFINITE.replace("0.5", "0.4"))


def test_why_a_recipe_is_not_of_the_space_names_its_first_field() -> None:
    space = space_of(
        """
        optimizer = ["sgd", "nesterov"]
        learning_rate = {low = 0.01, high = 0.5, log = true}
        batch_size = {low = 64, high = 512, step = 64}
        flip = true
        families.augmentation = {cutout = {cutout = 8}, mixup = {cutout = 0, mixup_alpha = 0.5}}
        """
    )
    for changes, reason in (
        ({"optimizer": "adam"}, "optimizer 'adam' is not among sgd, nesterov"),
        ({"optimizer": "adam", "flip": False}, "optimizer 'adam' is not among sgd, nesterov"),
        ({"learning_rate": 0.7}, "learning_rate 0.7 is not in 0.01 to 0.5, log"),
        ({"batch_size": 100}, "batch_size 100 is not in 64 to 512 by 64"),
        ({"flip": False}, "flip false is not true"),
        ({"head_init": "xavier-normal"}, "head_init 'xavier-normal' is not uniform"),
        ({"mixup_alpha": 0.5}, "augmentation: cutout 8, mixup_alpha 0.5 matches none of cutout, mixup"),
    ):
        recipe = Recipe.model_validate(changes)
        assert space.why_not(recipe) == reason
        assert space.encode(recipe) is None
    assert space.why_not(Recipe(optimizer="sgd", step_epochs=3)) is None  # rung-annealed does not read it


def test_values_outside_a_dimension_are_refused_and_other_names_passed_over() -> None:
    space = space_of(INFINITE)
    for values, message in (
        ({"optimizer": 2}, "optimizer: option 2 given, but there are 2; use 0 to 1"),
        ({"optimizer": -1}, "optimizer: option -1 given, but there are 2; use 0 to 1"),
        ({"learning_rate": 0.7}, "learning_rate: 0.7 given, but the range is 0.01 to 0.5, log; use 0.5"),
        ({"batch_size": 100}, "batch_size: 100 given, but the range is 64 to 512 by 64; use 128"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            space.decode(values)
    assert space.decode({"optimizer": 1, "blocks_1": 7}).optimizer == "adam"


def test_a_grid_over_a_range_is_refused_by_its_name() -> None:
    space = space_of(INFINITE)
    assert space.size is None
    assert space.fixed is None
    with pytest.raises(
        ConfigError, match=r"grid cannot list every value of the range recipe\.learning_rate; use a list"
    ):
        space.in_order()


SEED_B = """
learning_rate = [0.1, 0.01]
weight_decay = 5e-4
schedule = "cosine-step"
warmup_epochs = 0
cosine_epochs = 50
step_epochs = 80
step_factor = 0.1
rotation_degrees = 10
patience_epochs = 5
[families.update]
sgd = {optimizer = "sgd"}
nesterov = {optimizer = "nesterov"}
adadelta = {optimizer = "adadelta"}
"adadelta, clipped" = {optimizer = "adadelta", adaptive_clipping = 0.01}
[families.augmentation]
cutout = {cutout = 8}
mixup = {cutout = 0, mixup_alpha = 0.5}
"cutout and mixup" = {cutout = 8, mixup_alpha = 0.5}
cutmix = {cutout = 0, cutmix_alpha = 1}
"""


def test_bundles_of_optimizers_and_augmentations_make_one_grid() -> None:
    space = space_of(SEED_B)
    assert space.size == 2 * 4 * 4 == len(list(space.in_order()))
    assert ("update", 'sgd, nesterov, adadelta, "adadelta, clipped"') in space.describe()


def test_a_configuration_can_hold_a_recipe_space_without_optuna() -> None:
    code = "import sys, search.recipes.space; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert "search.recipes.dimensions" in loaded.split()
    assert not {"optuna", "torch", "ray", "pandas"} & set(loaded.split())


@examples(30)
@given(table=finite_tables)
def test_fields_that_no_recipe_reads_are_told(table: dict[str, Any]) -> None:
    usual = set(Recipe().model_dump().items())
    given = {name for _, recipe in products(table) for name, _ in set(recipe.model_dump().items()) - usual}
    never = frozenset.intersection(*(recipe.unread for _, recipe in products(table)))
    assert set(space_of(table).unread) == given & never


def test_a_note_says_what_a_field_is_read_with() -> None:
    sets = [
        *("recipe.optimizer=[adam,adamw]", "recipe.learning_rate=0.001", "recipe.momentum=0.5"),
        "recipe.lookahead_share={low=0.2,high=0.8}",
    ]
    notes = [
        "note: recipe.momentum has no effect here; it needs optimizer sgd, nesterov or muon",
        "note: recipe.lookahead_share has no effect here; it needs lookahead_steps above 0",
    ]
    assert notes_on(compose(None, None, {"dataset": "cifar10"}, sets)) == notes
    assert notes_on(compose(None, None, {"dataset": "cifar10"}, [*sets, "recipe.optimizer=[adam,muon]"])) == notes[1:]


@pytest.mark.parametrize(
    ("optimizer", "rate", "told"),
    [
        ("adamw", "0.1", ["adamw"]),
        ("[sgd,adam,adamw]", "{low=0.05,high=0.2}", ["adam", "adamw"]),
        ("[sgd,adamw]", "[0.1,0.001]", []),
        ("[nesterov,muon,adadelta]", "0.1", []),
    ],
)
def test_a_rate_that_is_much_for_its_optimizer_is_told(optimizer: str, rate: str, told: list[str]) -> None:
    notes = notes_on(compose(None, None, {}, [f"recipe.optimizer={optimizer}", f"recipe.learning_rate={rate}"]))
    lowest = "0.05" if "low" in rate else "0.1"
    assert [note for note in notes if "usual" in note] == [
        f"note: recipe.learning_rate: {lowest} or more is high for {name}, whose usual rate is 0.001" for name in told
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("learning_rate=[0.1,0.001]", "learning_rate: [0.001, 0.1] are two choices"),
        ("weight_decay=[1e-5,1e-3]", "weight_decay: [1e-05, 0.001] are two choices"),
        ("learning_rate=[0.01,0.1]", "a range is {low = 0.01, high = 0.1, log = true}"),
        ("learning_rate=[0.02,0.1]", None),
        ("learning_rate=[0.001,0.01,0.1]", None),
        ("learning_rate={low=0.001,high=0.1}", None),
        ("learning_rate={low=0.1,high=1.1,step=1.0}", None),
        ("mixup_alpha=[0,0.2]", None),
        ("batch_size=[16,256]", None),
        ("families.rate={slow={learning_rate=0.001},fast={learning_rate=0.1}}", None),
    ],
)
def test_two_values_far_apart_may_be_meant_as_a_range(given: str, told: str | None) -> None:
    notes = [note for note in notes_on(compose(None, None, {}, [f"recipe.{given}"])) if "two choices" in note]
    assert len(notes) == (told is not None)
    assert told is None or told in notes[0]
    assert "two choices" not in str(
        notes_on(compose(None, None, {"sampler": "grid"}, ["recipe.learning_rate=[0.1,0.001]"]))
    )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_configurations_set_nothing_that_is_not_read(path: Path) -> None:
    assert compose(path, None, {}, []).recipe.unread == []
