"""What a wrong configuration is told: one line that names the key, the value, the limit and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.wording import USUAL_NAMES
from search.config import compose
from search.config.reference import all_keys
from search.errors import ConfigError

SETS = {
    "space.blocks=[]": "space.blocks: [] given; use a list of 2 values such as [1, 16]",
    "space.blocks=[1]": "space.blocks: [1] given; use a list of 2 values such as [1, 16]",
    "space.blocks=[1,2,3]": "space.blocks: [1, 2, 3] given; use a list of 2 values such as [1, 16]",
    "space.blocks=3": "space.blocks: 3 given; use a list of 2 values such as [1, 16]",
    "space.blocks={a=1}": "space.blocks: {'a': 1} given; use a list of 2 values such as [1, 16]",
    'space.blocks=["a",2]': "space.blocks.0: 'a' given; use a whole number",
    "space.stages=3": "space.stages: 3 given; use a list such as [3, 4]",
    "space.stages=[]": "space.stages: the list is empty; give at least one value",
    "space.stages=[7]": "space.stages.0: 7 given; use at most 6",
    "space.conv_biases=true": "space.conv_biases: True given; use a list such as [false]",
    "space.conv_biases=[3]": "space.conv_biases.0: 3 given; use true or false",
    "space.kernels=[4]": "space.kernels.0: 4 given; use 3, 5 or 7",
    "space.min_depth=[1]": "space.min_depth: [1] given; use a whole number",
    "warm_start=earlier": "warm_start: 'earlier' given; use a list",
    "trials=1.5": "trials: 1.5 given; use a whole number",
    "gpus_per_trial=half": "gpus_per_trial: 'half' given; use 0 to 1, which is the share of one GPU, or auto",
    "space=3": "space: 3 given; use a table of keys",
    "learning_rate=0.1": "learning_rate: no such key; did you mean recipe.learning_rate?",
    "max_params=5": "max_params: no such key; did you mean space.max_params?",
    "space.optimizer=sgd": "space.optimizer: no such key; did you mean recipe.optimizer?",
    "space.chanels=[3]": "space.chanels: no such key; did you mean channels?",
    "max_epoch=3": "max_epoch: no such key; did you mean max_epochs?",
    "lr=0.1": "lr: no such key; did you mean recipe.learning_rate?",
    "recipe.lr=0.1": "recipe.lr: no such key; did you mean learning_rate?",
    "space.lr=0.1": "space.lr: no such key; did you mean recipe.learning_rate?",
    "BS=64": "BS: no such key; did you mean recipe.batch_size?",
    "recipe.wd=0": "recipe.wd: no such key; did you mean weight_decay?",
    "widths=[16]": "widths: no such key; did you mean space.channels?",
    "space.widths=[16]": "space.widths: no such key; did you mean space.channels?",
    "recipe.layers=3": "recipe.layers: no such key; did you mean space.blocks?",
    "depth=3": "depth: no such key; did you mean space.blocks?",
    "epochs=3": "epochs: no such key; did you mean max_epochs?",
    "space.trials=3": "space.trials: no such key; did you mean trials outside of [space]?",
    "learning_rat=1": "learning_rat: no such key; did you mean recipe.learning_rate?",
    "qwxz=1": "qwxz: no such key; python -m search.run --keys lists them all",
    "space.qwxz=1": "space.qwxz: no such key; python -m search.run --keys space lists them all",
    "recipe.qwxz=1": "recipe.qwxz: no such key; python -m search.run --keys recipe lists them all",
    "max_epochs=0": "max_epochs: 0 given; use at least 1",
    "max_epochs=-3": "max_epochs: -3 given; use at least 1",
    "data_dir=3": "data_dir: 3 given; use a string",
    "recipe.first_image_size=16": (
        "recipe.first_image_size: 16 given, the images have 16x16 pixels; use less than 16, or 0"
    ),
    "recipe.first_image_size=[0,8,24]": (
        "recipe.first_image_size: 24 given, the images have 16x16 pixels; use less than 16, or 0"
    ),
    "recipe.first_image_size={low=8,high=20,step=4}": (
        "recipe.first_image_size: 20 given, the images have 16x16 pixels; use less than 16, or 0"
    ),
    "recipe.families.size={small={first_image_size=32},full={}}": (
        "recipe.first_image_size: 32 given, the images have 16x16 pixels; use less than 16, or 0"
    ),
    "recipe.mix_strength=growing,fading": (
        "recipe.mix_strength: 'growing,fading' given; use constant, growing or fading"
    ),
}
PREDICATES = {
    "no_such_module.even": "there is no module 'no_such_module'; run the command where it is, or set PYTHONPATH",
    "tests.no_such.even": "there is no module 'tests.no_such'; run the command where it is, or set PYTHONPATH",
    "math.no_such": "module 'math' has no 'no_such'; check its name",
    "tests.support.zoo_fixtures.evn": "module 'tests.support.zoo_fixtures' has no 'evn'; did you mean 'even'?",
    "math.pi": "it has type float; name a function that takes a layout",
    "even": "use the import path of a function, package.module.function",
    "a/b.py": "use the import path of a function, package.module.function",
    "": "use the import path of a function, package.module.function",
}


def told(file: Path | None = None, space: Path | None = None, *sets: str) -> str:
    with pytest.raises(ConfigError) as raised:
        compose(file, space, {}, sets)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("assignment", SETS)
def test_a_wrong_value_names_key_value_and_remedy(assignment: str) -> None:
    assert told(None, None, assignment) == SETS[assignment]


@pytest.mark.parametrize("name", USUAL_NAMES)
def test_every_other_name_leads_to_a_key_and_is_none_itself(name: str) -> None:
    keys = {key.name for key in all_keys({})}
    assert USUAL_NAMES[name] in keys
    assert name not in keys
    for table in ("", "space.", "recipe."):
        if f"{table}{name}" not in keys:
            meant = USUAL_NAMES[name].removeprefix(table if table == "recipe." else "")
            assert f"{table}{name}: no such key; " in (said := told(None, None, f"{table}{name}=1"))
            assert meant in said


@pytest.mark.parametrize("path", PREDICATES)
def test_a_wrong_path_of_a_predicate_names_what_is_not_found(path: str) -> None:
    assert told(None, None, f"space.predicate={path}") == f"space.predicate: {path!r} given; {PREDICATES[path]}"


def test_a_module_that_fails_to_be_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_rule.py").write_text("def even(layout:\n")
    (tmp_path / "hungry_rule.py").write_text("import no_such_library\n")
    shown = told(None, None, "space.predicate=broken_rule.even")
    assert "'broken_rule.even' given; importing module 'broken_rule' failed (SyntaxError: " in shown
    shown = told(None, None, "space.predicate=hungry_rule.even")
    assert "importing module 'hungry_rule' failed (ModuleNotFoundError: No module named 'no_such_library')" in shown


def test_a_file_given_for_another_is_told_where_it_belongs(tmp_path: Path) -> None:
    space, whole, recipe = (tmp_path / name for name in ("space.toml", "whole.toml", "recipe.toml"))
    space.write_text("max_params = 30_000\nstages = [2]\n")
    whole.write_text('dataset = "digits"\n[space]\nmax_params = 30_000\n[recipe]\nflip = false\n')
    recipe.write_text('optimizer = "sgd"\nlearning_rate = 0.1\n')
    assert compose(whole, space, {}, []).space.stages == (2,)
    assert told(space) == (
        f"{space}: max_params, stages at the top level: keys of [space]; put them under that heading, "
        f"or give {space} with --space"
    )
    assert told(None, whole) == (
        f"{whole}: dataset, space, recipe at the top level: not keys of a space; give {whole} with --config, "
        "or keep only the keys of [space] in it"
    )
    assert told(recipe) == (
        f"{recipe}: optimizer, learning_rate at the top level: keys of [recipe]; put them under that heading"
    )
    remedy = "not keys of a space; put them under [recipe] in a file for --config"
    assert told(None, recipe) == f"{recipe}: optimizer, learning_rate at the top level: {remedy}"
