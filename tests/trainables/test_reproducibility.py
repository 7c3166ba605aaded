"""The same seed gives the same training to the last bit, whether or not it was interrupted."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file

from model_zoo import ResNetLayout
from tests.support.training_fixtures import (
    AUGMENTED,
    LAYOUT,
    RATES,
    assert_same_bits,
    small_recipe,
    small_set,
    small_trainer,
    state_of,
    timeless,
    trained,
)
from trainables.checkpoints import files as checkpoints
from trainables.checkpoints.identity import identity, past
from trainables.errors import CheckpointError
from trainables.recipe import Optimizer
from trainables.training import epoch_seed

NEWEST = (
    *("milestones", "exponential_factor", "plateau_epochs", "plateau_metric", "keep_last_batch", "conv_init"),
    *("mix_probability", "resized_crop", "jitter_brightness", "jitter_contrast", "jitter_saturation", "jitter_hue"),
    *("mix_strength", "first_image_size", "resizing_share"),
)
"""Fields of a recipe that checkpoints from before 2026-11-29 lack."""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_a_resumed_training_is_the_uninterrupted_one_to_the_last_bit(
    optimizer: str, precision: str, tmp_path: Path
) -> None:
    rungs = (1, 2, 4)
    recipe = small_recipe(optimizer=optimizer, precision=precision, learning_rate=RATES[optimizer], **AUGMENTED)
    whole = small_trainer(recipe, epochs=4, rungs=rungs)
    reports = [timeless(report) for report in trained(whole, tmp_path)]
    assert [report["rung"] for report in reports] == [1, 2, None, 3]
    for epoch in range(1, 5):
        resumed = small_trainer(recipe, epochs=4, rungs=rungs)
        resumed.load(tmp_path / f"epoch-{epoch}")
        assert resumed.epoch == epoch
        assert timeless(resumed.last_report) == reports[epoch - 1]
        assert [timeless(report) for report in trained(resumed)] == reports[epoch:]
        assert_same_bits(state_of(resumed), state_of(whole))


def test_a_training_that_goes_on_under_a_longer_ladder_is_the_one_that_had_it_from_the_start(tmp_path: Path) -> None:
    growing = {"first_image_size": 4, "mixup_alpha": 1.0, "mix_strength": "growing", "ema_decay": 0.9}
    recipe = small_recipe(**AUGMENTED, **growing)
    trained(small_trainer(recipe, epochs=9, rungs=(3, 9)), tmp_path)
    whole = small_trainer(recipe, epochs=27, rungs=(3, 9, 27))
    reports = [timeless(report) for report in trained(whole)]
    for epoch in (2, 9):  # before a rung that both have, and at the end of the shorter one
        resumed = small_trainer(recipe, epochs=27, rungs=(3, 9, 27))
        resumed.load(tmp_path / f"epoch-{epoch}")
        assert [timeless(report) for report in trained(resumed)] == reports[epoch:]
        assert_same_bits(state_of(resumed), state_of(whole))


def test_what_a_checkpoint_is_taken_up_under_shares_its_past(tmp_path: Path) -> None:
    trained(small_trainer(epochs=9, rungs=(3, 9)), tmp_path)

    def fits(epoch: int, *rungs: int) -> bool:
        trainer = small_trainer(epochs=rungs[-1], rungs=rungs)
        try:
            trainer.load(tmp_path / f"epoch-{epoch}")
        except CheckpointError:
            return False
        return trainer.epoch == epoch

    assert all(fits(epoch, 3) for epoch in (1, 2, 3))
    assert all(fits(epoch, 3, 20) for epoch in (1, 2, 3))
    assert not any(fits(epoch, 3, 20) for epoch in (4, 8, 9))
    assert all(fits(epoch, 3, 9, 11, 30) for epoch in range(1, 10))
    assert not any(fits(epoch, 2, 9) for epoch in range(1, 10))
    assert not fits(4, 3)
    with pytest.raises(CheckpointError, match="another training, which differs in its rungs;"):
        small_trainer(epochs=20, rungs=(3, 20)).load(tmp_path / "epoch-4")


def test_a_checkpoint_older_than_a_field_of_the_layout_is_that_of_its_default() -> None:
    trainer = small_trainer(small_recipe())
    whole = identity(trainer.layout, trainer.recipe, trainer.rungs, trainer.seed, trainer.data)
    younger = ("block", "groups", "squeeze", "activation", "expansion", "skip_pool", "stem_depth", "stem_stride")
    older = whole | {"layout": {name: value for name, value in trainer.layout.to_dict().items() if name not in younger}}
    assert past(older, 1) == past(whole, 1)
    other = replace(trainer.layout, activation="silu")
    silu = identity(other, trainer.recipe, trainer.rungs, trainer.seed, trainer.data)
    assert past(older, 1) != past(silu, 1)


@pytest.mark.parametrize("block", ["preactivation", "bottleneck"])
def test_other_blocks_resume_to_the_last_bit_too(block: str, tmp_path: Path) -> None:
    layout = ResNetLayout((1, 2), (8, 16), classes=4, block=block, groups=2, squeeze=4, activation="silu")
    recipe = small_recipe(precision="bfloat16")
    whole = small_trainer(recipe, layout=layout)
    reports = [timeless(report) for report in trained(whole, tmp_path)]
    resumed = small_trainer(recipe, layout=layout)
    resumed.load(tmp_path / "epoch-1")
    assert [timeless(report) for report in trained(resumed)] == reports[1:]
    assert_same_bits(state_of(resumed), state_of(whole))


def test_other_schedules_depend_on_the_epochs_and_read_no_rung(tmp_path: Path) -> None:
    recipe = small_recipe(schedule="cosine")
    trained(small_trainer(recipe, rungs=(1, 3)), tmp_path)
    trainer = small_trainer(recipe, rungs=(2, 3))
    trainer.load(tmp_path / "epoch-1")
    assert trainer.epoch == 1
    with pytest.raises(CheckpointError, match="another training, which differs in its recipe;"):
        small_trainer(recipe, epochs=4, rungs=(1, 4)).load(tmp_path / "epoch-1")


def test_a_checkpoint_from_before_a_field_of_the_recipe_has_its_default(tmp_path: Path) -> None:
    trainer = small_trainer()
    trainer.train_epoch()
    identity = json.loads(json.dumps(trainer._identity()))
    for name in ("cutmix_alpha", *NEWEST):
        del identity["recipe"][name]
    checkpoints.save(tmp_path / "old", trainer.network, trainer.optimizer, identity, asdict(trainer.last_report))
    again = small_trainer()
    again.load(tmp_path / "old")
    assert again.epoch == 1


def test_a_checkpoint_that_lists_epochs_and_seed_with_the_recipe_resumes_to_the_last_bit(tmp_path: Path) -> None:
    recipe = small_recipe(schedule="cosine")  # which depends on the number of epochs
    whole = small_trainer(recipe)
    reports = [timeless(report) for report in trained(whole, tmp_path)]
    header, tensors = checkpoints.read(tmp_path / "epoch-1")
    listed = {
        "layout": LAYOUT.to_dict(),
        "recipe": {**recipe.model_dump(), "epochs": 3, "seed": 5},
        "rungs": [3],
        "data": small_set().identity,
    }
    save_file(tensors, tmp_path / "old", {**header, "identity": json.dumps(listed)})
    resumed = small_trainer(recipe)
    resumed.load(tmp_path / "old")
    assert [timeless(report) for report in trained(resumed)] == reports[1:]
    assert_same_bits(state_of(resumed), state_of(whole))
    for lengths in ({"epochs": 4}, {"seed": 6}):
        with pytest.raises(CheckpointError, match="another training, which differs in its recipe;"):
            small_trainer(recipe, **lengths).load(tmp_path / "old")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_trains_the_same_network_and_another_seed_another(precision: str) -> None:
    trainers = [small_trainer(small_recipe(precision=precision, **AUGMENTED), seed=seed) for seed in (5, 5, 6)]
    reports = [[timeless(report) for report in trained(trainer)] for trainer in trainers]
    first, again, other = (state_of(trainer) for trainer in trainers)
    assert_same_bits(first, again)
    assert reports[0] == reports[1] != reports[2]
    assert not torch.equal(first["network head.weight"], other["network head.weight"])


def test_order_and_augmentation_differ_between_seeds_and_epochs() -> None:
    # torch's CPU generator keeps the low 32 bits of a seed, so a seed in the high ones would change nothing
    orders = {
        tuple(torch.randperm(70, generator=torch.Generator().manual_seed(epoch_seed(seed, epoch))).tolist())
        for seed in (0, 1, 2**31 - 1)
        for epoch in (0, 1, 1000)
    }
    assert len(orders) == 9
    one, other = (small_trainer(small_recipe(**AUGMENTED), seed=seed) for seed in (5, 6))
    other.network.load_state_dict(one.network.state_dict())
    assert one.train_epoch().train_loss != other.train_epoch().train_loss
