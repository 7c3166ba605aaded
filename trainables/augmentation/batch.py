"""Augments whole batches on the device, with one draw per image and without a loop over images.

The order is that of torchvision's recipes: crop and flip, resized crop, colour jitter, policy, normalisation, rotation,
cutout, erasing.

Crop and flip are one gather from the uint8 images (N, H, W, C). The channel is the innermost axis, so the gather
copies runs of C bytes, and its result, viewed as (N, C, H, W), is already channels-last for the convolutions.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.augmentation.jitter import draw_jitter
from trainables.augmentation.operations import apply_policy
from trainables.augmentation.policies import draw_policy
from trainables.augmentation.resized_crop import draw_boxes, resize_boxes
from trainables.recipe import Recipe

ERASED_AREA: Final = (0.02, 0.33)
"""Least and largest share of an image that is erased, as in the paper and in torchvision."""
ERASED_RATIO: Final = (0.3, 3.3)
"""Least and largest height of an erased rectangle over its width, as in the paper and in torchvision."""
ERASING_TRIES: Final = 10
"""Rectangles drawn for an image, of which the first that fits is erased; if none fits, nothing is erased."""


def augmented_batch(
    images: Tensor,
    index: Tensor,
    recipe: Recipe,
    mean: Tensor,
    std: Tensor,
    draw: torch.Generator,
    host_draw: np.random.Generator,
    flipped: Tensor | None = None,
) -> Tensor:
    """Normalised, augmented float32 images (B, C, H, W), channels-last, from uint8 `images` (N, H, W, C) at `index`.

    `mean` and `std` are (C,) in units of [0, 1]. `draw` is a generator on the images' device; only colour jitter
    and the operations of a policy are drawn from `host_draw`. `flipped` (B,) says which images a recipe with
    alternating flips mirrors; other recipes draw them.
    """
    x = crop_and_flip(images, index, recipe, draw, flipped)
    batch, height, width, _ = x.shape
    if recipe.resized_crop:
        x = resize_boxes(x, draw_boxes(batch, height, width, recipe.resized_crop, draw))
    drawn = [*draw_jitter(recipe, batch, host_draw), *draw_policy(recipe, batch, height, width, host_draw)]
    if drawn:
        x = apply_policy(x, drawn, (mean * 255).round().to(torch.uint8))
    x = normalise(x, mean, std)
    if recipe.rotation_degrees:
        x = rotate(x, draw_angles(len(index), recipe.rotation_degrees, draw))
    if recipe.cutout:
        x = cut_out(x, recipe.cutout, draw_centres(x, draw))
    if recipe.erasing:
        x = erase(x, draw_rectangles(x, recipe.erasing, draw))
    return x


def normalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x / 255 - mean) / std as float32 (B, C, H, W), from uint8 or float (B, H, W, C) in 0..255."""
    scale = 1 / (255 * std)
    return torch.addcmul(-mean / std, x.float(), scale).permute(0, 3, 1, 2)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, C, H, W) scaled down to `size`, bilinear with antialiasing, channels-last; `x` itself if it fits.

    This comes after the augmentation, whose paddings, squares and translations are in pixels of the full size, and
    before mixing, which is cheaper on small images.
    """
    if x.shape[2:] == size:
        return x
    small = F.interpolate(x, size, mode="bilinear", antialias=True)
    return small.contiguous(memory_format=torch.channels_last)


def first_flips(images: int, seed: int) -> Tensor:
    """The half of `images` images, (N,), that a training of `seed` with alternating flips mirrors in its first epoch.

    The second epoch mirrors the others, the third these again, so that two consecutive epochs show both views of every
    image. They are drawn on the host, so that all devices flip the same images, and from a stream of their own: the
    streams of the epochs have no spawn key. Source: Keller Jordan, arXiv 2404.00498.
    """
    draw = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    return torch.from_numpy(draw.random(images) < 0.5)


def crop_and_flip(
    images: Tensor, index: Tensor, recipe: Recipe, draw: torch.Generator, flipped: Tensor | None = None
) -> Tensor:
    """The uint8 images (B, H, W, C) at `index`, each with its own random crop from the padded image and its own flip.

    Raises:
        ValueError: `flipped` (B,) is missing with alternating flips, or given with random ones.
    """
    if (flipped is None) == (recipe.flip_order == "alternating"):
        state = "missing" if flipped is None else "given"
        raise ValueError(f"flipped: {state} with flip_order {recipe.flip_order}; give it with alternating only")
    if not recipe.crop_padding and not recipe.flip:
        return images[index]
    batch, device = len(index), images.device
    pad = recipe.crop_padding
    offset = torch.randint(-pad, pad + 1, (2, batch, 1), generator=draw, device=device)
    if flipped is not None:
        flipped = flipped[:, None]
    elif recipe.flip:
        flipped = torch.rand((batch, 1), generator=draw, device=device) < 0.5
    return shift_and_flip(images, index, offset, flipped, recipe.padding_mode)


def shift_and_flip(images: Tensor, index: Tensor, offset: Tensor, flipped: Tensor | None, padding_mode: str) -> Tensor:
    """The images (B, H, W, C) shifted by `offset` (2, B, 1) rows and columns, and mirrored where `flipped` (B, 1).

    An offset of +1 shows the pixel below or to the right, like torchvision's crop at (pad + offset).
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
    """Images (B, C, H, W) rotated counter-clockwise by `degrees` (B,), bilinear; empty corners get the mean colour."""
    batch, _, height, width = x.shape
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(cos)
    # The grid is in units of half a side, so rectangular images need their aspect ratio in the off-diagonal terms.
    theta = torch.stack(
        [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)], 1
    )
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    rotated = F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)
    return rotated.contiguous(memory_format=torch.channels_last)  # grid_sample returns (N, C, H, W) strides


def draw_centres(x: Tensor, draw: torch.Generator) -> Tensor:
    """The row and the column of one pixel per image of (B, C, H, W), drawn uniformly, (2, B)."""
    batch, _, height, width = x.shape
    rows = torch.randint(0, height, (batch,), generator=draw, device=draw.device)
    columns = torch.randint(0, width, (batch,), generator=draw, device=draw.device)
    return torch.stack([rows, columns])


def cut_out(x: Tensor, side: int, centres: Tensor) -> Tensor:
    """Images (B, C, H, W) with a square of `side` around `centres` (2, B), clipped at the border, set to zero.

    Zero is the mean colour after normalisation. Source: DeVries & Taylor, arXiv 1708.04552.
    """
    sides = torch.full_like(centres, side)
    return erase(x, torch.cat([centres - side // 2, sides]))


def draw_rectangles(x: Tensor, probability: float, draw: torch.Generator) -> Tensor:
    """First row, first column, height and width of one rectangle per image of (B, C, H, W), (4, B), int64.

    The rectangle is empty with probability 1 - `probability`, and if no try is smaller than the image. All tries are
    drawn at once and the first that fits is taken, so that the host never waits for the device. Source: torchvision's
    RandomErasing; Zhong et al., arXiv 1708.04896.
    """
    batch, _, height, width = x.shape
    drawn = torch.rand((2, ERASING_TRIES, batch), generator=draw, device=draw.device)
    least, most = ERASED_AREA
    area = (least + (most - least) * drawn[0]) * (height * width)
    low, high = (math.log(ratio) for ratio in ERASED_RATIO)
    ratio = (low + (high - low) * drawn[1]).exp()
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()]).round().long()  # (2, tries, B)
    fits = (sides[0] < height) & (sides[1] < width)
    first = fits.int().argmax(0)  # argmax returns the first of equal values
    erased = (torch.rand(batch, generator=draw, device=draw.device) < probability) & fits.any(0)
    sides = sides.gather(1, first.expand(2, 1, batch))[:, 0] * erased
    room = torch.stack([height + 1 - sides[0], width + 1 - sides[1]])
    corners = (torch.rand((2, batch), generator=draw, device=draw.device) * room).long()
    return torch.cat([torch.minimum(corners, room - 1), sides])  # a float32 draw times `room` may round up to `room`


def erase(x: Tensor, rectangles: Tensor) -> Tensor:
    """Images (B, C, H, W) with the pixels of `rectangles` (4, B) (first row and column, height, width) set to zero."""
    _, _, height, width = x.shape
    top, left, tall, wide = rectangles[:, :, None].unbind()
    rows = torch.arange(height, device=x.device) - top
    columns = torch.arange(width, device=x.device) - left
    outside = ((rows < 0) | (rows >= tall))[:, :, None] | ((columns < 0) | (columns >= wide))[:, None, :]
    return x * outside[:, None]  # masked_fill would lose channels-last


def _reflect(position: Tensor, size: int) -> Tensor:
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position).clamp_(0, size - 1)
