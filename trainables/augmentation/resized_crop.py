"""Random resized crops of whole batches: a rectangle of each image, scaled to the size of the image."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

SHOWN_RATIO: Final = (3 / 4, 4 / 3)
"""Least and largest width of a rectangle over its height, as in torchvision."""
TRIES: Final = 10
"""Rectangles drawn for an image, of which the first that fits is shown; if none fits, the largest in the centre."""


def draw_boxes(batch: int, height: int, width: int, least_area: float, draw: torch.Generator) -> Tensor:
    """First row, first column, height and width of one rectangle per image of `height` x `width`, (4, B), int64.

    All tries are drawn at once and the first that fits is taken, so that the host never waits for the device. Source:
    torchvision's RandomResizedCrop.
    """
    drawn = torch.rand((2, TRIES, batch), generator=draw, device=draw.device)
    area = (least_area + (1 - least_area) * drawn[0]) * (height * width)
    low, high = (math.log(ratio) for ratio in SHOWN_RATIO)
    ratio = (low + (high - low) * drawn[1]).exp()
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()]).round().long()  # (2, tries, B)
    limits = torch.stack([torch.full_like(sides[0], height), torch.full_like(sides[0], width)])
    fits = ((sides > 0) & (sides <= limits)).all(0)
    first = fits.int().argmax(0)  # argmax returns the first of equal values
    narrowest, widest = SHOWN_RATIO
    tall, wide = min(height, round(width / narrowest)), min(width, round(height * widest))
    sides = sides.gather(1, first.expand(2, 1, batch))[:, 0]
    room = limits[:, 0] + 1 - sides
    corners = (torch.rand((2, batch), generator=draw, device=draw.device) * room).long()
    corners = torch.minimum(corners, room - 1)  # a float32 draw times `room` may round up to `room`
    found, fitting = torch.cat([corners, sides]), fits.any(0)
    centred = ((height - tall) // 2, (width - wide) // 2, tall, wide)
    return torch.stack([torch.where(fitting, row, middle) for row, middle in zip(found, centred, strict=True)])


def resize_boxes(x: Tensor, boxes: Tensor) -> Tensor:
    """The rectangles `boxes` (4, B) of the uint8 images (B, H, W, C), each scaled to (H, W), bilinear.

    The values are those of torchvision's `resized_crop` on one image, up to the rounding of a float32.
    """
    top, left, tall, wide = boxes[:, :, None].unbind()
    first = torch.arange(len(x), device=x.device)[:, None]
    above, below, low = _sources(x.shape[1], tall)
    rows = torch.lerp(x[first, top + above].float(), x[first, top + below].float(), low[:, :, None, None])
    before, after, right = _sources(x.shape[2], wide)
    columns = rows.transpose(1, 2).contiguous()  # (B, W, H, C): three times as fast as without the copy
    found = torch.lerp(columns[first, left + before], columns[first, left + after], right[:, :, None, None])
    return found.round().to(torch.uint8).transpose(1, 2).contiguous()


def _sources(size: int, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `size` targets, both neighbours within `side` (B, 1) and the share of the second, (B, size)."""
    targets = torch.arange(size, device=side.device) + 0.5
    source = (targets * (side / size) - 0.5).clamp(min=0)
    before = source.long()
    return before, torch.minimum(before + 1, side - 1), source - before
