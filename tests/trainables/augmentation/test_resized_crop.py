"""Random resized crops: torchvision's rectangles from the same draws, and its pixels, image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as tv
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from tests.support.examples import examples
from tests.support.training_fixtures import small_recipe
from tests.trainables.augmentation.test_operations import pictures
from trainables.augmentation import batch as augment
from trainables.augmentation.resized_crop import SHOWN_RATIO, TRIES, draw_boxes, resize_boxes


@examples(100)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)), channels=st.sampled_from([1, 3]), seed=st.integers(0, 2**31)
)
def test_pixels_are_torchvisions(size: tuple[int, int], channels: int, seed: int) -> None:
    x, draw = pictures(8, size, channels), np.random.default_rng(seed)
    sides = draw.integers(1, np.array(size)[:, None] + 1, (2, 8))
    corners = draw.integers(0, np.array(size)[:, None] + 1 - sides)
    boxes = torch.from_numpy(np.concatenate([corners, sides]))
    found = resize_boxes(x, boxes)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    # What is made larger is not smoothed; torch's kernel that would smooth misreads images of one column.
    for image, result, box in zip(x, found, boxes.T.tolist(), strict=True):
        expected = tv.resized_crop(image.permute(2, 0, 1), *box, list(size), antialias=False).permute(1, 2, 0)
        difference = (result.int() - expected.int()).abs()
        assert int(difference.max()) <= 1
        top, left, height, width = box
        shown = image[top : top + height, left : left + width].permute(2, 0, 1).double()
        exact = F.interpolate(shown[None], size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        from_half = (exact - exact.floor() - 0.5).abs()
        assert bool((from_half[difference > 0] < 1e-3).all())  # a half may be rounded the other way


def loops_box(height: int, width: int, least: float, areas: list[float], ratios: list[float]) -> tuple[int, int] | None:
    """Height and width that the loop in torchvision's RandomResizedCrop takes, from draws in [0, 1]."""
    low, high = map(math.log, SHOWN_RATIO)
    for of_area, of_ratio in zip(areas, ratios, strict=True):
        area, ratio = (least + (1 - least) * of_area) * height * width, math.exp(low + (high - low) * of_ratio)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return h, w
    return None


@pytest.mark.parametrize("size", [(32, 32), (9, 12), (40, 7), (7, 40)])
@pytest.mark.parametrize("least", [0.08, 0.5, 0.99])
def test_rectangles_are_what_torchvisions_loop_makes_of_the_same_draws(size: tuple[int, int], least: float) -> None:
    count = 300
    boxes = draw_boxes(count, *size, least, torch.Generator().manual_seed(5))
    areas, ratios = torch.rand((2, TRIES, count), generator=torch.Generator().manual_seed(5)).double()
    whole = RandomResizedCrop(1, (2.0, 2.0))  # of which no try fits
    fallback = whole.get_params(torch.zeros(1, *size), [2.0, 2.0], list(SHOWN_RATIO))
    missed = 0
    for i in range(count):
        sides = loops_box(*size, least, areas[:, i].tolist(), ratios[:, i].tolist())
        missed += sides is None
        if sides is None:
            assert tuple(boxes[:, i].tolist()) == fallback
        else:
            assert tuple(boxes[2:, i].tolist()) == sides
    if 7 in size and least > 0.4:  # too narrow for any rectangle of half the area
        assert missed == count
    assert (boxes[:2] >= 0).all()
    assert (boxes[:2] + boxes[2:] <= torch.tensor(size)[:, None]).all()


def test_rectangles_are_distributed_as_torchvisions() -> None:
    count = 2000
    found = draw_boxes(count, 24, 32, 0.08, torch.Generator().manual_seed(1)).numpy()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        x = torch.zeros(1, 24, 32)
        expected = np.array([RandomResizedCrop.get_params(x, [0.08, 1.0], list(SHOWN_RATIO)) for _ in range(count)]).T
    for ours, theirs in zip(found, expected, strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-3


def test_a_batch_is_cropped_before_its_norm_and_nothing_is_drawn_without() -> None:
    images, index = pictures(40, (9, 12), 3), torch.arange(40)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    draw, host = torch.Generator().manual_seed(1), np.random.default_rng(4)
    found = augment.augmented_batch(images, index, small_recipe(resized_crop=0.3), mean, std, draw, host)
    boxes = draw_boxes(40, 9, 12, 0.3, torch.Generator().manual_seed(1))
    assert torch.equal(found, augment.normalise(resize_boxes(images, boxes), mean, std))
    state = draw.get_state()
    augment.augmented_batch(images, index, small_recipe(), mean, std, draw, host)
    assert torch.equal(draw.get_state(), state)


def test_cropping_reads_nothing_back() -> None:
    x = torch.empty(4, 9, 12, 3, dtype=torch.uint8, device="meta")
    assert resize_boxes(x, torch.empty(4, 4, dtype=torch.int64, device="meta")).shape == x.shape
