"""Alternating flips: every image is seen from one side in one epoch and from the other in the next, resumed or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.training_fixtures import CPU, small_recipe, small_set, small_trainer
from trainables.augmentation import batch as augment
from trainables.training import Trainer


def mirrored(trainer: Trainer) -> list[bool]:
    """Which training images the trainer's next epoch shows mirrored, in the order of their positions."""
    batches: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if trainer.network.training:
            batches.append(inputs[0].clone())

    handle = trainer.network.register_forward_pre_hook(keep)
    trainer.train_epoch()
    handle.remove()
    x = torch.cat(batches)
    plain = augment.normalise(trainer.images[trainer.train_indices], trainer.mean, trainer.std)
    sides = [(plain[:, None] == view).flatten(2).all(2) for view in (x, x.flip(3))]  # (N, N): who is whom
    assert bool(((sides[0] | sides[1]).sum(1) == 1).all())
    return sides[1].any(1).tolist()


def test_an_image_is_mirrored_in_every_other_epoch_and_half_of_them_in_the_first(tmp_path: Path) -> None:
    recipe = small_recipe(flip=True, flip_order="alternating", batch_size=70)
    trainer = small_trainer(recipe, epochs=4)
    first, second = mirrored(trainer), mirrored(trainer)
    trainer.save(tmp_path / "two")
    assert 20 < sum(first) < 50
    assert second == [not side for side in first]
    assert mirrored(trainer) == first
    resumed = small_trainer(recipe, epochs=4)
    resumed.load(tmp_path / "two")
    assert mirrored(resumed) == first
    assert mirrored(resumed) == second
    assert mirrored(small_trainer(recipe, epochs=4, seed=6)) != first


def test_random_flips_do_not_alternate() -> None:
    trainer = small_trainer(small_recipe(flip=True, batch_size=70))
    first, second = mirrored(trainer), mirrored(trainer)
    agreeing = sum(one == other for one, other in zip(first, second, strict=True))
    assert 20 < agreeing < 50


def test_the_first_flips_are_half_of_the_images_and_of_one_seed_alone() -> None:
    drawn = torch.stack([augment.first_flips(10_000, seed) for seed in range(8)]).double()
    assert float((drawn.mean(1) - 0.5).abs().max()) < 3.3 * 0.5 / 100
    together = drawn @ drawn.T / 10_000
    assert float((together - together.diag().diag()).max()) < 0.25 + 4 * 0.25**0.5 * 0.75**0.5 / 100


def test_alternating_flips_are_those_of_random_ones_under_the_same_crops() -> None:
    images = small_set().images
    given, index = torch.from_numpy(images), torch.arange(40)
    flipped = augment.first_flips(40, 3)
    recipe = small_recipe(flip=True, flip_order="alternating", crop_padding=2)
    found = augment.crop_and_flip(given, index, recipe, torch.Generator(CPU).manual_seed(9), flipped)
    offset = torch.randint(-2, 3, (2, 40, 1), generator=torch.Generator(CPU).manual_seed(9))
    assert torch.equal(found, augment.shift_and_flip(given, index, offset, flipped[:, None], "reflect"))


@pytest.mark.parametrize("order", ["random", "alternating"])
def test_flips_that_do_not_fit_the_order_are_refused(order: str) -> None:
    recipe = small_recipe(flip=True, flip_order=order)
    flipped = None if order == "alternating" else torch.zeros(2, dtype=torch.bool)
    images = torch.from_numpy(small_set().images)
    with pytest.raises(ValueError, match=f"flip_order {order}"):
        augment.crop_and_flip(images, torch.arange(2), recipe, torch.Generator(), flipped)
