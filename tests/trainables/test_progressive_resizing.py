"""Progressive resizing: the size of every step by hand, what is done to the images, and full size before a rung."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.training_fixtures import AUGMENTED, LAYOUT, small_recipe, small_set, small_trainer, trained
from trainables.augmentation.batch import augmented_batch, resized
from trainables.image_sizes import MOST_SMALL, MULTIPLE, Size, size_at, sizes_of_training
from trainables.schedule import progress
from trainables.training import epoch_seed


def sides_of(sizes: tuple[tuple[Size, float], ...]) -> list[int]:
    return [min(size) for size, _ in sizes]


@pytest.mark.parametrize(
    ("first", "full", "sides"),
    [
        (16, 32, [16, 20, 24, 28, 32]),
        (14, 32, [14, 16, 20, 24, 32]),
        (12, 32, [12, 16, 20, 24, 32]),
        (8, 32, [8, 12, 20, 24, 32]),
        (24, 32, [24, 28, 32]),
        (31, 32, [31, 32]),
        (8, 16, [8, 12, 16]),
        (12, 28, [12, 16, 20, 24, 28]),
        (128, 224, [128, 152, 176, 200, 224]),
        (0, 32, [32]),
    ],
)
def test_the_sizes_are_those_written_here(first: int, full: int, sides: list[int]) -> None:
    sizes = sizes_of_training(first, 0.6, (full, full))
    assert [size for size, _ in sizes] == [(side, side) for side in sides]
    small = len(sides) - 1
    assert [share for _, share in sizes] == pytest.approx([*[0.6 / small] * small, 0.4] if small else [1.0])


def test_images_that_are_not_square_keep_their_aspect() -> None:
    for full, expected in (((32, 48), (16, 24)), ((48, 32), (24, 16)), ((30, 41), (16, 22))):
        assert sizes_of_training(16, 0.5, full)[0][0] == expected
        assert sizes_of_training(16, 0.5, full)[-1][0] == full


@given(
    lengths=st.tuples(st.integers(2, 600), st.integers(2, 600)),
    part=st.floats(0, 1, exclude_max=True),
    share=st.floats(0.01, 0.99),
)
def test_sizes_grow_in_few_steps_to_the_full_one(lengths: Size, part: float, share: float) -> None:
    first = max(1, int(part * min(lengths)))
    sizes = sizes_of_training(first, share, lengths)
    sides = sides_of(sizes)
    assert sides[0] == first
    assert sides == sorted(set(sides))
    assert sizes[-1][0] == lengths
    assert 2 <= len(sizes) <= MOST_SMALL + 1
    assert all(side % MULTIPLE == 0 for side in sides[1:-1])
    assert sum(share for _, share in sizes) == pytest.approx(1)
    for (height, width), _ in sizes:
        assert height / lengths[0] == pytest.approx(width / lengths[1], abs=1 / min(lengths))


def sizes_of_steps(steps_per_epoch: int, rungs: tuple[int, ...], schedule: str, share: float) -> list[int]:
    """The side of each step's images of 32 pixels that begin with 16."""
    recipe = small_recipe(schedule=schedule, first_image_size=16, resizing_share=share)
    sizes = sizes_of_training(16, share, (32, 32))
    steps = range(steps_per_epoch * rungs[-1])
    return [size_at(sizes, progress(recipe, step, steps_per_epoch, rungs))[0] for step in steps]


def test_the_side_of_every_step_is_the_one_written_here() -> None:
    once = [16, 20, 24, 28, 32, 32, 32, 32]
    assert sizes_of_steps(4, (2,), "cosine", 0.5) == once
    assert sizes_of_steps(4, (2,), "rung-annealed", 0.5) == once
    # after a rung again; in an epoch of five steps, 20 and 28 pixels have none
    again = [16, 24, 32, 32, 32, *[16, 20, 24, 24, 28], *[32] * 5]
    assert sizes_of_steps(5, (1, 3), "rung-annealed", 0.5) == again
    assert sizes_of_steps(4, (1, 3), "cosine", 0.5) == sizes_of_steps(4, (3,), "cosine", 0.5)
    assert sizes_of_steps(10, (1,), "linear", 0.8) == [16, 16, 20, 20, 24, 24, 28, 28, 32, 32]
    assert sizes_of_steps(1, (1,), "linear", 0.4) == [32]


@given(
    steps_per_epoch=st.integers(1, 40),
    rungs=st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True).map(lambda ends: tuple(sorted(ends))),
    share=st.floats(0.05, 0.95),
)
def test_every_rung_is_reached_at_full_size_and_each_size_has_its_share_of_the_steps(
    steps_per_epoch: int, rungs: tuple[int, ...], share: float
) -> None:
    steps = sizes_of_steps(steps_per_epoch, rungs, "rung-annealed", share)
    expected = {side: part for (side, _), part in sizes_of_training(16, share, (32, 32))}
    for start, end in zip((0, *rungs), rungs, strict=False):
        between = steps[start * steps_per_epoch : end * steps_per_epoch]
        assert between == sorted(between)
        last = between[len(between) - round((1 - share) * len(between) - 0.5) :]
        assert set(last) <= {32}
        for side, part in expected.items():
            assert abs(between.count(side) - part * len(between)) <= 1


class Seen:
    """The sizes of the images that a network is trained and validated on, in turn."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.training: list[Tensor] = []
        self.validation: list[Tensor] = []
        network.register_forward_pre_hook(self._see)

    def _see(self, network: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        (self.training if network.training else self.validation).append(inputs[0])


def test_a_training_sees_the_sizes_of_its_steps_and_is_validated_at_full_size() -> None:
    recipe = small_recipe(first_image_size=3, resizing_share=0.6, **AUGMENTED)
    trainer = small_trainer(recipe, small_set(shape=(12, 15, 3)), epochs=4, rungs=(1, 4))
    seen = Seen(trainer.network)
    trained(trainer)
    assert [tuple(x.shape[2:]) for x in seen.training] == [
        *[(3, 4), (4, 5), (12, 15), (12, 15)],
        *[(3, 4)] * 2 + [(4, 5)] * 3 + [(8, 10)] * 2 + [(12, 15)] * 5,
    ]
    assert {tuple(x.shape[2:]) for x in seen.validation} == {(12, 15)}
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen.training)


@pytest.mark.parametrize("changes", [AUGMENTED, {"policy": "trivialaugment", "erasing": 0.5, "cutout": 4}])
def test_the_images_of_a_step_are_torchs_resized_ones_of_the_full_augmentation(changes: dict[str, Any]) -> None:
    recipe = small_recipe(**changes, first_image_size=4)
    trainer = small_trainer(recipe)
    seen = Seen(trainer.network)
    trainer.train_epoch()
    seed, data = epoch_seed(trainer.seed, 0), small_set()
    draw, host_draw = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    order = torch.from_numpy(data.train_indices)[torch.randperm(70, generator=draw)]
    full = augmented_batch(trainer.images, order[:16], recipe, trainer.mean, trainer.std, draw, host_draw)
    expected = F.interpolate(full, (4, 5), mode="bilinear", antialias=True)
    assert torch.equal(seen.training[0], expected)


def test_an_image_scaled_to_half_keeps_its_mean_and_flat_regions() -> None:
    x = torch.zeros(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    x[0, :, :, 8:] = 1.0
    x[1] = 0.25
    small = resized(x, (8, 8))
    assert small.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(small[1], torch.full((3, 8, 8), 0.25))
    torch.testing.assert_close(small[0].mean(), torch.tensor(0.5))
    assert torch.equal(small[0, 0, 0, :3], torch.zeros(3))
    assert torch.equal(small[0, 0, 0, -3:], torch.ones(3))
    assert resized(x, (16, 16)) is x


@pytest.mark.parametrize("first", [8, 9, 100])
def test_a_trainer_refuses_first_images_that_are_not_smaller(first: int) -> None:
    with pytest.raises(ValueError, match=f"first_image_size: {first} given, the images have 8x10 pixels; use less"):
        small_trainer(small_recipe(first_image_size=first))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_small_images_are_learned_from_and_the_statistics_fit_the_full_size_at_a_rung(precision: str) -> None:
    recipe = small_recipe(first_image_size=8, learning_rate=0.2, precision=precision)
    data = small_set(train=160, val=60, shape=(16, 20, 3))
    accuracies = [report.val_accuracy for report in trained(small_trainer(recipe, data, epochs=16, rungs=(4, 16)))]
    assert accuracies[3] >= 0.8
    assert accuracies[-1] >= 0.95
    assert min(accuracies[4:9]) < 0.6  # of small images, whose statistics do not fit


def test_a_network_of_one_pixel_images_still_trains() -> None:
    recipe = small_recipe(first_image_size=1)
    assert LAYOUT.strides[-1] == 2
    assert all(np.isfinite(report.train_loss) for report in trained(small_trainer(recipe)))
