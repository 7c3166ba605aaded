"""The shipped configurations: each is valid, says what it would do, and runs, scaled down, to a leaderboard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_zoo import PRESETS, count_params
from search.config import RunConfig, compose
from search.layouts import count_feasible, enumerate_layouts
from search.sampling import JointSpace
from tests.support.cli import ROOT, run
from trainables.recipe import Recipe
from trainables.schedule import learning_rate

CONFIGS = sorted(ROOT.glob("configs/**/*.toml"))


def composed(name: str) -> RunConfig:
    return compose(ROOT / "configs" / f"{name}.toml", None, {}, [])


def recipes(name: str) -> list[Recipe]:
    return list(composed(name).recipe.in_order())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_is_valid_and_holds_something_to_search(path: Path) -> None:
    config = compose(path, None, {}, [])
    size = JointSpace(config.space, config.recipe).size
    assert config.sampler != "grid" or (size or 0) * config.replicates == config.trials
    assert next(enumerate_layouts(config.space), None) is not None


@pytest.mark.search
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_says_what_it_would_do_and_runs_scaled_down(path: Path, tmp_path: Path) -> None:
    planned = run("search.run", "--config", path, "--dry-run", "--json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["trials"] == compose(path, None, {}, []).trials
    smaller = ("--dataset=digits", "--train-images=96", "--max-epochs=1", "--grace-epochs=1", "--trials=2")
    here = ("--gpus-per-trial=0", "--cpus-per-trial=1", "--min-params=0", "--max-params=12000000", "--quiet", "--json")
    warmup = "--set=recipe.warmup_epochs=0"  # which may be longer than this one epoch
    done = run("search.run", "--config", path, "--name=small", *smaller, warmup, *here, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)["leaderboard"]
    assert [row["rank"] for row in board] == list(range(1, len(board) + 1))
    assert {row["status"] for row in board} == {"completed"}


def test_seed_a_is_the_grid_of_its_45_models() -> None:
    config = composed("arora")
    assert set(config.space.listed_layouts) == {preset for name, preset in PRESETS.items() if name.startswith("arora")}
    grid = recipes("arora")
    assert {(r.optimizer, r.learning_rate) for r in grid} == {
        (optimizer, rate) for optimizer in ("adam", "sgd", "adadelta") for rate in (0.1, 0.01, 0.001)
    }
    assert len(grid) * count_feasible(config.space) == config.trials == 45
    one = grid[0]
    assert (config.max_epochs, one.batch_size, one.crop_padding, one.flip, one.rotation_degrees) == (
        70,
        256,
        2,
        True,
        5.0,
    )
    assert (one.schedule, one.step_epochs, one.step_factor) == ("step", 20, 1 / 3)
    assert (one.conv_init, one.head_init, one.keep_last_batch) == ("torch", "torch", True)


def test_seed_a_s_best_model_is_its_resnet_10_under_one_cycle() -> None:
    (recipe,) = recipes("arora-one-cycle")
    assert composed("arora-one-cycle").space.listed_layouts == (PRESETS["arora-resnet10"],)
    assert (recipe.optimizer, recipe.learning_rate, recipe.schedule) == ("sgd", 0.1, "one-cycle")


def test_seed_b_is_its_table_of_layouts_with_every_optimizer_rate_schedule_and_augmentation() -> None:
    config = composed("cerberus")
    assert set(config.space.listed_layouts) == {
        preset for name, preset in PRESETS.items() if name.startswith("cerberus")
    }
    grid = recipes("cerberus")
    assert len(grid) == 4 * 2 * 3 * 4
    assert {(r.optimizer, r.adaptive_clipping > 0) for r in grid} == {
        ("sgd", False), ("nesterov", False), ("adadelta", False), ("adadelta", True)
    }  # fmt: skip
    assert {(r.cutout, r.mixup_alpha, r.cutmix_alpha, r.mix_probability) for r in grid} == {
        (8, 0, 0, 1), (0, 0.5, 0, 1), (8, 0.5, 0, 1), (0, 0, 1.0, 0.5)
    }  # fmt: skip
    assert {r.learning_rate for r in grid} == {0.1, 0.01}
    assert {(r.schedule, r.cosine_epochs, r.step_epochs, r.milestones) for r in grid} == {
        ("milestones", 0, 20, "81,151"), ("cosine", 50, 20, "82,123"), ("step", 0, 80, "82,123")
    }  # fmt: skip
    assert {r.step_factor for r in grid if r.schedule != "cosine"} == {0.1}
    assert {(config.max_epochs, r.batch_size, r.weight_decay, r.patience_epochs, r.rotation_degrees) for r in grid} == {
        (200, 128, 5e-4, 0, 10.0)
    }


def test_the_anchor_s_is_resnet_26_by_the_recipe_that_reached_97() -> None:
    config = composed("recipes/resnet26-97")
    (recipe,) = recipes("recipes/resnet26-97")
    (layout,) = config.space.listed_layouts
    assert (layout.blocks, layout.channels, count_params(layout)) == ((4, 5, 3), (64, 128, 256), 4_992_586)
    assert (config.replicates, config.trials, config.max_epochs, recipe.batch_size) == (3, 3, 200, 128)
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == ("sgd", 0.1, 0.9, 5e-4)
    assert (recipe.lookahead_steps, recipe.lookahead_share, recipe.label_smoothing) == (5, 0.5, 0.2)
    assert (recipe.policy, recipe.cutout, recipe.schedule, recipe.cosine_epochs) == ("autoaugment", 8, "cosine", 0)


@pytest.mark.parametrize(
    ("name", "most"),
    [("recipes/resnet26-97", 5_000_000), ("recipes/fast-95", 5_000_000), ("recipes/small-200k", 200_000)],
)
def test_a_recipe_s_layout_is_within_its_budget_and_ends_annealed(name: str, most: int) -> None:
    config = composed(name)
    (recipe,) = recipes(name)
    assert [count_params(layout) <= most for layout in config.space.listed_layouts] == [True]
    assert config.rungs == (config.max_epochs,)
    assert learning_rate(recipe, 10 * config.max_epochs - 1, 10, config.rungs) == 0
    assert config.data_arguments["train_images"] is None
