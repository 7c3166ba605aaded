"""The device and the arithmetic of a training."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, Final

import torch

from trainables.errors import DeviceError
from trainables.recipe import Recipe

OUT_OF_MEMORY: Final = (
    "out of memory",
    "DefaultCPUAllocator: ",
    "unable to find an engine to execute this computation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What torch and the libraries below it say when memory runs out: the CUDA runtime, its driver, Triton and MPS, the
CPU, cuDNN without room for a workspace, cuBLAS without room for a handle. Read in torch 2.15, pytorch#108645, #152023.
"""
MEMORY_ALLOCATION: Final = 2
"""The CUDA error code of memory that ran out."""


def pick_device(accelerator: bool | None = None) -> torch.device:
    """The CUDA device of this process, else MPS, else the CPU; with `accelerator` no CPU, and without only that.

    Raises:
        DeviceError: `accelerator` is true, and torch can use none.
    """
    if accelerator is not False:
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
    if accelerator:
        raise DeviceError(unusable_gpu(cuda_problem()))
    return torch.device("cpu")


def memory_bytes(device: torch.device) -> int:
    """The memory of a CUDA device."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def cuda_problem() -> str:
    """Why torch cannot use CUDA here, the first sentence of its own words; empty if it can."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return ""


def unusable_gpu(problem: str) -> str:
    """The message for a requested GPU that torch cannot use because of `problem`."""
    built = f" for CUDA {torch.version.cuda}" if torch.version.cuda else ""
    return (
        f"gpus_per_trial: a GPU is requested, but torch {torch.__version__}{built} cannot use one: "
        f"{problem or 'no CUDA device is visible'}; mend that, or train on the CPU with --gpus-per-trial 0"
    )


def resolve_precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """float32 or bfloat16: that of the recipe, or for `auto` bfloat16 if the device computes it natively.

    In float32 cuDNN multiplies as TF32 on Ampere and later GPUs, which is torch's default for convolutions.
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


@contextlib.contextmanager
def heuristic_cudnn() -> Iterator[None]:
    """A context in which cuDNN chooses its algorithms by rule, without trying them, which pays only in a training."""
    tries = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = tries


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that memory of the device or of the host ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if getattr(error, "error_code", None) == MEMORY_ALLOCATION:
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Whether nothing can be trained in this process after `error`, because its device or CUDA context is unusable.

    A CUDA context that a kernel broke fails at every later call, whichever library reported the first failure.
    """
    if isinstance(error, DeviceError):
        return True
    if is_out_of_memory(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError as another:
        return not is_out_of_memory(another)
    return False


def _cpu_has(feature: str) -> bool:
    # torch.cpu's feature tests are not public; without them float32 works everywhere.
    test = getattr(torch.cpu, feature, None)
    return bool(test and test())
