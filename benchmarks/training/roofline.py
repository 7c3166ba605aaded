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
from model_zoo.complexity import has_skip, pixels_by_level

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
    """FLOP/s of the fastest of some square matrix multiplies in `dtype`, each size run for about `seconds`."""
    best = 0.0
    for side in (4096, 8192, 16384) if device.type == "cuda" else (1024, 2048, 4096):
        a = torch.randn(side, side, device=device).to(dtype)
        best = max(best, 2 * side**3 / _fastest(partial(torch.mm, a, a), device, seconds))
    return best


def copy_rate(device: torch.device, seconds: float = 1.0) -> float:
    """Bytes read and written per second by the fastest copy of 64 MiB (1 GiB on a GPU) within about `seconds`."""
    size = 2**30 if device.type == "cuda" else 2**26
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * size / _fastest(lambda: target.copy_(source), device, seconds)


def step_seconds(layout: ResNetLayout, image_size: int, batch: int, rates: MachineRates, value_bytes: int = 4) -> float:
    """The lower bound on the seconds of a training step of a network of basic blocks."""
    total = 0.0

    def kernel(flops: float, values: float) -> None:
        nonlocal total
        total += max(flops / rates.flops_per_s, values * value_bytes / rates.bytes_per_s)

    def conv_norm(c_in: int, c_out: int, side: int, stride: int, pixels_in: int, pixels: int) -> None:
        flops = 2 * c_in * c_out * side**2 * pixels * batch
        read, written, weights = c_in * pixels_in * batch, c_out * pixels * batch, c_in * c_out * side**2
        for _ in range(3):  # the forward pass and the gradients of input and weights; each touches all three tensors
            kernel(flops, read + written + weights)
        kernel(0, NORM_FORWARD * written)
        kernel(0, NORM_BACKWARD * written)

    areas = pixels_by_level(image_size, layout.stages)
    c_in, level = layout.stem_channels, 0
    conv_norm(layout.in_channels, c_in, 3, 1, areas[0], areas[0])
    for blocks, width, first_stride, side in zip(
        layout.blocks, layout.channels, layout.strides, layout.kernels, strict=True
    ):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            before = areas[level]
            level += stride - 1
            after = areas[level]
            conv_norm(c_in, width, side, stride, before, after)
            conv_norm(width, width, side, 1, after, after)
            if has_skip(c_in, width, stride):
                conv_norm(c_in, width, layout.skip_kernel, stride, before, after)
            kernel(0, (ADD_FORWARD + ADD_BACKWARD) * width * after * batch)
            c_in = width
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
