"""The network as it is handed in: from decoded images of any size to logits, with the preparation inside."""

from __future__ import annotations

from typing import Final

import PIL
import torch
from torch import Tensor, nn

from trainables.augmentation.batch import normalise

COEFFICIENT_BITS: Final = 22
"""Bits of Pillow's fixed-point coefficients: sums of 8-bit values times them are exact in float64."""
ROWS_FIRST_SINCE: Final = 13
"""The version of Pillow since which rows are resized before columns where that removes more than twice as many."""


class Prepared(nn.Module):
    """Crops images to the ratio of the trained shape and resizes them to it: uint8 (N, H, W, C) -> (N, h, w, C).

    It is what `PIL.ImageOps.fit` makes of an image with bilinear resampling, to the bit, in the fixed-point arithmetic
    of the installed Pillow. An image of the trained size stays as it is. It takes 8 bytes per input value at least.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.may_start_with_rows = int(PIL.__version__.partition(".")[0]) >= ROWS_FIRST_SINCE

    def forward(self, images: Tensor) -> Tensor:
        height, width = (torch.scalar_tensor(size, dtype=torch.float64) for size in images.shape[1:3])
        ratio = self.width / self.height
        crop_width = torch.where(width / height > ratio, ratio * height, width)
        crop_height = torch.where(width / height < ratio, width / ratio, height)
        columns = coefficients((width - crop_width) / 2, crop_width, self.width, images.shape[2]).T
        rows = coefficients((height - crop_height) / 2, crop_height, self.height, images.shape[1])
        x = images.permute(0, 3, 1, 2).double()  # (N, H, W, C) -> (N, C, H, W)
        y = rounded(rows @ rounded(x @ columns))
        if self.may_start_with_rows:
            tall = (height > self.height) & (height - self.height > 2 * (width - self.width))
            y = torch.where(tall, rounded(rounded(rows @ x) @ columns), y)
        return y.permute(0, 2, 3, 1)


def coefficients(start: Tensor, length: Tensor, outputs: int, inputs: int) -> Tensor:
    """Pillow's integer coefficients (`outputs`, `inputs`) that resize `length` pixels from `start`, as float64.

    A triangle as wide as an output pixel, and at least as an input pixel, weighs the inputs around each output.
    """
    first, end = start.float(), (start + length).float()  # Pillow holds the box in float32
    scale = (end - first).double() / outputs
    reach = scale.clamp(min=1)
    centre = (first.double() + (torch.arange(outputs, dtype=torch.float64) + 0.5) * scale)[:, None]
    place = torch.arange(inputs, dtype=torch.float64)
    inside = (place >= (centre - reach + 0.5).trunc()) & (place < (centre + reach + 0.5).trunc())
    weights = (1 - (place - centre + 0.5).mul(1 / reach).abs()).clamp(min=0) * inside
    return (weights / weights.sum(1, keepdim=True) * 2**COEFFICIENT_BITS + 0.5).floor()


def rounded(sums: Tensor) -> Tensor:
    """Sums over fixed-point coefficients as whole values, halves up."""
    return (sums * 2.0**-COEFFICIENT_BITS + 0.5).floor()


class Deployed(nn.Module):
    """A classifier that prepares its images itself, from decoded uint8 (N, H, W, C) to logits (N, classes).

    `shape` (height, width) is that of the images it was trained on; images are cropped and resized to it, or with None
    taken as they are.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor, shape: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.prepared = nn.Identity() if shape is None else Prepared(*shape)
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:  # (N, H, W, C) uint8 -> (N, classes) float32
        logits: Tensor = self.network(normalise(self.prepared(images), self.mean, self.std))
        return logits
