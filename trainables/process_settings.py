"""Settings of a process that change the speed of its trainings but, on a CPU, not their results.

Nothing here is part of a training's identity. The functions import torch themselves, because `ENVIRONMENT` must be set
before that.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

Compile = Literal["auto", "off", "blocks"]

ENVIRONMENT: Final = {
    # glibc returns the memory of a freed large tensor to the system, so that the next step faults it in again, page by
    # page. If it keeps it, in huge pages, ResNet-12 trains about 1.2 times as fast on a CPU (docs/measurements.md).
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184",
    # libgomp's threads spin 300,000 rounds at a barrier before they sleep, on a core that another process may need. A
    # tenth of that loses nothing on an idle machine, where not spinning at all costs a quarter (docs/decisions.md).
    "GOMP_SPINCOUNT": "30000",
}
"""Settings of the C libraries, read when a process starts; systems without these libraries ignore them."""

CACHE_VARIABLE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable with torch's folder of compiled code."""

BLOCK_SHAPES: Final = 128
"""Compilations that torch keeps per function: one per shape of a block, in full batches and in a last one, for each
size of the images under progressive resizing."""


def environment() -> dict[str, str]:
    """`ENVIRONMENT` for child processes of this one, without the variables that the user has set."""
    return {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}


def prepare_process(threads: int, device: torch.device) -> None:
    """Prepares this process to train on `device` with `threads` CPU threads, and returns memory it no longer needs."""
    import torch

    torch.set_num_threads(threads)
    release_memory()
    if device.type == "cuda":
        # The batches of a training have one to five shapes, so trying cuDNN's algorithms once per shape should pay off.
        # Not yet measured.
        torch.backends.cudnn.benchmark = True


def room_for_images(memory_bytes: int, share: float) -> int:
    """The most bytes of images that a trial with this `share` of a GPU's memory keeps there: a third of its share."""
    return int(memory_bytes * share / 3)


def release_memory() -> None:
    """Returns the memory of an earlier trial, on the host and on the GPU, to the system."""
    import torch

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; without it a large trial's memory is never freed
    if trim is not None:
        trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def compiles(setting: Compile, device: torch.device) -> bool:
    """Whether a training on `device` compiles its blocks.

    `auto` does not: on a CPU compiled blocks train ResNet-12 at about half the speed and take minutes to compile
    (docs/measurements.md), and on a GPU it has not been measured yet.
    """
    return setting == "blocks"


def compile_blocks(network: nn.Module, cache: Path) -> None:
    """Makes each residual block of `network` compile at its first call; equal shapes share one compilation.

    The compiled code is kept in the folder `cache`, for other trials and later runs. Names, parameters and buffers of
    the network do not change. At most as many processes compile as this one has threads. What was compiled for earlier
    networks of this process is forgotten: torch counts the compilations of a function, which all blocks share, and
    stops compiling at a limit.
    """
    import torch
    import torch._dynamo
    import torch._inductor.config
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Torch writes its default into the environment when some of its modules are imported; a user's folder is kept.
    if os.environ.get(CACHE_VARIABLE, default_cache_dir()) == default_cache_dir():
        os.environ[CACHE_VARIABLE] = str(cache)
    torch._dynamo.reset()
    torch._inductor.config.compile_threads = torch.get_num_threads()
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, BLOCK_SHAPES)
    for stage in network.stages.children():  # type: ignore[union-attr]  # a Sequential of Sequentials
        for block in stage.children():
            block.compile(dynamic=False)


def uncompiled(compiled: bool) -> contextlib.AbstractContextManager[Any]:
    """A context in which the blocks of a `compiled` network run as they are written.

    Validation is about 2% of the work, and its batches have other shapes: it would double the compilations.
    """
    if not compiled:
        return contextlib.nullcontext()
    import torch

    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def compile_cache() -> Path:
    """The absolute path of the folder of compiled blocks, beside that of the data sets; it need not exist."""
    from trainables.data.cache import cache_root

    return cache_root().with_name("compiled")
