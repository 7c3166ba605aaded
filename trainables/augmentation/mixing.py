"""Mixes the images of a batch: pairs of images with mixup and CutMix, four images with RICAP.

NumPy draws on the host from the epoch's seed, because torch cannot draw from a Beta distribution with a given
generator, because the host then knows shares and boxes without waiting for the device, and so that every device mixes
the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.recipe import MIXES, Recipe

Box = tuple[int, int, int, int]
"""First row, first column, and the row and the column after the last ones."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How the images of one batch are mixed with their partners."""

    share: float
    """Weight of an image's own label, in [0, 1]; its partner's label has the rest."""
    box: Box | None
    """The box that CutMix takes from the partner; None for mixup, which blends all pixels by `share`."""


@dataclass(frozen=True, slots=True)
class Patches:
    """How four images are patched into each image of one batch: upper left, upper right, lower left, lower right."""

    boxes: tuple[Box, Box, Box, Box]
    """The box of each of the four; together they cover the image, and some may be empty."""
    corners: tuple[tuple[int, int], ...]
    """For each of the four, the pixel that becomes the upper left corner of its box."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Each of the four's share of the pixels, which is the weight of its label."""
        areas = [(bottom - top) * (right - left) for top, left, bottom, right in self.boxes]
        return tuple(area / sum(areas) for area in areas)


def mixing_strength(recipe: Recipe, progress: float) -> float:
    """How strongly `recipe` mixes after `progress` in [0, 1] of the training, in [0, 1]."""
    match recipe.mix_strength:
        case "constant":
            return 1.0
        case "growing":
            return progress
        case "fading":
            return 1 - progress


def draw_mix(
    recipe: Recipe, height: int, width: int, draw: np.random.Generator, strength: float = 1.0
) -> Mix | Patches | None:
    """The mix of one batch of images of `height` x `width` pixels; None if the recipe does not mix, or not this batch.

    `strength` in [0, 1] scales the smaller weight of mixup, the area of CutMix's box before it is clipped, and the
    distances of RICAP's boundary from the nearer edges. The draws are the same at every strength.

    A recipe that mixes no batch or every batch draws nothing for that question.

    Source: mixup, arXiv 1710.09412; CutMix, arXiv 1905.04899, with the box rounded as in torchvision; RICAP, arXiv
    1811.09030, which like this draws one boundary and one set of crops per batch.
    """
    if not any(getattr(recipe, name) for name in MIXES):
        return None
    if recipe.mix_probability < 1 and draw.random() >= recipe.mix_probability:
        return None
    if recipe.mixup_alpha:
        return Mix(_towards_end(float(draw.beta(recipe.mixup_alpha, recipe.mixup_alpha)), strength), None)
    if recipe.cutmix_alpha:
        kept = float(draw.beta(recipe.cutmix_alpha, recipe.cutmix_alpha))
        kept += (1 - strength) * (1 - kept)
        return mix_of_box(kept, int(draw.integers(height)), int(draw.integers(width)), height, width)
    row = round(height * _towards_end(float(draw.beta(recipe.ricap_beta, recipe.ricap_beta)), strength))
    column = round(width * _towards_end(float(draw.beta(recipe.ricap_beta, recipe.ricap_beta)), strength))
    boxes = ((0, 0, row, column), (0, column, row, width), (row, 0, height, column), (row, column, height, width))
    corners = [
        (int(draw.integers(height - (bottom - top) + 1)), int(draw.integers(width - (right - left) + 1)))
        for top, left, bottom, right in boxes
    ]
    return Patches(boxes, tuple(corners))


def _towards_end(share: float, strength: float) -> float:
    """`share` in [0, 1] with its distance from the nearer end multiplied by `strength`; the same bits at 1."""
    return share + (1 - strength) * (round(share) - share)


def mix_of_box(kept: float, row: int, column: int, height: int, width: int) -> Mix:
    """The mix with a box around a pixel that covers 1 - `kept` of the area and is clipped at the border.

    The share is that of the pixels that remain after clipping, so that the labels match the visible image.
    """
    half = math.sqrt(1 - kept) / 2
    down, across = int(half * height), int(half * width)
    top, bottom = max(row - down, 0), min(row + down, height)
    left, right = max(column - across, 0), min(column + across, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom, right))


def draw_partners(batch: int, draw: torch.Generator) -> Tensor:
    """The position of each image's partner in the batch, (B,), a permutation on the generator's device."""
    return torch.randperm(batch, generator=draw, device=draw.device)


def mix_images(x: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Images (B, C, H, W), each mixed with its partner in `x`; the strides are those of `x`."""
    if mix.box is None:
        return x * mix.share + x[partners] * (1 - mix.share)
    top, left, bottom, right = mix.box
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[partners, :, top:bottom, left:right]
    return mixed


def patch_images(x: Tensor, partners: Sequence[Tensor], patches: Patches) -> Tensor:
    """Images (B, C, H, W), each patched from itself, upper left, and three `partners` (B,); strides as in `x`."""
    patched = torch.empty_like(x)
    for box, corner, source in zip(patches.boxes, patches.corners, (None, *partners), strict=True):
        (top, left, bottom, right), (row, column) = box, corner
        seen = x[:, :, row : row + bottom - top, column : column + right - left]
        patched[:, :, top:bottom, left:right] = seen if source is None else seen[source]
    return patched


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a batch: classes (B,), each with the share of an image that shows them; the shares sum to 1."""

    shown: tuple[tuple[Tensor, float], ...]

    def loss(self, logits: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of `logits` (B, K) to the labels, mixed and then smoothed, in nats.

        Cross-entropy is linear in the target, so it is the mean over the classes, weighted by their shares.
        """
        return self._mean(lambda y: F.cross_entropy(logits, y, label_smoothing=label_smoothing))

    def correct(self, logits: Tensor) -> Tensor:
        """The share of the predicted class, that of the highest of `logits` (B, K), summed over the batch."""
        answers = logits.argmax(1)
        return self._mean(lambda y: (answers == y).sum())

    def _mean(self, figure: Callable[[Tensor], Tensor]) -> Tensor:
        if len(self.shown) == 1:
            return figure(self.shown[0][0])
        return torch.stack([figure(y) * share for y, share in self.shown]).sum()


def mixed_batch(
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    draw: torch.Generator,
    host_draw: np.random.Generator,
    strength: float = 1.0,
) -> tuple[Tensor, Labels]:
    """The images (B, C, H, W) and labels of one batch as `recipe` mixes them with `strength` in [0, 1].

    They are unchanged if it does not mix.
    """
    mix = draw_mix(recipe, x.shape[2], x.shape[3], host_draw, strength)
    if mix is None:
        return x, Labels(((y, 1.0),))
    if isinstance(mix, Patches):
        others = [draw_partners(len(y), draw) for _ in range(3)]
        shown = [y, *(y[partners] for partners in others)]
        return patch_images(x, others, mix), Labels(tuple(zip(shown, mix.shares, strict=True)))
    partners = draw_partners(len(y), draw)
    return mix_images(x, partners, mix), Labels(((y, mix.share), (y[partners], 1 - mix.share)))
