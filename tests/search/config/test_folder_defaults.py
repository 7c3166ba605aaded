"""The defaults of an image folder: they follow from its images and the budget, and what is given wins key by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.config import compose
from search.config.dataset_defaults import folder_defaults, nested_defaults
from search.layouts import LayoutSpace, count_feasible
from search.planning.opening import opening_lines, space_lines
from tests.support.shapes import write_shapes
from trainables.data.datasets import DatasetInfo


def info(images: int = 480, side: int = 32, channels: int = 3, classes: int = 6, val: int = 0) -> DatasetInfo:
    return DatasetInfo("/pictures", (channels, side, side), classes, images, images // 4, val_images=val)


def space_of(facts: DatasetInfo, budget: int | None) -> LayoutSpace:
    values = {"max_params": budget} | nested_defaults(folder_defaults(facts, budget))["space"]
    return LayoutSpace(**values, in_channels=facts.image_shape[0], classes=facts.classes)


@pytest.mark.parametrize("budget", [None, 10_000, 20_000, 100_000, 1_000_000, 20_000_000])
@pytest.mark.parametrize("side", [8, 16, 28, 32, 64, 224])
@pytest.mark.parametrize(("images", "classes"), [(40, 2), (480, 6), (3_000, 10), (50_000, 100)])
def test_a_space_within_any_usual_budget_has_a_hundred_layouts(
    budget: int | None, side: int, images: int, classes: int
) -> None:
    space = space_of(info(images, side, classes=classes), budget)
    assert count_feasible(space) >= 100
    assert side // (space.first_strides[0] * 2 ** (max(space.stages) - 1)) >= 2  # the last stage sees an image


def test_more_images_mean_larger_networks_shorter_trainings_and_a_smaller_validation_share() -> None:
    few, some, many = (folder_defaults(info(images)) for images in (480, 5_000, 50_000))
    for key in ("space.max_params", "recipe.batch_size", "recipe.learning_rate"):
        assert few[key].value < some[key].value <= many[key].value
    for key in ("max_epochs", "grace_epochs", "validation_share"):
        assert few[key].value > some[key].value >= many[key].value
    assert few["trials"].value == some["trials"].value < many["trials"].value
    assert "validation_share" not in folder_defaults(info(val=40))
    assert all(default.reason for default in few.values())


def test_each_key_that_is_given_wins_and_the_others_follow(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", 20)
    (tmp_path / "own.toml").write_text("trials = 7\n[space]\nblocks = [1, 2]\n[recipe]\nflip = true\n")
    flags = {"dataset": str(tmp_path / "shapes"), "data_dir": str(tmp_path / "cache"), "space": {"max_params": 30_000}}
    usual = compose(None, None, flags, [])
    own = compose(tmp_path / "own.toml", None, flags | {"max_epochs": 18}, ["space.min_params=20000"])
    assert (own.trials, own.max_epochs, own.space.blocks) == (7, 18, (1, 2))
    assert (own.space.min_params, own.space.max_params) == (20_000, 30_000)
    assert own.recipe.values_of("flip") == [True]
    assert usual.recipe.values_of("flip") == [False]
    assert usual.space.min_params == 15_000
    for key in ("validation_share", "image_size", "train_images"):
        assert getattr(own, key) == getattr(usual, key)
    assert own.space.channels == usual.space.channels == (8, 12, 16, 24, 32)
    listed = compose(None, None, flags, ["space.layouts=[1-1x8-16]"])
    assert (listed.space.min_params, listed.trials, listed.recipe.values_of("flip")) == (0, 20, [False])
    assert "space.channels" not in "".join(opening_lines(listed))
    said = opening_lines(own)
    assert any(line.startswith("  space.channels = [8, 12, 16, 24, 32]: 32 is the widest") for line in said)
    assert not any(line.startswith(("  trials =", "  recipe.flip =")) for line in said)


def test_the_first_lines_say_what_is_searched_and_what_is_done_to_the_images(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", 20)
    config = compose(
        None,
        None,
        {"dataset": str(tmp_path / "shapes"), "data_dir": str(tmp_path), "space": {"max_params": 20_000}},
        [],
    )
    found, images, heading, *defaults, floor = opening_lines(config)
    assert heading.startswith("defaults that follow from the images and the budget")
    assert (
        "6 classes (bar, circle, cross, ring, square, triangle), 120 images: 72 to train on, 24 for validation" in found
    )
    assert "turned upright, cropped to its central square and resized to 32x32 pixels, grey (bilinear)" in images
    assert "not mirrored (--set recipe.flip=true turns it on)" in images
    assert "  space.min_params = 10,000: half of the budget" in defaults
    without = config.space.model_copy(update={"min_params": 0})
    hidden = count_feasible(without) - count_feasible(config.space)
    assert floor == (
        f"space.min_params 10,000 leaves out {hidden:,} of the {count_feasible(without):,} layouts within the budget, "
        "which are smaller; --min-params 0 includes them"
    )


def test_where_few_layouts_are_feasible_the_keys_that_bind_are_named_with_what_a_change_gives() -> None:
    space = LayoutSpace(max_params=20_000, min_params=16_000, in_channels=1, classes=6)
    *_, line = space_lines(space)
    assert line.startswith(f"few layouts are feasible: {count_feasible(space)}; with ")
    changes: dict[str, dict[str, object]] = {
        "--max-params 40000": {"max_params": 40_000},
        "space.channels=[8,12,16,24,32,48,64,96,128,192,256,384,512]": {"channels": (8, 12, *space.channels)},
    }
    for change, update in changes.items():
        assert f"with {change}: {count_feasible(space.model_copy(update=update)):,}" in line
    assert list(space_lines(space.model_copy(update={"min_params": 0, "max_params": 10**6}))) == []


def test_an_own_val_folder_and_shares_without_effect_are_said(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_shapes(tmp_path / "shapes" / part, 4)
    given = {"dataset": str(tmp_path / "shapes"), "data_dir": str(tmp_path)}
    said = "\n".join(opening_lines(compose(None, None, given | {"split_seed": 3, "test_share": 0.3}, [])))
    assert "validation: the 24 images of the folder's own val/, and split_seed 3 has no effect on it" in said
    assert "test_share 0.3 has no effect, for the data set has its own test set" in said
    drawn = "\n".join(opening_lines(compose(None, None, given | {"val_folder": False}, [])))
    assert "own val/" not in drawn
    assert "for validation (drawn)" in drawn


def test_one_image_to_train_on_is_refused_like_a_batch_of_one(tmp_path: Path) -> None:
    from search.errors import ConfigError

    with pytest.raises(ConfigError, match="train_images: 1 given; use at least 2"):
        compose(None, None, {"train_images": 1}, [])


def test_an_image_of_any_size_is_described(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(6):
            draw = np.random.default_rng(i)
            Image.fromarray(draw.integers(0, 256, (9, 20, 3), dtype=np.uint8)).save(
                tmp_path / "set" / name / f"{i}.png"
            )
    config = compose(None, None, {"dataset": str(tmp_path / "set"), "data_dir": str(tmp_path), "image_size": 8}, [])
    assert config.space.image_size == (8, 8)
    assert count_feasible(config.space) >= 100
