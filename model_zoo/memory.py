"""Activation memory of a training step in closed form, without building a weight.

In units of one float32 value per image. A block saves for backward what its convolutions, norms and activations read:
every convolution's output, every activation's (ReLU and leaky ReLU are in place, SiLU and GELU need their input too),
the skip convolution's where a norm reads it, and what a squeeze scales. Backward adds gradients in flight. As in
`model_zoo.complexity`, every term holds for ints and, element by element, for NumPy arrays of int64, and which
convolutions a block has is up to its kind.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from model_zoo.blocks import FEWEST_STRIDED, IN_PLACE, KINDS, PLAIN, Convolution, Form, Ints
from model_zoo.blocks.stem import stem_convolutions
from model_zoo.complexity import changes_shape, has_skip, sizes_by_part, total
from model_zoo.layout import ResNetLayout

BYTES_PER_VALUE = 4
"""Bytes of a float32."""


def _kept(form: Form) -> int:
    """Tensors that an activation keeps: its result and, unless it is in place, its input."""
    return 1 if form.activation in IN_PLACE else 2


def _for_reader(conv: Convolution, form: Form) -> int:
    """1 where the result after a convolution is kept only because something reads it; ReLU keeps its result itself."""
    return 0 if conv.activated and form.activation in IN_PLACE else 1


def _kept_after(conv: Convolution, form: Form) -> int:
    """Tensors of its output's size kept after a convolution: for its norm, its activation and what reads the result."""
    return conv.norm + conv.activated + _for_reader(conv, form)


def stem_saved(in_channels: Ints, width: Ints, pixels_in: Ints, pixels: Ints, form: Form = PLAIN) -> Ints:
    """Values saved by the stem on an image of `pixels_in`, and then `pixels`: the image, and of each convolution its
    output and the activation's.
    """
    made = total(conv.c_out for conv in stem_convolutions(in_channels, width, form))
    return in_channels * pixels_in + (1 + _kept(form)) * made * pixels


def stage_saved(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    stride: Ints,
    pixels_in: Ints,
    pixels: Ints,
    form: Form = PLAIN,
    last: Ints = 0,
) -> Ints:
    """Values saved by a stage whose input has `pixels_in` per channel and whose output has `pixels`.

    A norm and an activation after a block's addition count as the block's. `last` is 1 for the network's last stage:
    the result of its last activation is read by the mean alone, which saves nothing, so that only ReLU keeps it.
    """
    kind = KINDS[form.block]
    first, later = (kind.convolutions(c, width, 1, form) for c in (c_in, width))
    channels = _channels_saved(first, form) + (blocks - 1) * _channels_saved(later, form)
    channels = channels + has_skip(c_in, width, stride, form) * (width * kind.skip_norm)
    if kind.projection:  # the average in front of the skip, or every other pixel
        averaged = form.skip_pool | ((form.skip_kernel == 1) & (c_in < FEWEST_STRIDED))
        channels = channels + ((stride != 1) & averaged) * c_in
    if _for_reader(later[-1], form):
        channels = channels - last * width
    values = channels * pixels
    for conv in first:
        if conv.before_stride:
            values = values + _kept_after(conv, form) * conv.c_out * (pixels_in - pixels)
    return values + blocks * _squeeze_saved(width, pixels, form) if form.squeeze else values


def _channels_saved(convolutions: Sequence[Convolution], form: Form) -> Ints:
    """Channels saved by the residual path of a block, squeeze left out."""
    return total(_kept_after(conv, form) * conv.c_out for conv in convolutions)


def _squeeze_saved(width: Ints, pixels: Ints, form: Form) -> Ints:
    """Values saved by the squeeze of a block."""
    return width * pixels + 2 * width + _kept(form) * (width // form.squeeze)


def head_saved(width: Ints, classes: Ints) -> Ints:
    """Values saved by mean, linear layer and loss: means, log-probabilities, and an int64 label, which is as two."""
    return width + classes + 2


def stage_peak(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    stride: Ints,
    pixels_in: Ints,
    pixels: Ints,
    form: Form = PLAIN,
    last: Ints = 0,
) -> Ints:
    """Most values alive in a stage's backward beyond those saved before it, for `pixels_in` and then `pixels`.

    The peak is at the last activation, where everything is still saved and the gradient exists on both sides; or inside
    the last block, if that is wider inside than at its ends; or inside a first block whose input is larger than its
    output, while the skip's gradient of the input waits.
    """
    changed, after = changes_shape(c_in, width, stride), width * pixels
    before = KINDS[form.block].projection * (c_in * pixels_in)
    saved = stage_saved(c_in, width, blocks, stride, pixels_in, pixels, form, last)
    peak = _larger(saved + 2 * after, changed * (before + _inside(c_in, width, pixels_in, pixels, form)))
    if not KINDS[form.block].is_wide(form):
        return peak
    of_last = stage_saved(width, width, 1, 1, pixels, pixels, form, last)
    return _larger(peak, (blocks > changed) * (saved - of_last + _inside(width, width, pixels, pixels, form, after)))


def _inside(c_in: Ints, width: Ints, pixels_in: Ints, pixels: Ints, form: Form, waiting: Ints = 0) -> Ints:
    """Most values alive in the backward of a block's residual path beyond what was saved before the block.

    `waiting` is the gradient of the block's output where an identity skip keeps it until the path's own gradient is
    there. At the path's end, where backward begins, both are one tensor.
    """
    kind = KINDS[form.block]
    *inner, last = kind.convolutions(c_in, width, 1, form)
    held, read, peaks = waiting, pixels_in, []
    for conv in inner:
        made = pixels_in if conv.before_stride else pixels
        out = conv.c_out * made
        # At a norm: its input, a gradient on each side, and one more because torch 2.15 allocates the norm's result
        # twice on the CPU. At an activation: a tensor that it keeps and two gradients. At a convolution: two gradients.
        after = 4 if conv.norm else 3 if conv.activated else 2
        peaks.append(held + (out + _larger((after - 1) * out, conv.c_in * read)))
        held, read = held + _kept_after(conv, form) * out, made
    out, at_conv = width * pixels, held + last.c_in * read
    normed = last.norm and not kind.last_norm
    if normed or form.squeeze:
        # At a squeeze's product: its input, three gradients and, where there is one, the last norm's input.
        end = normed + 4 if form.squeeze else 4
        peaks += [held - waiting + end * out, at_conv + out]
    else:
        peaks.append(at_conv + (out - waiting))
    return functools.reduce(_larger, peaks)


def head_peak(width: Ints, classes: Ints) -> Ints:
    """Most values alive in the loss's backward beyond those of stem and stages.

    Beside what is saved, the logits, two gradients of the log-probabilities, the second from label smoothing, and the
    gradient of one image's loss.
    """
    return head_saved(width, classes) + 3 * classes + 1


def through_stages(
    saved: Ints,
    c_in: Ints,
    widths: Sequence[Ints],
    blocks: Sequence[Ints],
    strides: Sequence[Ints],
    areas: Sequence[Ints],
    form: Form = PLAIN,
    *,
    to_end: bool = True,
) -> tuple[Ints, Ints, Ints]:
    """Values saved after stages, the most alive in the backward of one of them, and the last one's channels.

    `saved` values are before the stages, whose input has `c_in` channels; the rest is as in `activation_bytes`. Without
    `to_end`, other stages follow.

    Raises:
        ValueError: the sequences' lengths do not agree.
    """
    peak: Ints = 0
    stages = zip(widths, blocks, [*blocks[1:], int(not to_end)], strides, areas[:-1], areas[1:], strict=True)
    for width, count, after, stride, pixels_in, pixels in stages:
        here, last = count > 0, after == 0
        in_backward = stage_peak(c_in, width, count, stride, pixels_in, pixels, form, last)
        peak = _larger(peak, here * (saved + in_backward))
        in_forward = stage_saved(c_in, width, count, stride, pixels_in, pixels, form, last)
        saved = saved + here * in_forward
        c_in = c_in + here * (width - c_in)
    return saved, peak, c_in


def activation_bytes(
    in_channels: Ints,
    stem: Ints,
    widths: Sequence[Ints],
    blocks: Sequence[Ints],
    strides: Sequence[Ints],
    classes: Ints,
    areas: Sequence[Ints],
    form: Form = PLAIN,
) -> Ints:
    """`count_activation_bytes` over columns: every entry is an int or an int64 array with one element a layout.

    `widths`, `blocks` and `strides` have one entry a stage; `areas` has two more, the pixels of the image and then of
    the outputs of stem and stages. Where a layout has fewer stages than others of its column, `blocks` is 0 and the
    rest is free.

    The layouts of a column share `form`.

    Raises:
        ValueError: the sequences' lengths do not agree.
    """
    of_stem = stem_saved(in_channels, stem, areas[0], areas[1], form)
    saved, peak, c_in = through_stages(of_stem, stem, widths, blocks, strides, areas[1:], form)
    # While the stages go backward, the logits and the label are still the caller's.
    return BYTES_PER_VALUE * _larger(peak + classes + 2, saved + head_peak(c_in, classes))


def count_activation_bytes(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> int:
    """The most bytes that the activations of one training step in float32 take at once, per image of the batch.

    `image_size` is the side or (height, width) in pixels. It is what torch's allocator holds on the CPU, channels-last:
    the image and its label, what autograd saves, and gradients in flight. Weights, their gradients and the optimizer's
    state are not in it, nor is what the batch does not grow: running statistics and the libraries' workspaces. cuDNN's
    workspaces and the rounding and fragments of CUDA's caching allocator come on top on a GPU. Under bfloat16 autocast
    it is about half: 0.502 to 0.511 of it on five presets.
    """
    *areas, _ = (height * width for height, width in sizes_by_part(layout, image_size))
    return int(
        activation_bytes(
            layout.in_channels,
            layout.stem_channels,
            layout.channels,
            layout.blocks,
            layout.strides,
            layout.classes,
            [_area(image_size), *areas],
            layout.form,
        )
    )


def saved_bytes_by_part(layout: ResNetLayout, image_size: int | tuple[int, int] = 32) -> list[int]:
    """Bytes per image in float32 that the stem, each stage and the head save for backward.

    Their sum is less than `count_activation_bytes`, which also has the gradients in flight at the peak.
    """
    *areas, _ = (height * width for height, width in sizes_by_part(layout, image_size))
    c_in, form = layout.stem_channels, layout.form
    saved = [stem_saved(layout.in_channels, c_in, _area(image_size), areas[0], form)]
    stages = zip(layout.channels, layout.blocks, layout.strides, areas, areas[1:], strict=False)
    for number, (width, blocks, stride, before, pixels) in enumerate(stages, start=1):
        last = number == layout.stages
        saved.append(stage_saved(c_in, width, blocks, stride, before, pixels, form, last))
        c_in = width
    saved.append(head_saved(c_in, layout.classes))
    return [int(BYTES_PER_VALUE * values) for values in saved]


def _area(image_size: int | tuple[int, int]) -> int:
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    return height * width


def _larger(a: Ints, b: Ints) -> Ints:
    """The larger of two, element by element, without NumPy, which this package does not import."""
    if isinstance(a, int):
        return max(a, b) if isinstance(b, int) else b.clip(a)
    return a.clip(b)
