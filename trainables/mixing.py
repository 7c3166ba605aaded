"""Mixing the images of a batch in pairs: mixup and cutmix.

The draws are made on the host, by NumPy, from the epoch's seed: torch draws no Beta from a generator of one's own, a
share and a box that the host knows cost no wait for the device, and every device mixes alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.recipe import Recipe

Box = tuple[int, int, int, int]
"""First row, first column, and the row and the column after the last."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How the images of one batch are mixed with their partners."""

    share: float
    """Weight of an image's own label, in [0, 1]; its partner's has the rest."""
    box: Box | None
    """What cutmix takes from the partner; None for mixup, which blends all pixels by `share`."""


def draw_mix(recipe: Recipe, height: int, width: int, draw: np.random.Generator) -> Mix | None:
    """The mix of one batch of images of `height` x `width` pixels; None, and no draw, when the recipe does not mix.

    Source: mixup, arXiv 1710.09412; cutmix, arXiv 1905.04899; the rounding of the box is torchvision's.
    """
    if recipe.mixup_alpha:
        return Mix(float(draw.beta(recipe.mixup_alpha, recipe.mixup_alpha)), None)
    if recipe.cutmix_alpha:
        kept = float(draw.beta(recipe.cutmix_alpha, recipe.cutmix_alpha))
        return mix_of_box(kept, int(draw.integers(height)), int(draw.integers(width)), height, width)
    return None


def mix_of_box(kept: float, row: int, column: int, height: int, width: int) -> Mix:
    """The mix by a box of 1 - `kept` of the area around a pixel, clipped at the border.

    The share is that of the pixels which remain, so that labels follow what is seen.
    """
    half = math.sqrt(1 - kept) / 2
    down, across = int(half * height), int(half * width)
    top, bottom = max(row - down, 0), min(row + down, height)
    left, right = max(column - across, 0), min(column + across, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom, right))


def draw_partners(batch: int, draw: torch.Generator) -> Tensor:
    """The position of each image's partner in the batch, (B,): a permutation, on the generator's device."""
    return torch.randperm(batch, generator=draw, device=draw.device)


def mix_images(x: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Images (B, C, H, W), each mixed with its partner's in `x`; strides as those of `x`."""
    if mix.box is None:
        return x * mix.share + x[partners] * (1 - mix.share)
    top, left, bottom, right = mix.box
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[partners, :, top:bottom, left:right]
    return mixed


@dataclass(frozen=True, slots=True)
class Labels:
    """What the images of a batch show: classes (B,), or for mixed images two each, by their shares."""

    own: Tensor
    partners: Tensor | None = None
    share: float = 1.0
    """Weight of the own class, in [0, 1]; the partner's has the rest."""

    def loss(self, logits: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of `logits` (B, K), nats, to the labels mixed and then smoothed.

        Cross-entropy is linear in the target, so it is the mean of that to either class, weighted by its share.
        """
        own = F.cross_entropy(logits, self.own, label_smoothing=label_smoothing)
        if self.partners is None:
            return own
        other = F.cross_entropy(logits, self.partners, label_smoothing=label_smoothing)
        return own * self.share + other * (1 - self.share)

    def correct(self, logits: Tensor) -> Tensor:
        """The sum over the batch of the share of the class that the highest of `logits` (B, K) names."""
        answers = logits.argmax(1)
        own = (answers == self.own).sum()
        if self.partners is None:
            return own
        return own * self.share + (answers == self.partners).sum() * (1 - self.share)


def mixed_batch(
    x: Tensor, y: Tensor, recipe: Recipe, draw: torch.Generator, host_draw: np.random.Generator
) -> tuple[Tensor, Labels]:
    """The images (B, C, H, W) and classes (B,) of one batch as `recipe` mixes them; without mixing, as they are."""
    mix = draw_mix(recipe, x.shape[2], x.shape[3], host_draw)
    if mix is None:
        return x, Labels(y)
    partners = draw_partners(len(y), draw)
    return mix_images(x, partners, mix), Labels(y, y[partners], mix.share)
