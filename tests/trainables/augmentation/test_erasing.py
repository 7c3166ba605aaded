"""Random erasing: torchvision's rectangles from the same draws, image by image, and its distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import RandomErasing

from tests.support.training_fixtures import small_recipe
from trainables.augmentation import batch as augment

HOST = np.random.default_rng(0)  # of which nothing here draws
SIZES = [(4, 4), (8, 8), (9, 12), (28, 28), (12, 1)]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def drawn(batch: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The uniform draws of one batch: of ten tries, of whether to erase, and of the corner."""
    draw = torch.Generator(device).manual_seed(seed)
    shapes = ((2, 10, batch), (batch,), (2, batch))
    return tuple(torch.rand(shape, generator=draw, device=device).cpu() for shape in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_rectangles_are_what_torchvisions_loop_makes_of_the_same_draws(
    size: tuple[int, int], channels: int, device: torch.device
) -> None:
    height, width = size
    x = torch.rand(200, height, width, channels, device=device).permute(0, 3, 1, 2) + 1
    before, least = x.clone(), RandomErasing()
    rectangles = augment.draw_rectangles(x, 0.6, torch.Generator(device).manual_seed(5))
    found = augment.erase(x, rectangles)
    tries, chosen, corners = drawn(200, 5, device)
    erased = 0
    for i, image in enumerate(x):
        expected = image
        for area, ratio in tries[:, :, i].T.tolist() if float(chosen[i]) < 0.6 else ():
            pixels = height * width * (least.scale[0] + (least.scale[1] - least.scale[0]) * area)
            low, high = map(math.log, least.ratio)
            aspect = math.exp(low + (high - low) * ratio)
            tall, wide = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
            if tall < height and wide < width:
                top = int(float(corners[0, i]) * (height - tall + 1))
                left = int(float(corners[1, i]) * (width - wide + 1))
                expected = tv.erase(image, top, left, tall, wide, torch.zeros(channels, 1, 1, device=device))
                assert rectangles[:, i].tolist() == [top, left, tall, wide]
                erased += 1
                break
        assert torch.equal(found[i], expected)
    assert (40 if width == 1 else 80) < erased < 160  # of 120, less what ten tries leave larger than the image
    assert torch.equal(x, before)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_rectangles_are_distributed_as_torchvisions() -> None:
    x, count = torch.zeros(1, 1, 24, 32), 4000
    found = augment.draw_rectangles(x.expand(count, 1, 24, 32), 1.0, torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        transform = RandomErasing()
        params = [transform.get_params(x[0], transform.scale, transform.ratio, [0.0])[:4] for _ in range(count)]
    for ours, theirs in zip(found.tolist(), zip(*params, strict=True), strict=True):
        assert ks_2samp(ours, theirs).pvalue > 0.001


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_a_batch_is_erased_in_so_many_of_its_images(probability: float, device: torch.device) -> None:
    images = torch.randint(1, 255, (2000, 10, 12, 3), dtype=torch.uint8).to(device)
    index, mean, std = torch.arange(2000, device=device), torch.full((3,), 0.5), torch.full((3,), 0.25)
    mean, std = mean.to(device), std.to(device)
    recipe = small_recipe(erasing=probability)
    x = augment.augmented_batch(images, index, recipe, mean, std, torch.Generator(device).manual_seed(3), HOST)
    plain = augment.normalise(images, mean, std)
    changed = (x != plain).flatten(1).any(1)
    assert abs(float(changed.float().mean()) - probability) <= 3.3 * math.sqrt(probability * (1 - probability) / 2000)
    assert bool((x[x != plain] == 0).all())  # zero is the mean colour
    share = (x != plain).float().mean((1, 2, 3))[changed]
    assert 0.01 < float(share.min()) < float(share.max()) < 0.4


def test_erasing_reads_nothing_back() -> None:
    x = torch.empty(16, 3, 9, 12, device="meta")
    rectangles = torch.empty(4, 16, dtype=torch.int64, device="meta")
    assert augment.erase(x, rectangles).shape == x.shape
