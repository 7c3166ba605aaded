"""Colour jitter: torchvision's ColorJitter, operation by operation and in the distribution of its draws."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torchvision.transforms import ColorJitter

from tests.support.examples import examples
from tests.support.training_fixtures import small_recipe
from tests.trainables.augmentation.test_operations import pictures
from trainables.augmentation import batch as augment
from trainables.augmentation.jitter import JITTERS, draw_jitter
from trainables.augmentation.operations import apply_policy
from trainables.augmentation.policies import OPERATIONS, Drawn

ALL: dict[str, Any] = {
    "jitter_brightness": 0.4,
    "jitter_contrast": 0.5,
    "jitter_saturation": 1.5,
    "jitter_hue": 0.1,
}
THEIRS = {
    "Brightness": tv.adjust_brightness,
    "Contrast": tv.adjust_contrast,
    "Color": tv.adjust_saturation,
    "Hue": tv.adjust_hue,
}
FILL = torch.zeros(3, dtype=torch.uint8)


def theirs(image: torch.Tensor, name: str, magnitude: float) -> torch.Tensor:
    """Torchvision's result on one image (H, W, C)."""
    factor = magnitude if name == "Hue" else 1 + magnitude
    return THEIRS[name](image.permute(2, 0, 1), factor).permute(1, 2, 0)


@examples(100)
@given(
    name=st.sampled_from(sorted(THEIRS)),
    share=st.floats(-1, 1),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    channels=st.sampled_from([1, 3]),
)
def test_an_operation_of_any_strength_is_torchvisions(
    name: str, share: float, size: tuple[int, int], channels: int
) -> None:
    magnitude = share * (0.5 if name == "Hue" else 1.0)
    x = pictures(8, size, channels)
    drawn = [Drawn(np.full(8, OPERATIONS.index(name)), np.full(8, magnitude))]
    found = apply_policy(x.clone(), drawn, FILL[:channels])
    expected = torch.stack([theirs(image, name, magnitude) for image in x])
    difference = (found.int() - expected.int()).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).double().mean()) < 0.02 or x[0].numel() < 100


def test_every_colour_is_turned_as_torchvision_turns_it() -> None:
    step = torch.arange(0, 256, 5, dtype=torch.uint8)
    x = torch.cartesian_prod(step, step, step).view(1, 1, -1, 3)
    for magnitude in (-0.5, -0.2, 0.0, 1 / 3, 0.5):
        found = apply_policy(x.clone(), [Drawn(np.array([OPERATIONS.index("Hue")]), np.array([magnitude]))], FILL)
        difference = (found[0].int() - theirs(x[0], "Hue", magnitude).int()).abs()
        assert int(difference.max()) <= 1
        assert float((difference > 0).double().mean()) < 0.01
        assert torch.equal(found, x) == (magnitude == 0)


def test_each_image_has_all_operations_in_an_order_of_its_own() -> None:
    count = 2400
    drawn = draw_jitter(small_recipe(**ALL), count, np.random.default_rng(1))
    orders = Counter(zip(*(step.operations.tolist() for step in drawn), strict=True))
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(map(OPERATIONS.index, JITTERS.values())))}
    assert len(orders) == 24
    assert min(orders.values()) > 60  # of 100; four standard deviations
    assert max(orders.values()) < 140


def test_factors_are_uniform_where_torchvision_draws_them() -> None:
    drawn = draw_jitter(small_recipe(**ALL), 4000, np.random.default_rng(2))
    transform = ColorJitter(0.4, 0.5, 1.5, 0.1)
    ends = {"Brightness": transform.brightness, "Contrast": transform.contrast, "Color": transform.saturation}
    for name in JITTERS.values():
        found = np.concatenate([step.magnitudes[step.operations == OPERATIONS.index(name)] for step in drawn])
        low, high = transform.hue if name == "Hue" else (end - 1 for end in ends[name])
        assert len(found) == 4000
        assert kstest(found, "uniform", (low, high - low)).pvalue > 1e-3


def test_only_what_the_recipe_jitters_is_drawn_and_nothing_without() -> None:
    draw = np.random.default_rng(3)
    state = draw.bit_generator.state
    assert draw_jitter(small_recipe(), 64, draw) == []
    assert draw.bit_generator.state == state
    (step,) = draw_jitter(small_recipe(jitter_hue=0.2), 64, draw)
    assert set(step.operations.tolist()) == {OPERATIONS.index("Hue")}


@pytest.mark.parametrize("policy", ["none", "randaugment"])
def test_a_batch_is_jittered_before_its_policy_and_its_norm(policy: str) -> None:
    images, index = pictures(40, (9, 12), 3), torch.arange(40)
    recipe = small_recipe(**ALL, policy=policy)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    found = augment.augmented_batch(
        images, index, recipe, mean, std, torch.Generator().manual_seed(1), np.random.default_rng(4)
    )
    draw, fill = np.random.default_rng(4), torch.full((3,), 128, dtype=torch.uint8)
    jittered = apply_policy(images.clone(), draw_jitter(recipe, 40, draw), fill)
    after = apply_policy(jittered, augment.draw_policy(recipe, 40, 9, 12, draw), fill)
    assert torch.equal(found, augment.normalise(after, mean, std))
