"""Parameters and FLOPs of a layout in closed form, without building a weight.

Both are sums of one term for the stem, one a stage and one for the head. Every term is arithmetic that holds for ints
and, element by element, for NumPy arrays of ints, so a search counts millions of layouts by the same formulas.
Which convolutions a block has is up to its kind (`model_zoo.blocks`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

from model_zoo.blocks import KINDS, PLAIN, Form, Ints
from model_zoo.blocks.stem import stem_convolutions
from model_zoo.layout import ResNetLayout


def stem_params(in_channels: Ints, width: Ints, form: Form = PLAIN) -> Ints:
    """Parameters of the stem, which takes the image's channels to `width`."""
    return total(conv.params(form.conv_bias) for conv in stem_convolutions(in_channels, width, form))


def stage_params(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    kernel: Ints,
    stride: Ints,
    form: Form = PLAIN,
) -> Ints:
    """Parameters of a stage that takes `c_in` channels to `width`.

    A convolution has `c_in * c_out * kernel**2 / groups` weights and perhaps `c_out` biases, its norm `2 * c_out`.
    """
    kind, bias = KINDS[form.block], form.conv_bias
    first, later = (kind.convolutions(c, width, kernel, form) for c in (c_in, width))
    params = total(conv.params(bias) for conv in first) + (blocks - 1) * total(conv.params(bias) for conv in later)
    if form.squeeze:
        params = params + blocks * ((2 * width + 1) * (width // form.squeeze) + width)  # two linear layers with biases
    of_skip = (c_in * form.skip_kernel**2 + (bias + 2 * kind.skip_norm)) * width
    return params + has_skip(c_in, width, stride, form) * of_skip


def stage_norms(c_in: int, width: int, blocks: int, stride: int, form: Form = PLAIN) -> tuple[int, int]:
    """The number of a stage's norms and of their channels; a norm after a block's addition counts as the block's."""
    kind = KINDS[form.block]
    first = [conv.c_out for conv in kind.convolutions(c_in, width, 1, form) if conv.norm]
    later = [conv.c_out for conv in kind.convolutions(width, width, 1, form) if conv.norm]
    skip = int(has_skip(c_in, width, stride, form) and kind.skip_norm)
    return blocks * len(first) + skip, sum(first) + (blocks - 1) * sum(later) + skip * width


def stage_param_tensors(c_in: int, width: int, blocks: int, stride: int, form: Form = PLAIN) -> int:
    """Parameters of a stage as tensors: of convolutions, norms, and linear layers with their biases."""
    convolutions = KINDS[form.block].layers * blocks + int(has_skip(c_in, width, stride, form))
    linear = 2 * blocks if form.squeeze else 0
    return (1 + form.conv_bias) * convolutions + 2 * stage_norms(c_in, width, blocks, stride, form)[0] + 2 * linear


def head_params(width: Ints, classes: Ints) -> Ints:
    """Parameters of the linear layer."""
    return (width + 1) * classes


def stem_norms(width: int, form: Form = PLAIN) -> tuple[int, int]:
    """The number of the stem's norms and of their channels."""
    channels = [conv.c_out for conv in stem_convolutions(1, width, form)]
    return len(channels), sum(channels)


def outer_param_tensors(form: Form = PLAIN) -> int:
    """Parameters of stem and head as tensors: of convolutions, their norms, and a linear layer with its bias."""
    return form.stem_depth * (1 + form.conv_bias + 2) + 2


def stem_flops(in_channels: Ints, width: Ints, pixels: Ints, form: Form = PLAIN) -> Ints:
    """FLOPs of the stem, whose output has `pixels` per channel."""
    return 2 * pixels * total(conv.weights for conv in stem_convolutions(in_channels, width, form))


def stage_flops(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    kernel: Ints,
    stride: Ints,
    pixels_in: Ints,
    pixels: Ints,
    form: Form = PLAIN,
) -> Ints:
    """FLOPs of a stage whose input has `pixels_in` per channel and whose output has `pixels`."""
    first, later = (KINDS[form.block].convolutions(c, width, kernel, form) for c in (c_in, width))
    weights = total(conv.weights for conv in first) + (blocks - 1) * total(conv.weights for conv in later)
    macs = (weights + has_skip(c_in, width, stride, form) * (c_in * width * form.skip_kernel**2)) * pixels
    for conv in first:
        if conv.before_stride:
            macs = macs + conv.weights * (pixels_in - pixels)
    if form.squeeze:
        macs = macs + blocks * 2 * width * (width // form.squeeze)
    return 2 * macs


def head_flops(width: Ints, classes: Ints) -> Ints:
    """FLOPs of the linear layer."""
    return 2 * width * classes


def has_skip(c_in: Ints, width: Ints, stride: Ints, form: Form = PLAIN) -> Ints:
    """Whether the first block of a stage has a skip convolution: the shape changes, and the kind has one for that."""
    return KINDS[form.block].projection & changes_shape(c_in, width, stride)


def changes_shape(c_in: Ints, width: Ints, stride: Ints) -> Ints:
    """Whether the output of the first block of a stage has another shape than its input."""
    return (stride != 1) | (c_in != width)


def total(terms: Iterable[Ints]) -> Ints:
    """The sum of at least one term; unlike `sum` it adds no 0 to an array."""
    return functools.reduce(operator.add, terms)


def count_params(layout: ResNetLayout) -> int:
    """The number of trainable parameters, equal to `sum(p.numel() for p in build(layout).parameters())`."""
    return sum(params_by_part(layout))


def params_by_part(layout: ResNetLayout) -> list[int]:
    """The trainable parameters of the stem, of each stage and of the head."""
    c_in = layout.stem_channels
    params = [stem_params(layout.in_channels, c_in, layout.form)]
    for blocks, width, kernel, stride in zip(
        layout.blocks, layout.channels, layout.kernels, layout.strides, strict=True
    ):
        params.append(stage_params(c_in, width, blocks, kernel, stride, layout.form))
        c_in = width
    return [*map(int, params), int(head_params(c_in, layout.classes))]


def count_norms(layout: ResNetLayout) -> tuple[int, int]:
    """The number of BatchNorms and of their channels, all together.

    Each has a mean and a variance a channel and one counter as buffers, beside its two parameters a channel.
    """
    c_in = layout.stem_channels
    norms, channels = stem_norms(c_in, layout.form)
    for blocks, width, stride in zip(layout.blocks, layout.channels, layout.strides, strict=True):
        here, over = stage_norms(c_in, width, blocks, stride, layout.form)
        norms, channels, c_in = norms + here, channels + over, width
    return norms, channels


def count_param_tensors(layout: ResNetLayout) -> int:
    """The number of parameters as tensors: of convolutions, norms, and linear layers with their biases."""
    c_in, tensors = layout.stem_channels, outer_param_tensors(layout.form)
    for blocks, width, stride in zip(layout.blocks, layout.channels, layout.strides, strict=True):
        tensors += stage_param_tensors(c_in, width, blocks, stride, layout.form)
        c_in = width
    return tensors


def count_flops(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> int:
    """The FLOPs of one forward pass on one image: 2 per multiply-accumulate of convolutions and linear layers.

    `image_size` is the side or (height, width) in pixels. Norms, activations, biases and additions are not counted,
    as in `torch.utils.flop_counter`; a training step costs about three times as much.
    """
    return sum(flops_by_part(layout, image_size))


def flops_by_part(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> list[int]:
    """The FLOPs, as `count_flops` counts them, of the stem, of each stage and of the head."""
    areas = [height * width for height, width in sizes_by_part(layout, image_size)]
    c_in = layout.stem_channels
    flops = [stem_flops(layout.in_channels, c_in, areas[0], layout.form)]
    for blocks, width, kernel, stride, before, pixels in zip(
        layout.blocks, layout.channels, layout.kernels, layout.strides, areas, areas[1:], strict=False
    ):
        flops.append(stage_flops(c_in, width, blocks, kernel, stride, before, pixels, layout.form))
        c_in = width
    return [*map(int, flops), int(head_flops(c_in, layout.classes))]


def sizes_by_part(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> list[tuple[int, int]]:
    """(height, width) in pixels of what the stem, each stage and the head's mean put out."""
    sizes = [image_size if isinstance(image_size, tuple) else (image_size, image_size)]
    for stride in (layout.stem_stride, *layout.strides):
        height, width = sizes[-1]
        sizes.append((-(-height // stride), -(-width // stride)))
    return [*sizes[1:], (1, 1)]


def pixels_by_level(image_size: int | tuple[int, int], levels: int) -> tuple[int, ...]:
    """Pixels of an image of `image_size`, side or (height, width), after 0 to `levels` strides of 2."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return tuple(-(-height // 2**level) * -(-width // 2**level) for level in range(levels + 1))
