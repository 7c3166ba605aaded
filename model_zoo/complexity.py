"""Parameters and FLOPs of a layout in closed form, without building a weight.

Both are sums of one term for the stem, one a stage and one for the head. Every term is arithmetic that holds for ints
and, element by element, for NumPy arrays of ints, so a search counts millions of layouts by the same formulas.
"""

from __future__ import annotations

from typing import Any

from model_zoo.block_form import PLAIN, BlockForm
from model_zoo.layout import ResNetLayout

FEWEST_STRIDED = 16
"""Fewest input channels of a strided 1x1 convolution; narrower skips take every other pixel first.

Below, its backward on a CPU writes outside its memory when the input is channels-last (oneDNN#6035, present in torch
2.15: under 8 channels with AVX2, under 16 with AVX-512).
"""

Ints = Any
"""An int, or a NumPy array of ints."""


def stem_params(in_channels: Ints, width: Ints, bias: Ints) -> Ints:
    """Parameters of the stem: a 3x3 convolution to `width` channels and its norm."""
    return (9 * in_channels + 2 + bias) * width


def stage_params(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    kernel: Ints,
    stride: Ints,
    skip_kernel: Ints,
    bias: Ints,
    form: BlockForm = PLAIN,
) -> Ints:
    """Parameters of a stage that takes `c_in` channels to `width`.

    A convolution has `c_in * c_out * kernel**2 / groups` weights and perhaps `c_out` biases, its norm `2 * c_out`.
    Preactivation blocks have as many: the norm of a block's output is the next block's first, or the network's last.
    Only their skips have no norm.
    """
    inner, norm = form.inner(width), 2
    skip_norm = 0 if form.block == "preactivation" else norm
    skip = has_skip(c_in, width, stride) * (c_in * skip_kernel**2 + bias + skip_norm) * width
    outputs = 2 * inner + width if form.block == "bottleneck" else 2 * width
    per_block = outputs * (norm + bias)
    if form.squeeze:
        hidden = width // form.squeeze
        per_block = per_block + (2 * width + 1) * hidden + width  # two linear layers with biases
    return _block_weights(c_in, width, blocks, kernel, form) + blocks * per_block + skip


def _block_weights(c_in: Ints, width: Ints, blocks: Ints, kernel: Ints, form: BlockForm) -> Ints:
    """Weights of the convolutions of a stage's blocks, skips left out."""
    if form.block == "bottleneck":
        inner = form.inner(width)
        narrowing = (c_in + width * (blocks - 1)) * inner
        return narrowing + blocks * (inner * (inner // form.groups) * kernel**2 + inner * width)
    return (c_in + width * (2 * blocks - 1)) * (width // form.groups) * kernel**2


def stage_norms(c_in: int, width: int, blocks: int, stride: int, form: BlockForm = PLAIN) -> tuple[int, int]:
    """Norms of a stage and their channels; the norm of a preactivation block's output counts as the block's."""
    skip = int(has_skip(c_in, width, stride) and form.block != "preactivation")
    outputs = 2 * form.inner(width) + width if form.block == "bottleneck" else 2 * width
    return form.layers * blocks + skip, blocks * outputs + skip * width


def head_params(width: Ints, classes: Ints) -> Ints:
    """Parameters of the linear layer."""
    return (width + 1) * classes


def stem_flops(in_channels: Ints, width: Ints, pixels: Ints) -> Ints:
    """FLOPs of the stem on images of `pixels`."""
    return 18 * in_channels * width * pixels


def stage_flops(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    kernel: Ints,
    stride: Ints,
    skip_kernel: Ints,
    pixels_in: Ints,
    pixels: Ints,
    form: BlockForm = PLAIN,
) -> Ints:
    """FLOPs of a stage whose input and output have so many pixels per channel.

    The stride is that of the first kxk convolution, so a first bottleneck's first 1x1 reads and writes `pixels_in`.
    """
    macs = _block_weights(c_in, width, blocks, kernel, form) * pixels
    if form.block == "bottleneck":
        macs = macs + c_in * form.inner(width) * (pixels_in - pixels)
    if form.squeeze:
        macs = macs + blocks * 2 * width * (width // form.squeeze)
    return 2 * (macs + has_skip(c_in, width, stride) * c_in * width * skip_kernel**2 * pixels)


def head_flops(width: Ints, classes: Ints) -> Ints:
    """FLOPs of the linear layer."""
    return 2 * width * classes


def has_skip(c_in: Ints, width: Ints, stride: Ints) -> Ints:
    """Whether the first block of a stage needs a skip convolution, because the shape changes."""
    return (stride != 1) | (c_in != width)


def count_params(layout: ResNetLayout) -> int:
    """The number of trainable parameters, equal to `sum(p.numel() for p in build(layout).parameters())`."""
    bias, c_in = layout.conv_bias, layout.stem_channels
    total = stem_params(layout.in_channels, c_in, bias) + head_params(layout.channels[-1], layout.classes)
    for blocks, width, kernel, stride in zip(
        layout.blocks, layout.channels, layout.kernels, layout.strides, strict=True
    ):
        total += stage_params(c_in, width, blocks, kernel, stride, layout.skip_kernel, bias, layout.form)
        c_in = width
    return int(total)


def count_norms(layout: ResNetLayout) -> tuple[int, int]:
    """The number of BatchNorms and of their channels, all together.

    Each has a mean and a variance a channel and one counter as buffers, beside its two parameters a channel.
    """
    c_in = layout.stem_channels
    norms, channels = 1, c_in
    for blocks, width, stride in zip(layout.blocks, layout.channels, layout.strides, strict=True):
        here, over = stage_norms(c_in, width, blocks, stride, layout.form)
        norms, channels, c_in = norms + here, channels + over, width
    return int(norms), int(channels)


def count_param_tensors(layout: ResNetLayout) -> int:
    """The number of parameters as tensors: of convolutions, norms, and linear layers with their biases."""
    widths, blocks = (layout.stem_channels, *layout.channels), sum(layout.blocks)
    skips = sum(map(has_skip, widths, widths[1:], layout.strides))
    convolutions = 1 + layout.form.layers * blocks + skips
    linear = 1 + (2 * blocks if layout.squeeze else 0)
    return int((1 + layout.conv_bias) * convolutions + 2 * count_norms(layout)[0] + 2 * linear)


def count_flops(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> int:
    """The FLOPs of one forward pass on one image: 2 per multiply-accumulate of convolutions and linear layers.

    `image_size` is the side or (height, width) in pixels. Norms, activations, biases and additions are not counted,
    as in `torch.utils.flop_counter`; a training step costs about three times as much.
    """
    areas = pixels_by_level(image_size, layout.stages)
    level, c_in = 0, layout.stem_channels
    total = stem_flops(layout.in_channels, c_in, areas[0]) + head_flops(layout.channels[-1], layout.classes)
    for blocks, width, kernel, stride in zip(
        layout.blocks, layout.channels, layout.kernels, layout.strides, strict=True
    ):
        before, level = areas[level], level + stride - 1
        total += stage_flops(c_in, width, blocks, kernel, stride, layout.skip_kernel, before, areas[level], layout.form)
        c_in = width
    return int(total)


def pixels_by_level(image_size: int | tuple[int, int], levels: int) -> tuple[int, ...]:
    """Pixels of an image of `image_size`, side or (height, width), after 0 to `levels` strides of 2."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return tuple(-(-height // 2**level) * -(-width // 2**level) for level in range(levels + 1))
