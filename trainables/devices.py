"""The device and the arithmetic of a training."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from trainables.recipe import Recipe


def pick_device(accelerator: bool = True) -> torch.device:
    """The CUDA device of this process, else MPS, else the CPU; always the CPU without `accelerator`."""
    if accelerator and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def resolve_precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """float32 or bfloat16: that of the recipe, or for `auto` bfloat16 if the device computes it natively.

    On an AVX-512-BF16 core bfloat16 trains ResNet-12 1.57 times as fast as float32 (docs/measurements.md).
    """
    if recipe.precision != "auto":
        return torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu":
        native = any(_cpu_has(feature) for feature in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def autocast(precision: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which a forward pass computes in `precision`."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that memory of the device or of the host ran out."""
    # torch has a class for device memory; on the CPU it raises a RuntimeError with this wording (2.11 to 2.15).
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator: " in str(error)


def _cpu_has(feature: str) -> bool:
    # torch.cpu's feature tests are not public; without them float32 works everywhere.
    test = getattr(torch.cpu, feature, None)
    return bool(test and test())
