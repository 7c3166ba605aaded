"""Activation memory of a training step in closed form, without building a weight.

In units of one float32 value per image. A block saves for backward what its convolutions, norms and activations read:
every convolution's output, every activation's (ReLU is in place, SiLU and GELU need their input too), the skip
convolution's where a norm reads it, and what a squeeze scales. Backward adds gradients in flight. As in
`model_zoo.complexity`, every term holds for ints and, element by element, for NumPy arrays of int64.
"""

from __future__ import annotations

from collections.abc import Sequence

from model_zoo.block_form import PLAIN, BlockForm
from model_zoo.complexity import FEWEST_STRIDED, Ints, has_skip, pixels_by_level
from model_zoo.layout import ResNetLayout

BYTES_PER_VALUE = 4
"""Bytes of a float32."""


def _kept(form: BlockForm) -> int:
    """Tensors that an activation keeps: its result and, except ReLU's, which is in place, its input."""
    return 1 if form.activation == "relu" else 2


def stem_saved(in_channels: Ints, width: Ints, pixels: Ints, form: BlockForm = PLAIN) -> Ints:
    """Values saved by the stem on an image of `pixels`: the image, the convolution's output, the activation's."""
    return (in_channels + (1 + _kept(form)) * width) * pixels


def stage_saved(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    stride: Ints,
    skip_kernel: Ints,
    pixels_in: Ints,
    pixels: Ints,
    form: BlockForm = PLAIN,
    last: Ints = 0,
) -> Ints:
    """Values saved by a stage whose input and output have so many pixels per channel.

    Preactivation blocks save as much as basic ones: the activation of a block's output is the next block's first, or
    the network's last. Their skips' outputs no norm reads. `last` is 1 for the network's last stage: what its last
    activation gives is read by the mean alone, which saves nothing, so that only ReLU keeps it.
    """
    a_norm = 1 + _kept(form)  # a convolution's output behind which stand a norm and an activation
    if form.block == "bottleneck":
        inner = form.inner(width)
        values = a_norm * ((2 * inner + width) * blocks * pixels + inner * (pixels_in - pixels))
    else:
        values = 2 * a_norm * width * blocks * pixels
    if form.squeeze:
        values = values + blocks * (width * pixels + 2 * width + _kept(form) * (width // form.squeeze))
    every_other = (stride != 1) & (skip_kernel == 1) & (c_in < FEWEST_STRIDED)
    skip = width * (form.block != "preactivation")
    unread = last * (_kept(form) - 1) * width
    return values + (has_skip(c_in, width, stride) * skip + every_other * c_in - unread) * pixels


def head_saved(width: Ints, classes: Ints) -> Ints:
    """Values saved by mean, linear layer and loss: means, log-probabilities, and an int64 label, which is as two."""
    return width + classes + 2


def stage_peak(
    c_in: Ints,
    width: Ints,
    blocks: Ints,
    stride: Ints,
    skip_kernel: Ints,
    pixels_in: Ints,
    pixels: Ints,
    form: BlockForm = PLAIN,
    last: Ints = 0,
) -> Ints:
    """Most values alive in a stage's backward beyond those saved before it, for `pixels_in` and then `pixels`.

    Either at its last activation, where all is still saved and the gradient exists on both sides, or in a first block
    whose input is larger than its output, at its last norm or a convolution, while the skip's gradient of the input
    waits.
    """
    skip, before, after = has_skip(c_in, width, stride), c_in * pixels_in, width * pixels
    at_activation = stage_saved(c_in, width, blocks, stride, skip_kernel, pixels_in, pixels, form, last) + 2 * after
    a_norm = 1 + _kept(form)
    # At the last norm 4: its input, a gradient on each side, and one more because torch 2.15 allocates the norm's
    # result twice on the CPU. Without that norm 2 gradients, at conv2. At a squeeze's product its input and 3 gradients
    # and, where there is one, the last norm's input.
    norms = form.block != "preactivation"
    at_end = (4 if norms else 2) if not form.squeeze else (5 if norms else 4)
    if form.block == "bottleneck":
        wide, narrow = form.inner(width) * pixels_in, form.inner(width) * pixels
        inside = _larger(a_norm * (wide + narrow) + at_end * after, _larger(4 * wide, (1 + a_norm) * wide + narrow))
        at_first = wide + before
    else:
        inside, at_first = (a_norm + at_end) * after, after + before
    # At conv1 the gradient that enters, and the input's from conv1 beside the skip's.
    return _larger(at_activation, skip * (before + _larger(inside, at_first)))


def head_peak(width: Ints, classes: Ints) -> Ints:
    """Most values alive in the loss's backward beyond those of stem and stages.

    Beside what is saved, the logits, two gradients of the log-probabilities, the second from label smoothing, and the
    gradient of one image's loss.
    """
    return head_saved(width, classes) + 3 * classes + 1


def activation_bytes(
    in_channels: Ints,
    stem: Ints,
    widths: Sequence[Ints],
    blocks: Sequence[Ints],
    strides: Sequence[Ints],
    skip_kernel: Ints,
    classes: Ints,
    areas: Sequence[Ints],
    form: BlockForm = PLAIN,
) -> Ints:
    """`count_activation_bytes` over columns: every entry is an int or an int64 array with one element a layout.

    `widths`, `blocks` and `strides` have one entry a stage; `areas` has one more, the pixels of the image and then of
    each stage's output. Where a layout has fewer stages than others of its column, `blocks` is 0 and the rest is free.

    The layouts of a column share `form`.

    Raises:
        ValueError: the sequences' lengths do not agree.
    """
    saved = stem_saved(in_channels, stem, areas[0], form)
    peak, c_in = 0, stem
    stages = zip(widths, blocks, [*blocks[1:], 0], strides, areas[:-1], areas[1:], strict=True)
    for width, count, after, stride, pixels_in, pixels in stages:
        here, last = count > 0, after == 0
        in_backward = stage_peak(c_in, width, count, stride, skip_kernel, pixels_in, pixels, form, last)
        peak = _larger(peak, here * (saved + in_backward))
        in_forward = stage_saved(c_in, width, count, stride, skip_kernel, pixels_in, pixels, form, last)
        saved = saved + here * in_forward
        c_in = c_in + here * (width - c_in)
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
    levels = pixels_by_level(image_size, layout.stages)
    areas, level = [levels[0]], 0
    for stride in layout.strides:
        level += stride - 1
        areas.append(levels[level])
    return int(
        activation_bytes(
            layout.in_channels,
            layout.stem_channels,
            layout.channels,
            layout.blocks,
            layout.strides,
            layout.skip_kernel,
            layout.classes,
            areas,
            layout.form,
        )
    )


def _larger(a: Ints, b: Ints) -> Ints:
    """The larger of two, element by element, without NumPy, which this package does not import."""
    return a + (b - a) * (b > a)
