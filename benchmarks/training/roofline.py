"""Measures what a machine can do, and computes a lower bound on the time of a training step (a roofline).

The bound runs a step's kernels one after the other. Each takes the time of its arithmetic at the rate of a matrix
multiply, or of its memory traffic at the rate of a copy, whichever is longer. A kernel is a convolution or an
element-wise pass. In the forward pass a norm reads its input twice (statistics, then values) and writes once; in the
backward pass it reads input and gradient twice; the ReLU after it is fused. The addition of a block reads two tensors
and writes one, forward and backward.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from model_zoo import ResNetLayout
from model_zoo.blocks import KINDS, Convolution
from model_zoo.blocks.stem import stem_convolutions
from model_zoo.complexity import changes_shape, has_skip, pixels_by_level

NORM_FORWARD, NORM_BACKWARD, ADD_FORWARD, ADD_BACKWARD = 3, 5, 3, 2
"""Tensors that a norm with its ReLU, or an addition, reads and writes, in units of its output."""


@dataclass(frozen=True, slots=True)
class MachineRates:
    """The rates of a device."""

    flops_per_s: float
    """Rate of a matrix multiply in the arithmetic of the training."""
    bytes_per_s: float
    """Bytes read and written per second by a copy."""


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """FLOP/s of the fastest of some square matrix multiplies in `dtype`, each size run for about `seconds`.

    On a GPU float32 is TF32, as it is in the convolutions that are compared with it.
    """
    best, before = 0.0, torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        for side in (4096, 8192, 16384) if device.type == "cuda" else (1024, 2048, 4096):
            a = torch.randn(side, side, device=device).to(dtype)
            best = max(best, 2 * side**3 / _fastest(partial(torch.mm, a, a), device, seconds))
    finally:
        torch.set_float32_matmul_precision(before)
    return best


def copy_rate(device: torch.device, seconds: float = 1.0) -> float:
    """Bytes read and written per second by the fastest copy of 64 MiB (1 GiB on a GPU) within about `seconds`."""
    size = 2**30 if device.type == "cuda" else 2**26
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * size / _fastest(lambda: target.copy_(source), device, seconds)


def step_seconds(layout: ResNetLayout, image_size: int, batch: int, rates: MachineRates, value_bytes: int = 4) -> float:
    """The lower bound on the seconds of a training step."""
    total, form, kind = 0.0, layout.form, KINDS[layout.block]

    def kernel(flops: float, values: float) -> None:
        nonlocal total
        total += max(flops / rates.flops_per_s, values * value_bytes / rates.bytes_per_s)

    def convolve(conv: Convolution, pixels_in: int, pixels: int) -> None:
        read, written = conv.c_in * pixels_in * batch, conv.c_out * pixels * batch
        for _ in range(3):  # the forward pass and the gradients of input and weights; each touches all three tensors
            kernel(2 * conv.weights * pixels * batch, read + written + conv.weights)
        if conv.norm:
            kernel(0, NORM_FORWARD * written)
            kernel(0, NORM_BACKWARD * written)

    areas = pixels_by_level(image_size, 1 + layout.stages)
    c_in, level, before = layout.stem_channels, layout.stem_stride - 1, areas[0]
    for conv in stem_convolutions(layout.in_channels, c_in, form):
        convolve(conv, before, areas[level])
        before = areas[level]
    for blocks, width, first_stride, side in zip(
        layout.blocks, layout.channels, layout.strides, layout.kernels, strict=True
    ):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            level += stride - 1
            after, read = areas[level], before
            for conv in kind.convolutions(c_in, width, side, form):
                made = before if conv.before_stride else after
                convolve(conv, read, made)
                read = made
            if has_skip(c_in, width, stride, form):
                convolve(Convolution(c_in, width, form.skip_kernel, norm=kind.skip_norm), before, after)
            if kind.projection or not changes_shape(c_in, width, stride):
                kernel(0, (ADD_FORWARD + ADD_BACKWARD) * width * after * batch)
            c_in, before = width, after
    return total


def _fastest(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    best, ends = float("inf"), time.perf_counter() + seconds
    for round_ in range(1000):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if round_:  # the first warms up
            best = min(best, time.perf_counter() - started)
        if round_ and time.perf_counter() > ends:
            break
    return best
