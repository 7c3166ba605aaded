"""The operations of policies and colour jitter on uint8 images (B, H, W, C), each image with its own magnitude.

On a CPU each gives the same bits as torchvision's operation on a single image: nearest neighbours, truncated blends,
integer histograms. An operation runs once per batch, on the images that drew it; the host knows their number, so
nothing is read back from the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.augmentation.policies import OPERATIONS, Drawn

Parameters = npt.NDArray[np.float32]
PARAMETERS: Final = 6
"""Parameters per image; an affine map needs the most."""


def apply_policy(x: Tensor, drawn: Sequence[Drawn], fill: Tensor) -> Tensor:
    """The uint8 images (B, H, W, C), changed in place by each of `drawn` in turn.

    `fill` (C,), uint8, is the colour of pixels that a shear, translation or rotation leaves empty.
    """
    if not drawn:
        return x
    orders = np.stack([np.argsort(step.operations, kind="stable") for step in drawn])
    parameters = np.stack(
        [parameters_of(step, *x.shape[1:3])[order] for step, order in zip(drawn, orders, strict=True)]
    )
    on_device = _moved(orders, x.device), _moved(parameters, x.device)
    for step, order, values in zip(drawn, *on_device, strict=True):
        counts = np.bincount(step.operations, minlength=len(OPERATIONS)).tolist()
        start = counts[0]  # Identity comes first
        for operation, names in groupby(OPERATIONS[1:], BATCHED.__getitem__):  # one call for all affine operations
            end = start + sum(counts[OPERATIONS.index(name)] for name in names)
            if end > start:
                images = order[start:end]
                x[images] = operation(x[images], values[start:end, :, None, None, None], fill)
            start = end
    return x


def parameters_of(step: Drawn, height: int, width: int) -> Parameters:
    """The parameters of each image's operation in `step`, (B, 6), computed from its magnitude in double precision."""
    found = np.zeros((len(step.operations), PARAMETERS), dtype=np.float32)
    for number in np.unique(step.operations):
        name, chosen = OPERATIONS[number], step.operations == number
        magnitude = step.magnitudes[chosen]
        if name in MAPS:
            found[chosen] = _on_grid(MAPS[name](magnitude, height, width), height, width)
        elif name == "Posterize":
            found[chosen, 0] = 256 - 2 ** (8 - np.trunc(magnitude))
        elif name in ("Solarize", "Hue"):
            found[chosen, 0] = magnitude
        else:
            found[chosen, 0] = 1 + magnitude
            found[chosen, 1] = 1 - (1 + magnitude)  # rounded as in torchvision, which subtracts the factor from 1
    return found


def shear_x(magnitude: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Source pixels of a shear along the rows, which keeps the image's upper edge in place, as flat (2, 3) maps."""
    return _maps(magnitude, {1: magnitude, 2: magnitude * height / 2})


def shear_y(magnitude: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Source pixels of a shear along the columns, which keeps the image's left edge in place."""
    return _maps(magnitude, {3: magnitude, 5: magnitude * width / 2})


def translate_x(magnitude: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Source pixels of a translation to the right by whole pixels, truncated."""
    return _maps(magnitude, {2: -np.trunc(magnitude)})


def translate_y(magnitude: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Source pixels of a translation downwards by whole pixels, truncated."""
    return _maps(magnitude, {5: -np.trunc(magnitude)})


def rotate(magnitude: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Source pixels of a counter-clockwise rotation around the image's centre, in degrees."""
    angle = magnitude * (math.pi / 180)
    cos, sin = np.cos(angle), np.sin(angle)
    return _maps(magnitude, {0: cos, 1: -sin, 3: sin, 4: cos})


MAPS: Final = {
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
}
"""Operations that move pixels; positions are in pixels from the image's centre."""


def resample(x: Tensor, maps: Tensor, fill: Tensor) -> Tensor:
    """The nearest pixel at each target position mapped by `maps` (B, 6, 1, 1, 1), in half sides; `fill` outside."""
    batch, height, width, channels = x.shape
    rows = torch.arange(height, device=x.device, dtype=torch.float32) - (height - 1) / 2
    columns = torch.arange(width, device=x.device, dtype=torch.float32) - (width - 1) / 2
    ones = torch.ones(height, width, device=x.device)
    base = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width), ones]).view(1, 3, -1)
    grid = maps.view(batch, 2, 3).bmm(base.expand(batch, 3, -1))  # (B, 2, H * W)
    column = (((grid[:, 0] + 1) * width - 1) / 2).round()
    row = (((grid[:, 1] + 1) * height - 1) / 2).round()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    first = torch.arange(batch, device=x.device)[:, None] * (height * width)
    pixel = torch.where(inside, first + row.long() * width + column.long(), batch * height * width)
    pixels = torch.cat([x.view(-1, channels), fill[None]])  # a mask instead made the whole function 2.5 times slower
    return pixels.index_select(0, pixel.view(-1)).view(x.shape)


def brightness(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Blends each image with black."""
    return _bytes(x * values[:, 0])


def color(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Blends each image with its grey version; images of one channel are unchanged."""
    return x if x.shape[3] == 1 else _blend(x, _grey(x), values)


def contrast(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Blends each image with the mean of its grey version."""
    return _blend(x, _grey(x).float().mean((1, 2, 3), keepdim=True), values)


def sharpness(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Blends each image with its 3 x 3 blur, centre weight 5, except at the border; sides of 2 pixels are unchanged."""
    if min(x.shape[1:3]) <= 2:
        return x
    wide = x.short()
    three = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = three[:, :, :-2] + three[:, :, 1:-1] + three[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
    blurred = x.clone()
    blurred[:, 1:-1, 1:-1] = (total / 13).round().to(torch.uint8)  # 13 is odd, so no quotient is a half
    return _blend(x, blurred, values)


def posterize(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Keeps only the highest bits."""
    return x & values[:, 0].to(torch.uint8)


def solarize(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Inverts all values from the threshold on."""
    return torch.where(x >= values[:, 0], 255 - x, x)


def auto_contrast(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Stretches each channel to 0..255; a channel with a single value is unchanged."""
    least, most = x.amin((1, 2), keepdim=True).float(), x.amax((1, 2), keepdim=True).float()
    flat = least == most
    scale = torch.where(flat, 1.0, 255 / (most - least))
    return _bytes((x - torch.where(flat, 0.0, least)) * scale)


def equalize(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Equalises the histogram of each channel as Pillow does; a channel of too few pixels or values is unchanged."""
    batch, height, width, channels = x.shape
    flat = x.long().permute(0, 3, 1, 2).reshape(batch * channels, height * width)
    counts = torch.zeros(batch * channels, 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    step = (height * width - counts.gather(1, flat.amax(1, keepdim=True))) // 255  # the highest value does not count
    level = (counts.cumsum(1) - counts + step // 2) // step.clamp(min=1)
    found = torch.where(step == 0, flat, level.clamp_(0, 255).gather(1, flat))
    return found.to(torch.uint8).view(batch, channels, height, width).permute(0, 2, 3, 1)


def invert(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """The negative of each image."""
    return 255 - x


def hue(x: Tensor, values: Tensor, fill: Tensor) -> Tensor:
    """Turns the hue of each image by a share of the colour circle; images of one channel are unchanged.

    Saturation and value stay. Source: the conversions between RGB and HSV in torchvision, with fewer cases.
    """
    if x.shape[3] == 1:
        return x
    y = x / 255
    value, least = y.amax(3, keepdim=True), y.amin(3, keepdim=True)
    red, green, blue = (y[..., channel, None] for channel in range(3))
    spread = value - least
    sixth = torch.where(value == green, 2 + (blue - red) / spread, 4 + (red - green) / spread)
    sixth = torch.where(value == red, (green - blue) / spread, sixth)
    sixth = torch.where(spread == 0, 0.0, sixth) + 6 * values[:, 0]
    away = (sixth + 5 - 2 * torch.arange(3, device=x.device)) % 6
    turned = value - spread * torch.minimum(away, 4 - away).clamp(0, 1)
    return (turned * (256 - 1e-3)).to(torch.uint8)


BATCHED: Final[dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    **dict.fromkeys(MAPS, resample),
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": auto_contrast,
    "Equalize": equalize,
    "Invert": invert,
    "Hue": hue,
}
"""Each operation except Identity, from images (B, H, W, C), parameters (B, 6, 1, 1, 1) and fill colour to images."""


def _blend(x: Tensor, other: Tensor, values: Tensor) -> Tensor:
    return _bytes(values[:, 0] * x + values[:, 1] * other)


def _bytes(x: Tensor) -> Tensor:
    return x.clamp(0, 255).to(torch.uint8)


def _grey(x: Tensor) -> Tensor:
    """The grey version (B, H, W, 1), uint8, truncated."""
    if x.shape[3] == 1:
        return x
    red, green, blue = x.unbind(3)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)[..., None]


def _maps(magnitude: npt.NDArray[np.float64], entries: dict[int, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    maps = np.tile(np.array([1.0, 0, 0, 0, 1, 0]), (len(magnitude), 1))
    for entry, values in entries.items():
        maps[:, entry] = values
    return maps


def _on_grid(maps: npt.NDArray[np.float64], height: int, width: int) -> Parameters:
    """Maps in half sides instead of pixels, computed as in torchvision so that ties round to the same pixels."""
    half_sides = np.array([width / 2] * 3 + [height / 2] * 3, dtype=np.float32)
    return np.divide(maps.astype(np.float32), half_sides)


def _moved(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """The array on the device, without waiting: a copy from pinned memory is queued like any other work."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
