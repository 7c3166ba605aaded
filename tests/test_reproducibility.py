"""The same seed gives the same training to the last bit, whether or not it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.training_fixtures import (
    AUGMENTED,
    RATES,
    assert_same_bits,
    small_recipe,
    small_trainer,
    state_of,
    timeless,
    trained,
)
from trainables.recipe import Optimizer
from trainables.training import epoch_seed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_a_resumed_training_is_the_uninterrupted_one_to_the_last_bit(
    optimizer: str, precision: str, tmp_path: Path
) -> None:
    rungs = (1, 2, 4)
    recipe = small_recipe(
        optimizer=optimizer, precision=precision, epochs=4, learning_rate=RATES[optimizer], **AUGMENTED
    )
    whole = small_trainer(recipe, rungs=rungs)
    reports = [timeless(report) for report in trained(whole, tmp_path)]
    assert [report["rung"] for report in reports] == [1, 2, None, 3]
    for epoch in range(1, 5):
        resumed = small_trainer(recipe, rungs=rungs)
        resumed.load(tmp_path / f"epoch-{epoch}")
        assert resumed.epoch == epoch
        assert timeless(resumed.last_report) == reports[epoch - 1]
        assert [timeless(report) for report in trained(resumed)] == reports[epoch:]
        assert_same_bits(state_of(resumed), state_of(whole))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_trains_the_same_network_and_another_seed_another(precision: str) -> None:
    trainers = [small_trainer(small_recipe(seed=seed, precision=precision, **AUGMENTED)) for seed in (5, 5, 6)]
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
    one, other = (small_trainer(small_recipe(seed=seed, **AUGMENTED)) for seed in (5, 6))
    other.network.load_state_dict(one.network.state_dict())
    assert one.train_epoch().train_loss != other.train_epoch().train_loss
