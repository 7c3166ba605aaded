"""Augmentation of batches, each operation against torchvision's on one image at a time with the same draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.training_fixtures import AUGMENTED, PLAIN, small_recipe
from trainables.augmentation import batch as augment

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
SIZES = [(8, 8), (12, 7), (7, 12), (32, 32)]
CHI_SQUARED_80 = 124.84  # 0.999 quantile with 80 degrees of freedom: 9 x 9 offsets
CHI_SQUARED_35 = 66.62  # 0.999 quantile with 35: 6 x 6 pixels
EACH: list[dict[str, Any]] = [{name: value} for name, value in AUGMENTED.items()]
EACH += [{"policy": name} for name in ("autoaugment", "randaugment", "trivialaugment")] + [{"erasing": 1.0}]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def noise(batch: int, size: tuple[int, int], device: torch.device, channels: int = 3) -> Tensor:
    """Images uint8 (N, H, W, C)."""
    draw = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, *size, channels), dtype=torch.uint8, generator=draw).to(device)


def generator(device: torch.device, seed: int = 11) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def host(seed: int = 11) -> np.random.Generator:
    return np.random.default_rng(seed)


def statistics(device: torch.device, channels: int = 3) -> tuple[Tensor, Tensor]:
    return torch.tensor(MEAN[:channels], device=device), torch.tensor(STD[:channels], device=device)


def cropped(image: Tensor, padding: int, mode: str, row: int, column: int, flip: bool) -> Tensor:
    """The image (C, H, W) padded, cropped with its corner at (row, column) of the padded one, then mirrored."""
    height, width = image.shape[1:]
    padded = tv.pad(image, [padding], padding_mode={"zeros": "constant"}.get(mode, mode))
    crop = tv.crop(padded, row, column, height, width)
    return tv.hflip(crop) if flip else crop


def holed(image: Tensor, side: int, row: int, column: int) -> Tensor:
    """The image (C, H, W) with zeros in the square whose middle, or lower right of the middle four, is the pixel."""
    image = image.clone()
    top, left = row - side // 2, column - side // 2
    image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return image


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("size", SIZES)
def test_crops_and_flips_are_torchvisions(mode: str, size: tuple[int, int], device: torch.device) -> None:
    images, padding = noise(9, size, device), 4
    draw = generator(device)
    index = torch.randint(0, 9, (40,), generator=draw, device=device)
    offset = torch.randint(-padding, padding + 1, (2, 40, 1), generator=draw, device=device)
    flipped = torch.rand((40, 1), generator=draw, device=device) < 0.5
    found = augment.shift_and_flip(images, index, offset, flipped, mode).permute(0, 3, 1, 2)
    assert found.dtype == torch.uint8
    for i, image in enumerate(images[index].permute(0, 3, 1, 2)):
        corner = [padding + int(offset[axis, i]) for axis in (0, 1)]
        assert torch.equal(found[i], cropped(image, padding, mode, *corner, bool(flipped[i])))


@settings(deadline=None)
@given(size=st.tuples(st.integers(2, 9), st.integers(2, 9)), data=st.data(), mode=st.sampled_from(["zeros", "reflect"]))
def test_any_offset_that_torchvision_can_pad_gives_its_crop(
    size: tuple[int, int], data: st.DataObject, mode: str
) -> None:
    most = 16 if mode == "zeros" else min(size) - 1
    row, column = (data.draw(st.integers(-most, most)) for _ in range(2))
    flip = data.draw(st.booleans())
    images = noise(1, size, torch.device("cpu"))
    offset, flipped = torch.tensor([[[row]], [[column]]]), torch.tensor([[flip]])
    found = augment.shift_and_flip(images, torch.tensor([0]), offset, flipped, mode)[0].permute(2, 0, 1)
    assert torch.equal(found, cropped(images[0].permute(2, 0, 1), most, mode, most + row, most + column, flip))


def test_padding_wider_than_the_image_reflects_once_and_then_repeats_the_edge() -> None:
    images = torch.arange(3, dtype=torch.uint8).reshape(1, 1, 3, 1)
    offset, index = torch.tensor([[[0]], [[-6]]]), torch.tensor([0])
    assert augment.shift_and_flip(images, index, offset, None, "reflect").flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", SIZES)
def test_normalised_images_are_torchvisions(size: tuple[int, int], device: torch.device) -> None:
    images = noise(6, size, device)
    found = augment.normalise(images, *statistics(device))
    for image, result in zip(images.permute(0, 3, 1, 2), found, strict=True):
        torch.testing.assert_close(result, tv.normalize(image / 255, MEAN, STD), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_rotations_are_torchvisions_on_squares_and_rectangles(size: tuple[int, int], device: torch.device) -> None:
    x = augment.normalise(noise(24, size, device), *statistics(device))
    degrees = torch.linspace(-180, 180, 24, device=device)
    found = augment.rotate(x, degrees)
    for image, angle, result in zip(x, degrees.tolist(), found, strict=True):
        expected = tv.rotate(image, angle, tv.InterpolationMode.BILINEAR)
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)


def test_positive_angles_turn_counter_clockwise() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 0, 2] = 1.0  # twelve o'clock
    turned = augment.rotate(x, torch.tensor([90.0]))
    assert turned[0, 0].argmax() == 2 * 5 + 0  # nine o'clock


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [1, 4, 5, 100])
def test_holes_are_squares_around_their_pixel_clipped_at_the_border(
    size: tuple[int, int], side: int, device: torch.device
) -> None:
    x = augment.normalise(noise(50, size, device), *statistics(device))
    before = x.clone()
    centres = augment.draw_centres(x, generator(device))
    found = augment.cut_out(x, side, centres)
    for i, image in enumerate(x):
        assert torch.equal(found[i], holed(image, side, *centres[:, i].tolist()))
    assert torch.equal(x, before)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_what_torchvision_makes_of_each_image_with_the_same_draws(
    mode: str, channels: int, device: torch.device
) -> None:
    images, index = noise(30, (9, 12), device, channels), torch.arange(29, 5, -1, device=device)
    recipe = small_recipe(**AUGMENTED, padding_mode=mode)
    found = augment.augmented_batch(images, index, recipe, *statistics(device, channels), generator(device), host())
    draw = generator(device)
    padding = recipe.crop_padding
    offset = torch.randint(-padding, padding + 1, (2, len(index), 1), generator=draw, device=device)
    flipped = torch.rand((len(index), 1), generator=draw, device=device) < 0.5
    angles = augment.draw_angles(len(index), recipe.rotation_degrees, draw)
    centres = augment.draw_centres(found, draw)
    for i, image in enumerate(images[index].permute(0, 3, 1, 2)):
        corner = [padding + int(offset[axis, i]) for axis in (0, 1)]
        expected = cropped(image, padding, mode, *corner, bool(flipped[i]))
        expected = tv.normalize(expected / 255, MEAN[:channels], STD[:channels])
        expected = tv.rotate(expected, float(angles[i]), tv.InterpolationMode.BILINEAR)
        expected = holed(expected, recipe.cutout, *centres[:, i].tolist())
        torch.testing.assert_close(found[i], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", [PLAIN, *EACH, AUGMENTED, AUGMENTED | {"padding_mode": "zeros"}])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_float32_and_channels_last_and_leaves_the_images_alone(
    options: dict[str, Any], channels: int, device: torch.device
) -> None:
    images, index = noise(20, (9, 12), device, channels), torch.arange(0, 20, 2, device=device)
    before = images.clone()
    recipe = small_recipe(**options)
    x = augment.augmented_batch(images, index, recipe, *statistics(device, channels), generator(device), host())
    assert (x.shape, x.dtype) == ((10, channels, 9, 12), torch.float32)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_without_options_a_batch_is_the_normalised_images(device: torch.device) -> None:
    images, index = noise(20, (9, 12), device), torch.tensor([3, 3, 19, 0], device=device)
    draw = generator(device)
    x = augment.augmented_batch(images, index, small_recipe(), *statistics(device), draw, host())
    assert torch.equal(x, augment.normalise(images[index], *statistics(device)))
    assert torch.equal(draw.get_state(), generator(device).get_state())


@pytest.mark.parametrize("options", EACH)
def test_every_option_changes_images_each_by_its_own_draw(options: dict[str, Any], device: torch.device) -> None:
    images = noise(1, (9, 12), device)
    index = torch.zeros(64, dtype=torch.int64, device=device)  # one image, 64 times
    x = augment.augmented_batch(images, index, small_recipe(**options), *statistics(device), generator(device), host())
    least, most = (2, 2) if "flip" in options else (10, 64)  # a crop has 25 offsets, of which 64 draws miss a few
    assert least <= len(torch.unique(x, dim=0)) <= most
    again = augment.augmented_batch(
        images, index, small_recipe(**options), *statistics(device), generator(device), host()
    )
    assert torch.equal(x, again)
    other = augment.augmented_batch(
        images, index, small_recipe(**options), *statistics(device), generator(device, 12), host(12)
    )
    assert not torch.equal(x, other)


def test_crop_offsets_cover_their_range_uniformly_and_half_of_the_images_are_flipped() -> None:
    rows = torch.arange(17, dtype=torch.uint8)
    images = torch.stack(torch.meshgrid(rows, rows, indexing="ij"), -1)[None]  # (1, H, W, C): each pixel its position
    index = torch.zeros(81 * 100, dtype=torch.int64)
    recipe = small_recipe(crop_padding=4, flip=True)
    crops = augment.crop_and_flip(images, index, recipe, generator(torch.device("cpu"))).long()
    offset = crops[:, 8, 8] - 8  # (N, 2); the middle column stays under a flip
    flipped = crops[:, 8, 9, 1] < crops[:, 8, 8, 1]
    counts = torch.bincount((offset[:, 0] + 4) * 9 + offset[:, 1] + 4, minlength=81)
    assert counts.shape == (81,)
    assert float(((counts - 100) ** 2 / 100).sum()) < CHI_SQUARED_80
    assert abs(float(flipped.float().mean()) - 0.5) < 3.3 * 0.5 / len(index) ** 0.5


def test_hole_centres_cover_the_image_uniformly() -> None:
    centres = augment.draw_centres(torch.zeros(3600, 1, 6, 6), generator(torch.device("cpu")))
    counts = torch.bincount(centres[0] * 6 + centres[1], minlength=36)
    assert float(((counts - 100) ** 2 / 100).sum()) < CHI_SQUARED_35


def test_angles_cover_their_range_either_way_uniformly() -> None:
    angles = augment.draw_angles(10_000, 15.0, generator(torch.device("cpu")))
    counts = torch.histc(angles, bins=36, min=-15.0, max=15.0)
    assert int(counts.sum()) == 10_000
    assert float(((counts - 10_000 / 36) ** 2 / (10_000 / 36)).sum()) < CHI_SQUARED_35
