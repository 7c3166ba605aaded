"""Parameters and FLOPs of a layout in closed form, without building a weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.layout import ResNetLayout


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution with its norm: its shape and how far its output is downsampled from the image."""

    name: str
    """The convolution's module path in the built network."""
    c_in: int
    """Input channels."""
    c_out: int
    """Output channels."""
    kernel: int
    """Side of the square kernel, pixels."""
    strides: tuple[int, ...]
    """The strides on the path from the image up to and including this convolution."""


def convolutions(layout: ResNetLayout) -> Iterator[Convolution]:
    """The convolutions of the network in the order of its modules; each is followed by a BatchNorm."""
    path: tuple[int, ...] = ()
    yield Convolution("stem.conv", layout.in_channels, layout.stem_channels, 3, path)
    c_in = layout.stem_channels
    for i in range(layout.stages):
        c_out, kernel = layout.channels[i], layout.kernels[i]
        for j in range(layout.blocks[i]):
            stride = layout.strides[i] if j == 0 else 1
            path = (*path, stride) if stride != 1 else path
            block = f"stages.{i}.{j}"
            yield Convolution(f"{block}.conv1", c_in, c_out, kernel, path)
            yield Convolution(f"{block}.conv2", c_out, c_out, kernel, path)
            if stride != 1 or c_in != c_out:
                yield Convolution(f"{block}.skip.conv", c_in, c_out, layout.skip_kernel, path)
            c_in = c_out


def count_params(layout: ResNetLayout) -> int:
    """The number of trainable parameters, equal to `sum(p.numel() for p in build(layout).parameters())`.

    A convolution has `c_in * c_out * kernel**2` weights and perhaps `c_out` biases, its norm `2 * c_out`.
    """
    per_output = 2 + layout.conv_bias
    total = (layout.channels[-1] + 1) * layout.classes
    # Per stage instead of per block: constant time however deep, because a search counts millions of layouts.
    c_in = layout.stem_channels
    total += 9 * layout.in_channels * c_in + per_output * c_in
    for blocks, c, kernel, stride in zip(layout.blocks, layout.channels, layout.kernels, layout.strides, strict=True):
        total += (c_in + c * (2 * blocks - 1)) * c * kernel**2 + 2 * blocks * per_output * c
        if stride != 1 or c_in != c:
            total += c_in * c * layout.skip_kernel**2 + per_output * c
        c_in = c
    return total


def count_flops(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> int:
    """The FLOPs of one forward pass on one image: 2 per multiply-accumulate of convolutions and the linear layer.

    `image_size` is the side or (height, width) in pixels. Norms, activations, biases and additions are not counted,
    as in `torch.utils.flop_counter`; a training step costs about three times as much.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    total = 2 * layout.channels[-1] * layout.classes
    for conv in convolutions(layout):
        height, width = size
        for stride in conv.strides:
            height, width = -(-height // stride), -(-width // stride)
        total += 2 * conv.c_in * conv.c_out * conv.kernel**2 * height * width
    return total
