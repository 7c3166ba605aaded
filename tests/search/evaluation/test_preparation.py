"""The preparation inside an exported network is that of the training images, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from search.evaluation.deployed import Prepared
from tests.support.examples import examples

SIDES = st.integers(1, 160)
TRAINED = st.sampled_from([(16, 16), (32, 32), (28, 28), (9, 40), (64, 48)])


@examples(150)
@given(side=SIDES, other=SIDES, trained=TRAINED, grey=st.booleans(), seed=st.integers(0, 2**16))
def test_it_is_pillows(side: int, other: int, trained: tuple[int, int], grey: bool, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (side, other, 1 if grey else 3), dtype=np.uint8)
    size = (trained[1], trained[0])
    fitted = ImageOps.fit(Image.fromarray(image[..., 0] if grey else image), size, Image.Resampling.BILINEAR)
    prepared = Prepared(*trained)(torch.from_numpy(image)[None])
    np.testing.assert_array_equal(prepared[0].numpy(), np.asarray(fitted).reshape(*trained, -1))


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (30, 41)])
def test_images_of_the_trained_size_stay_as_they_are(size: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (3, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Prepared(*size)(images), images.double())
