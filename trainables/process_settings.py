"""How a process executes trainings: what changes their speed and not what they come to on a CPU.

Nothing here is part of a training's identity. Torch is imported by the calls, for `ENVIRONMENT` must be set before.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

Compile = Literal["auto", "off", "blocks"]

ENVIRONMENT: Final = {
    # glibc gives the memory of a large tensor back when it is freed and faults it in anew, page by page, at the next
    # step. Kept, and in huge pages, ResNet-12 trains about 1.2 times as fast on a CPU (docs/measurements.md).
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184",
    # libgomp's threads spin 300,000 rounds at a barrier before they sleep, on a core that another process may need. A
    # tenth loses nothing on a quiet machine, where not to spin at all costs a quarter (docs/decisions.md).
    "GOMP_SPINCOUNT": "30000",
}
"""Settings of the C libraries, read when a process starts; on systems without them they change nothing."""

CACHE_VARIABLE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""Where torch looks up the folder of what it compiled."""

BLOCK_SHAPES: Final = 64
"""Compilations that torch keeps of one function: each shape of a block in training, in evaluation, on a last batch."""


def environment() -> dict[str, str]:
    """`ENVIRONMENT` for processes that are started from this one; what its user has set stays as it is."""
    return {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}


def prepare_process(threads: int, device: torch.device) -> None:
    """Makes this process ready to train on `device` with so many CPU threads; what it no longer needs is given back."""
    import torch

    torch.set_num_threads(threads)
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; otherwise a large trial's memory stays for good
    if trim is not None:
        trim(0)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # an earlier trial's, which others on the same GPU may need
        # All batches of a training have one shape, so that trying cuDNN's algorithms once pays. Not yet measured.
        torch.backends.cudnn.benchmark = True


def compiles(setting: Compile, device: torch.device) -> bool:
    """Whether a training on `device` compiles its blocks.

    `auto` is no: on a CPU compiled blocks train ResNet-12 at about half the speed and take minutes to compile
    (docs/measurements.md), and on a GPU it is not yet measured.
    """
    return setting == "blocks"


def compile_blocks(network: nn.Module, cache: Path) -> None:
    """Compiles each residual block of `network` at its first call; equal shapes share one compilation.

    What is compiled is kept in the folder `cache`, for other trials and later runs. Names, parameters and buffers of
    the network stay as they are.
    """
    import torch._dynamo
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Torch puts its default into the environment when some of its modules are imported; what a user has set stays.
    if os.environ.get(CACHE_VARIABLE, default_cache_dir()) == default_cache_dir():
        os.environ[CACHE_VARIABLE] = str(cache)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, BLOCK_SHAPES)
    for stage in network.stages.children():  # type: ignore[union-attr]  # a Sequential of Sequentials
        for block in stage.children():
            block.compile(dynamic=False)


def compile_cache() -> Path:
    """The folder of compiled blocks, beside that of the data sets, absolute; it need not exist."""
    from trainables.data.cache import cache_root

    return cache_root().with_name("compiled")
