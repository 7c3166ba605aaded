"""Benchmarks of fixed recipes: what they train is what the configurations say, and the figures are the Trainer's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import digits_speed, recipe_ablation, small_cifar10
from benchmarks.fixed_recipes import CONFIGS, Curve, only_training, train
from model_zoo import PRESETS, count_params
from search.config import compose
from trainables.data import load_training_set
from trainables.training import Trainer

SMALL = {"dataset": "digits", "train_images": 96}


def test_seed_a_s_is_its_resnet_12_by_the_recipe_reported_best_for_it() -> None:
    a = small_cifar10.seed_a({})
    assert a.layout == PRESETS["arora-resnet12"]
    assert count_params(a.layout) == 195_738
    assert (a.recipe.optimizer, a.recipe.learning_rate, a.recipe.schedule) == ("sgd", 0.1, "step")
    assert (a.epochs, a.recipe.step_epochs, a.recipe.batch_size) == (70, 20, 256)
    assert (a.recipe.weight_decay, a.recipe.momentum, a.recipe.label_smoothing) == (1e-4, 0.9, 0)


def test_both_see_all_training_images_and_the_split_of_the_searches() -> None:
    a, ours = small_cifar10.seed_a({}), small_cifar10.ours(10, {})
    assert a.data == ours.data == compose(CONFIGS / "cifar10.toml", None, {}, []).data_arguments
    assert a.data["train_images"] is None


def test_ours_is_the_shipped_layout_within_its_budget_and_anneals_at_the_end() -> None:
    ours = small_cifar10.ours(7, {"seed": 3})
    (listed,) = compose(CONFIGS / "recipes" / "small-200k.toml", None, {}, []).space.listed_layouts
    assert ours.layout == listed
    assert count_params(ours.layout) <= small_cifar10.MAX_PARAMS
    assert (ours.epochs, ours.seed) == (7, 3)


def test_a_layout_over_the_budget_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_cifar10, "MAX_PARAMS", 1_000)
    with pytest.raises(ValueError, match="parameters exceed 1,000; give a smaller layout"):
        small_cifar10.ours(7, {})


def test_a_configuration_of_more_than_one_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"arora\.toml: 45 layouts and recipes; give a file with one of each"):
        only_training("grid", CONFIGS / "arora.toml", {})


def test_a_curve_is_the_trainer_s() -> None:
    what = replace(only_training("x", CONFIGS / "recipes" / "digits-99.toml", {}), data={"name": "digits"})
    curve = train(what, 2)
    data = load_training_set("digits")
    trainer = Trainer(what.layout, what.recipe, data, torch.device("cpu"), epochs=what.epochs, seed=what.seed)
    assert curve.val_accuracy == tuple(trainer.train_epoch().val_accuracy for _ in range(2))
    assert 0 < curve.seconds[0] < curve.seconds[1]
    assert (curve.train_images, curve.val_images) == (len(data.train_indices), 144)


def test_the_target_is_reached_at_the_first_epoch_that_has_it() -> None:
    curve = Curve((0.5, 0.995, 0.98, 1.0), (1.0, 2.5, 3.0, 4.5), (0.5, 1.5, 2.0, 2.25), 1293, 144)
    at_99 = {"epoch": 2, "seconds": 2.5, "processor_s": 1.5}
    assert digits_speed.reached(curve) == at_99 | {"last_accuracy": 1.0, "last_seconds": 4.5, "last_processor_s": 2.25}
    never = digits_speed.reached(replace(curve, val_accuracy=(0.5, 0.5, 0.5, 0.989)))
    assert (never["epoch"], never["seconds"], never["processor_s"]) == (None, None, None)


@pytest.mark.search
def test_both_are_trained_side_by_side_and_compared(capfd: pytest.CaptureFixture[str]) -> None:
    small_cifar10.main(["--epochs", "2", "--dataset", "digits", "--train-images", "96"])
    *rows, last = capfd.readouterr().out.splitlines()
    figures = json.loads(last)
    assert [row.split()[0] for row in rows] == ["epoch", "1", "2"]
    a, ours = figures["seed_a"]["val_accuracy"], figures["ours"]["val_accuracy"]
    alone = train(small_cifar10.seed_a(SMALL), 2)
    assert a == [round(accuracy, 4) for accuracy in alone.val_accuracy]
    assert (len(a), len(ours)) == (2, 2)
    assert figures["ahead_points"] == pytest.approx(100 * (ours[-1] - a[-1]), abs=0.02)
    assert figures["ahead_of_best_epoch_points"] == pytest.approx(100 * (ours[-1] - max(a)), abs=0.02)
    assert figures["train_images"] == 96


@pytest.mark.search
def test_the_digits_are_trained_seed_by_seed(capsys: pytest.CaptureFixture[str]) -> None:
    digits_speed.main(["--seeds", "2", "--epochs", "4"])
    head, *rows, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert head.startswith("seed")
    assert len(rows) == len(figures["seeds"]) == 2
    assert figures["val_images"] == 144
    assert [training["seed"] for training in figures["trainings"]] == [0, 1]
    assert [row["last_accuracy"] for row in figures["seeds"]] == [t["val_accuracy"][-1] for t in figures["trainings"]]


def test_each_row_of_the_ablation_changes_what_it_says_of_the_shipped_recipe() -> None:
    rows = list(recipe_ablation.ROWS)
    wanted = recipe_ablation.trainings(rows, 2, 20, {"dataset": "cifar10"})
    shipped = only_training("x", CONFIGS / "recipes" / "small-200k.toml", {})
    assert [(row, what.seed) for row, what in wanted] == [(row, seed) for seed in (0, 1) for row in rows]
    for row, what in wanted:
        assert what.layout == shipped.layout
        assert (what.epochs, what.data["train_images"]) == (20, None)
        usual, own = shipped.recipe.model_dump(), what.recipe.model_dump()
        changed = {name: value for name, value in own.items() if value != usual[name]}
        expected = recipe_ablation.ROWS[row]
        if row == "progressive resizing":
            expected = {"first_image_size": 16}
        assert changed == expected
        assert what.recipe.unread.isdisjoint(changed)


@pytest.mark.search
def test_the_ablation_trains_what_its_store_lacks_and_compares_with_the_baseline_of_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "new" / "store.jsonl"
    usual = ["--epochs", "1", "--dataset", "digits", "--train-images", "128", "--store", str(store)]

    def rows_of(*arguments: str) -> tuple[list[str], dict[str, Any]]:
        recipe_ablation.main([*usual, *arguments])
        *shown, last = capsys.readouterr().out.splitlines()
        return shown, json.loads(last)

    shown, figures = rows_of("--only", "cutout", "--seeds", "1")
    assert [row["row"] for row in figures["rows"]] == ["baseline", "cutout"]
    assert [line.split()[0] for line in shown[1:]] == ["baseline", "cutout"]
    assert (figures["train_images"], figures["val_images"]) == (128, 144)
    kept = store.read_text()
    assert len(kept.splitlines()) == 2
    what = recipe_ablation.trainings(["cutout"], 1, 1, {"dataset": "digits", "train_images": 128})[0][1]
    assert figures["rows"][1]["accuracies"] == [round(100 * train(what, 1).val_accuracy[-1], 2)]
    store.write_text(kept + '{"row": "cut o')  # killed while it wrote
    _, figures = rows_of("--only", "cutout", "--only", "progressive resizing", "--seeds", "2")
    lines = recipe_ablation.read_store(store)
    assert store.read_text().startswith(kept)
    assert sorted((line["row"], line["seed"]) for line in lines) == sorted(
        (row, seed) for row in ("baseline", "cutout", "progressive resizing") for seed in (0, 1)
    )
    last = {(line["row"], line["seed"]): 100 * line["val_accuracy"][-1] for line in lines}
    for row in figures["rows"]:
        ahead = [last[row["row"], seed] - last["baseline", seed] for seed in (0, 1)]
        assert row["ahead_points"] == pytest.approx(ahead, abs=0.01)
        assert row["mean_ahead_points"] == pytest.approx(sum(ahead) / 2, abs=0.01)
    again = store.read_text()
    assert rows_of("--only", "cutout", "--only", "progressive resizing")[1]["rows"] == figures["rows"]
    assert store.read_text() == again


def test_the_recipes_folder_is_where_the_benchmarks_look() -> None:
    assert {"small-200k.toml", "digits-99.toml"} <= {path.name for path in Path(CONFIGS, "recipes").iterdir()}
