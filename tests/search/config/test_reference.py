"""The reference of the configuration's keys: every field is in it, as the models have it, and the page is current."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from search.config import RunConfig, compose
from search.config.reference import FOLLOWING, Key, all_keys, as_markdown, as_text, keys_with_prefix
from search.errors import ConfigError
from search.layouts import LayoutSpace
from search.run import key_flags
from tests.support.cli import ROOT, run
from trainables.data.datasets import DATASETS
from trainables.recipe import Recipe

PAGE = ROOT / "docs" / "configuration.md"
FLAGS = key_flags()
KEYS = {key.name: key for key in all_keys(FLAGS)}
FIELDS = [
    *(name for name in RunConfig.model_fields if name not in ("space", "recipe")),
    *(f"space.{name}" for name in LayoutSpace.model_fields),
    *(f"recipe.{name}" for name in Recipe.model_fields),
]


def test_every_field_of_the_models_has_its_key_and_says_what_it_does() -> None:
    assert [*FIELDS, "recipe.families"] == list(KEYS)
    assert [name for name, key in KEYS.items() if not key.text.endswith(".")] == []
    assert set(KEYS) >= FOLLOWING.keys()


@pytest.mark.parametrize("name", KEYS)
def test_the_page_has_every_key_with_its_words(name: str) -> None:
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    plain = row.replace("`", "")
    key = KEYS[name]
    words = (key.follows,) if key.follows else (key.flag, key.value, key.default)
    assert all(text in plain for text in (key.text, *words))


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == as_markdown(all_keys(FLAGS))
    outcome = run("search.keys", PAGE, "--check", cwd=ROOT)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_a_page_that_is_not_current_is_one_line_and_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "configuration.md"
    for content, found in ((None, "does not exist"), (PAGE.read_text() + "more\n", "is not current")):
        if content is not None:
            page.write_text(content)
        outcome = run("search.keys", page, "--check", cwd=tmp_path)
        assert (outcome.returncode, outcome.stdout) == (1, "")
        assert outcome.stderr == f"error: {page} {found}; run make docs\n"
        assert page.exists() == (content is not None)
    assert run("search.keys", page, cwd=tmp_path).returncode == 0
    assert page.read_text() == PAGE.read_text()


@pytest.mark.parametrize(
    ("name", "flag", "value", "default"),
    [
        ("trials", "--trials", "whole number, 1 to 1,000,000", "100; digits: 12"),
        ("time_budget_s", "--time-budget", "number, more than 0", "not set"),
        ("gpus_per_trial", "--gpus-per-trial", "number, 0 to 1, or auto", "0"),
        ("seed", "--seed", "whole number, 0 to 2,147,483,647", "0"),
        ("reuse", "--reuse", "list of strings", "none"),
        ("sampler", "--sampler", "one of tpe, gp, random, grid, or string", "tpe"),
        ("space.max_params", "--max-params", "whole number, 1 to 2^62", None),
        ("space.blocks", "", "list of 2 whole numbers, each at least 1", None),
        ("space.stages", "", "list of whole numbers, each 2 to 6", "[3, 4]; digits: [2, 3]"),
        ("space.kernels", "", "list, each one of 3, 5, 7", "[3]"),
        ("space.conv_biases", "", "list of true or false", "[false]"),
        ("space.predicate", "", "import path of a function", "not set"),
        ("recipe.momentum", "", "number, at least 0 and less than 1", "0.9"),
        ("recipe.step_factor", "", "number, more than 0 and at most 1", "0.333"),
        ("recipe.flip", "", "true or false", "true; digits, mnist, svhn: false"),
    ],
)
def test_types_limits_and_defaults_are_in_words(name: str, flag: str, value: str, default: str | None) -> None:
    key = KEYS[name]
    assert (key.flag, key.value) == (flag, value)
    assert default is None or key.default == default


def test_a_field_that_not_every_recipe_reads_says_which_does() -> None:
    assert KEYS["recipe.momentum"].text.endswith(" Used only with optimizer sgd, nesterov or muon.")
    assert KEYS["recipe.lookahead_share"].text.endswith(" Used only with lookahead_steps above 0.")


def test_the_data_sets_are_named() -> None:
    assert set(re.findall(r"[\w-]+", KEYS["dataset"].text)) >= set(DATASETS)


def test_the_limits_are_those_that_the_configuration_enforces() -> None:
    for key in KEYS.values():
        found = re.search(r"^whole number, (?:(\d+) to ([\d,]+)|at least (\d+))$", key.value)
        if found is None or key.follows or key.name == "image_size":  # which the data set refuses first
            continue
        low, high = int(found[1] or found[3]), found[2] and int(found[2].replace(",", ""))
        for wrong in [low - 1, *([high + 1] if high else [])]:
            with pytest.raises(ConfigError, match=rf"{re.escape(key.name)}: {wrong} given; use "):
                compose(None, None, {}, [f"{key.name}={wrong}"])


def test_the_example_of_a_family_is_one() -> None:
    example = re.search(r"Example: (recipe\.families\.\w+ = \{.*\})\.$", KEYS["recipe.families"].text)
    assert example is not None
    content = tomllib.loads(example[1])
    assert len(compose(None, None, content, []).recipe.searched) == 1


def test_the_flags_are_those_of_the_command() -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", run("search.run", "--help", cwd=ROOT).stdout))
    assert set(FLAGS.values()) <= known
    assert len(set(FLAGS.values())) == len(FLAGS)


def test_keys_prints_the_reference_and_launches_nothing(tmp_path: Path) -> None:
    whole = run("search.run", "--keys", cwd=tmp_path)
    assert (whole.returncode, whole.stderr) == (0, "")
    heads = [line.partition(" ")[0] for line in whole.stdout.splitlines() if line and not line.startswith(" ")]
    assert heads == list(KEYS)
    assert max(map(len, whole.stdout.splitlines())) <= 100
    part = run("search.run", "--keys", "space.channels", cwd=tmp_path)
    assert part.stdout == as_text([KEYS["space.channels"]], 100) + "\n"
    assert part.stdout.startswith(
        "space.channels\n  Widths a stage may have.\n  Value: list of whole numbers, each 1 to"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_takes_the_keys_that_start_with_it() -> None:
    def names(prefix: str) -> list[str]:
        return [key.name for key in keys_with_prefix(KEYS.values(), prefix)]

    assert names("") == list(KEYS)
    assert names("recipe") == [name for name in KEYS if name.startswith("recipe.")]
    assert names("max") == ["max_epochs", "max_retries"]


@pytest.mark.parametrize(
    ("prefix", "nearest"),
    [
        *(("optimizer", "recipe.optimizer"), ("space.chanels", "space.channels"), ("trails", "trials")),
        *(("lr", "recipe.learning_rate"), ("space.widths", "space.channels"), ("qwxz", None)),
    ],
)
def test_an_unknown_prefix_is_one_line_with_the_key_meant(prefix: str, nearest: str | None, tmp_path: Path) -> None:
    outcome = run("search.run", "--keys", prefix, cwd=tmp_path)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    meant = f"did you mean {nearest}?" if nearest else "--keys alone lists them all"
    assert outcome.stderr == f"error: no key starts with '{prefix}'; {meant}\n"


def test_an_argument_without_keys_is_refused(tmp_path: Path) -> None:
    outcome = run("search.run", "cifar10", cwd=tmp_path)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("error: unexpected argument 'cifar10'; ")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_cannot_be_given_says_why() -> None:
    key = Key("space.classes", "", "whole number", "10", "Number of classes.", "taken from the data set")
    assert as_text([key], 80) == "space.classes\n  Number of classes.\n  Cannot be given: taken from the data set."
