"""Augmentation of whole batches on the device: one draw per image, no loop over images.

Crop and flip are one gather from the uint8 images (N, H, W, C): the channel is the innermost axis, so the gather
copies runs of C bytes and its result, seen as (N, C, H, W), is already channels-last for the convolutions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.recipe import Recipe


def augmented_batch(
    images: Tensor, index: Tensor, recipe: Recipe, mean: Tensor, std: Tensor, draw: torch.Generator
) -> Tensor:
    """Normalised, augmented float32 images (B, C, H, W), channels-last, from uint8 `images` (N, H, W, C) at `index`.

    `mean` and `std` are (C,) in units of [0, 1]; `draw` is a generator on the images' device.
    """
    x = crop_and_flip(images, index, recipe, draw)
    x = normalise(x, mean, std)
    if recipe.rotation_degrees:
        x = rotate(x, draw_angles(len(index), recipe.rotation_degrees, draw))
    if recipe.cutout:
        x = cut_out(x, recipe.cutout, draw_centres(x, draw))
    return x


def normalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x / 255 - mean) / std as float32 (B, C, H, W), from uint8 or float (B, H, W, C) in 0..255."""
    scale = 1 / (255 * std)
    return torch.addcmul(-mean / std, x.float(), scale).permute(0, 3, 1, 2)


def crop_and_flip(images: Tensor, index: Tensor, recipe: Recipe, draw: torch.Generator) -> Tensor:
    """The images (B, H, W, C) at `index`, uint8, each cropped from its padding and flipped by its own draw."""
    if not recipe.crop_padding and not recipe.flip:
        return images[index]
    batch, device = len(index), images.device
    pad = recipe.crop_padding
    offset = torch.randint(-pad, pad + 1, (2, batch, 1), generator=draw, device=device)
    flipped = torch.rand((batch, 1), generator=draw, device=device) < 0.5 if recipe.flip else None
    return shift_and_flip(images, index, offset, flipped, recipe.padding_mode)


def shift_and_flip(images: Tensor, index: Tensor, offset: Tensor, flipped: Tensor | None, padding_mode: str) -> Tensor:
    """The images (B, H, W, C) moved by `offset` (2, B, 1) rows and columns and, where `flipped` (B, 1), mirrored.

    An offset of +1 shows what lies one pixel below or to the right, as torchvision's crop at (pad + offset).
    """
    height, width = images.shape[1:3]
    rows = torch.arange(height, device=images.device) + offset[0]  # (B, H)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(flipped, width - 1 - columns, columns) if flipped is not None else columns
    columns = columns + offset[1]  # (B, W)
    if padding_mode == "reflect":
        return images[index[:, None, None], _reflect(rows, height)[:, :, None], _reflect(columns, width)[:, None, :]]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    return images[index[:, None, None], rows[:, :, None], columns[:, None, :]] * inside[..., None]


def draw_angles(batch: int, degrees: float, draw: torch.Generator) -> Tensor:
    """Angles (B,) in degrees, uniform within +-`degrees`."""
    return (torch.rand(batch, generator=draw, device=draw.device) * 2 - 1) * degrees


def rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Images (B, C, H, W) rotated counter-clockwise by `degrees` (B,), bilinear; what enters is the mean colour."""
    batch, _, height, width = x.shape
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(cos)
    # The grid is in units of half a side, so a rectangle needs its aspect ratio in the off-diagonal terms.
    theta = torch.stack(
        [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)], 1
    )
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    rotated = F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)
    return rotated.contiguous(memory_format=torch.channels_last)  # grid_sample itself returns (N, C, H, W) strides


def draw_centres(x: Tensor, draw: torch.Generator) -> Tensor:
    """One pixel per image of (B, C, H, W), uniform, as (2, B): row and column."""
    batch, _, height, width = x.shape
    rows = torch.randint(0, height, (batch,), generator=draw, device=draw.device)
    columns = torch.randint(0, width, (batch,), generator=draw, device=draw.device)
    return torch.stack([rows, columns])


def cut_out(x: Tensor, side: int, centres: Tensor) -> Tensor:
    """Images (B, C, H, W) with a square of `side` around `centres` (2, B), clipped at the border, set to zero.

    Zero is the mean colour after normalisation. Source: DeVries & Taylor, arXiv 1708.04552.
    """
    _, _, height, width = x.shape
    first = centres - side // 2  # (2, B): the square covers first .. first + side - 1
    rows = torch.arange(height, device=x.device) - first[0][:, None]
    columns = torch.arange(width, device=x.device) - first[1][:, None]
    outside = ((rows < 0) | (rows >= side))[:, :, None] | ((columns < 0) | (columns >= side))[:, None, :]
    return x * outside[:, None]  # masked_fill would lose channels-last


def _reflect(position: Tensor, size: int) -> Tensor:
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position).clamp_(0, size - 1)
