"""The operations of policies, each against torchvision's on one image at a time with the same magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from tests.support.examples import examples
from tests.support.training_fixtures import AUGMENTED, small_recipe
from tests.trainables.augmentation.test_policies import POLICIES
from trainables.augmentation import batch as augment
from trainables.augmentation.operations import BATCHED, MAPS, apply_policy
from trainables.augmentation.policies import LEVELS, OPERATIONS, SIGNED, Drawn, draw_policy, magnitudes

SIZES = [(32, 32), (28, 28), (9, 12), (13, 7), (2, 5)]
FILL = (125, 123, 114)
BLENDS = {"Brightness", "Color", "Contrast", "Sharpness", "AutoContrast"}
TIE = 1e-4  # pixels: nearer to the middle between two pixels, another order of additions may choose the other one


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def pictures(batch: int, size: tuple[int, int], channels: int) -> Tensor:
    """Images uint8 (N, H, W, C): noise, noise of few values, and some of one value alone."""
    draw = torch.Generator().manual_seed(6)
    x = torch.randint(0, 256, (batch, *size, channels), dtype=torch.uint8, generator=draw)
    x[::3] = x[::3] // 8 + 60
    x[1::7] = 77
    return x


def expected_image(image: Tensor, name: str, magnitude: float) -> Tensor:
    """Torchvision's result on one image (H, W, C)."""
    fill = [float(value) for value in FILL[: image.shape[2]]]
    found = _apply_op(image.permute(2, 0, 1).contiguous(), name, magnitude, InterpolationMode.NEAREST, fill)
    return found.permute(1, 2, 0)


def on_ties(name: str, magnitude: float, size: tuple[int, int]) -> Tensor:
    """Where (H, W) a moved pixel's source, in double precision, is as near to one pixel as to another."""
    height, width = size
    if name not in ("ShearX", "ShearY", "Rotate"):
        return torch.zeros(size, dtype=torch.bool)
    shear = {"ShearX": [magnitude, 0.0], "ShearY": [0.0, magnitude]}.get(name, [0.0, 0.0])
    degrees = [float(np.degrees(np.arctan(value))) for value in shear]
    middle = [0.0, 0.0] if name == "Rotate" else [-width / 2, -height / 2]
    angle = -magnitude if name == "Rotate" else 0.0
    matrix = np.array(tv._get_inverse_affine_matrix(middle, angle, [0.0, 0.0], 1.0, degrees)).reshape(2, 3)
    rows, columns = np.mgrid[:height, :width]
    target = np.stack([columns - (width - 1) / 2, rows - (height - 1) / 2, np.ones(size)])
    source = np.einsum("ij,jhw->ihw", matrix, target) + np.array([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    return torch.from_numpy((np.abs(source - np.floor(source) - 0.5) < TIE).any(0))


def assert_torchvisions(found: Tensor, image: Tensor, name: str, magnitude: float) -> None:
    expected = expected_image(image, name, magnitude)
    difference = (found.int() - expected.int()).abs()
    if name in BLENDS:
        assert int(difference.max()) <= 1
        assert float((difference > 0).double().mean()) < 0.02
    else:
        assert int((difference.amax(2) * ~on_ties(name, magnitude, (image.shape[0], image.shape[1]))).max()) == 0


def test_trivialaugment_lies_between_crop_and_flip_and_cutout_and_erasing() -> None:
    """All four on one batch, each image as torchvision makes it, with the same draws."""
    options = {"crop_padding": 2, "flip": True, "policy": "trivialaugment", "cutout": 4, "erasing": 0.7}
    recipe, images = small_recipe(**options), pictures(40, (12, 12), 3)
    index, mean, std = torch.arange(39, -1, -1), torch.tensor(FILL) / 255, torch.tensor([0.25, 0.24, 0.26])
    draw, host_draw = torch.Generator().manual_seed(4), np.random.default_rng(4)
    found = augment.augmented_batch(images, index, recipe, mean, std, draw, host_draw)
    draw, host_draw = torch.Generator().manual_seed(4), np.random.default_rng(4)
    shown = augment.crop_and_flip(images, index, recipe, draw)
    (drawn,) = draw_policy(recipe, 40, 12, 12, host_draw)
    names = [OPERATIONS[number] for number in drawn.operations]
    centres, rectangles = augment.draw_centres(found, draw), augment.draw_rectangles(found, 0.7, draw)
    assert len(set(names)) > 8
    assert not torch.equal(shown, images[index])
    for i, (image, name) in enumerate(zip(shown, names, strict=True)):
        magnitude = float(drawn.magnitudes[i])
        expected = tv.normalize(expected_image(image, name, magnitude).permute(2, 0, 1) / 255, mean, std)
        row, column = centres[:, i].tolist()
        expected[:, max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = 0
        top, left, tall, wide = rectangles[:, i].tolist()
        expected = tv.erase(expected, top, left, tall, wide, torch.zeros(3, tall, wide))
        tied = on_ties(name, magnitude, (12, 12))
        step = 1.01 / 255 / 0.24 if name in BLENDS else 1e-3  # a blend may round to the next of 256 values
        assert float(((found[i] - expected).abs().amax(0) * ~tied).max()) <= step
    assert (found == 0).all(1).any()


def test_every_operation_but_identity_is_implemented() -> None:
    assert set(BATCHED) == set(OPERATIONS) - {"Identity"}
    assert set(MAPS) <= SIGNED


@pytest.mark.parametrize("name", OPERATIONS[:-1])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_of_any_magnitude_of_the_tables_is_torchvisions(
    name: str, size: tuple[int, int], channels: int, device: torch.device
) -> None:
    number = OPERATIONS.index(name)
    listed = np.unique(np.concatenate([magnitudes(policy, *size)[number] for policy in LEVELS]))
    if name in SIGNED:
        listed = np.concatenate([listed, -listed])
    if len(listed) > 40:  # of shears, turns and blends: three policies with two signs
        listed = listed[:: len(listed) // 40 + 1]
    repeated = np.tile(listed, 1 + 8 // len(listed))
    x = pictures(len(repeated), size, channels)
    fill = torch.tensor(FILL[:channels], dtype=torch.uint8)
    drawn = [Drawn(np.full(len(repeated), number), repeated)]
    found = apply_policy(x.clone().to(device), drawn, fill.to(device)).cpu()
    assert found.dtype == torch.uint8
    for image, result, magnitude in zip(x, found, repeated.tolist(), strict=True):
        assert_torchvisions(result, image, name, magnitude)
    visible = name != "Identity" and not (name == "Color" and channels == 1)
    visible = visible and not (name == "Sharpness" and min(size) <= 2)
    visible = visible and not (name == "Equalize" and size[0] * size[1] < 256)  # too few for 255 steps
    assert torch.equal(found, x) == (not visible)


@examples(60)
@given(
    name=st.sampled_from(sorted(MAPS | dict.fromkeys(("Brightness", "Contrast", "Solarize")))),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    share=st.floats(0, 1),
    sign=st.sampled_from([-1.0, 1.0]),
    channels=st.sampled_from([1, 3]),
)
def test_an_operation_of_any_magnitude_on_any_size_is_torchvisions(
    name: str, size: tuple[int, int], share: float, sign: float, channels: int
) -> None:
    ends = {"Rotate": 180.0, "TranslateX": 40.0, "TranslateY": 40.0, "Solarize": 255.0}
    magnitude = ends.get(name, 0.99) * share * (1.0 if name == "Solarize" else sign)
    x = pictures(2, size, channels)
    drawn = [Drawn(np.full(2, OPERATIONS.index(name)), np.full(2, magnitude))]
    found = apply_policy(x.clone(), drawn, torch.tensor(FILL[:channels], dtype=torch.uint8))
    for image, result in zip(x, found, strict=True):
        assert_torchvisions(result, image, name, magnitude)


@pytest.mark.parametrize("options", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_what_torchvision_makes_of_each_image_with_the_same_draws(
    options: dict[str, Any], channels: int, device: torch.device
) -> None:
    images, size = pictures(90, (12, 10), channels), (12, 10)
    mean = torch.tensor([0.49, 0.48, 0.45][:channels])
    fill = [float(value) for value in (mean * 255).round()]
    std, index = torch.full((channels,), 0.25), torch.arange(89, -1, -1)
    recipe = small_recipe(**{**AUGMENTED, **options, "rotation_degrees": 0.0, "cutout": 0})
    on_device = (images.to(device), index.to(device), recipe, mean.to(device), std.to(device))
    found = augment.augmented_batch(*on_device, torch.Generator(device).manual_seed(2), np.random.default_rng(7))
    drawn = draw_policy(recipe, 90, *size, np.random.default_rng(7))
    crops = augment.crop_and_flip(*on_device[:3], torch.Generator(device).manual_seed(2)).cpu()
    changed = 0
    for i, crop in enumerate(crops):
        expected = crop.permute(2, 0, 1).contiguous()
        for step in drawn:
            name, magnitude = OPERATIONS[step.operations[i]], float(step.magnitudes[i])
            expected = _apply_op(expected, name, magnitude, InterpolationMode.NEAREST, fill)
        changed += not torch.equal(expected, crop.permute(2, 0, 1))
        wrong = (found[i].cpu() * 0.25 + mean[:, None, None] - expected / 255).abs() > 1.5 / 255
        assert float(wrong.double().mean()) < 0.05  # a tie of a turned pixel; a blend rounded otherwise, equalized
    assert changed > 45


def test_operations_read_nothing_back() -> None:
    meta, batch = torch.device("meta"), 2 * len(OPERATIONS)  # whose tensors have no numbers: to ask for one raises
    x = torch.empty(batch, 9, 12, 3, dtype=torch.uint8, device=meta)
    drawn = [Drawn(np.arange(batch) % len(OPERATIONS), np.full(batch, 0.3))] * 2
    found = apply_policy(x, drawn, torch.empty(3, dtype=torch.uint8, device=meta))
    assert (found.shape, found.dtype) == (x.shape, torch.uint8)
