"""The GPUs of this machine, asked of torch in a child process: a CUDA context of our own would hold 0.5 GB of GPU 0."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context


@dataclass(frozen=True, slots=True)
class Gpu:
    """The properties of a CUDA device that decide what fits it and how fast it is."""

    name: str
    memory_bytes: int
    free_bytes: int
    """Memory that no process holds."""
    processors: int
    """Multiprocessors."""
    bfloat16: bool
    """Whether it computes bfloat16 natively."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """What torch says of this machine's GPUs."""

    usable: tuple[Gpu, ...] = ()
    mps: bool = False
    """Whether there is a GPU of Apple's."""
    present: int = 0
    """CUDA devices that the driver lists, also where torch cannot use them."""
    refusal: str = ""
    """One line with the reason why torch can use no CUDA device; empty if it can."""
    cuda: str = ""
    """The version of CUDA that torch was built for."""
    cudnn: int = 0
    """The version of cuDNN as one number, 92600 for 9.26.0."""

    @property
    def count(self) -> int:
        """GPUs on which a trial can be trained."""
        return len(self.usable) or int(self.mps)


@cache
def gpus() -> Gpus:
    """The GPUs of this machine; looked up once per process, in some seconds."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
            return child.submit(seen_by_torch).result()
    except BrokenProcessPool:
        return Gpus(refusal="gpus_per_trial: the process that asked torch for GPUs died; check the driver")


def seen_by_torch() -> Gpus:
    """The GPUs as this process sees them, which makes a CUDA context on each."""
    import torch

    from trainables.devices import cuda_problem, unusable_gpu

    present = torch.cuda.device_count()
    problem = cuda_problem()
    usable = () if problem else tuple(map(_facts, range(present)))
    return Gpus(
        usable=usable,
        mps=torch.backends.mps.is_available(),
        present=present,
        refusal="" if usable else unusable_gpu(problem),
        cuda=torch.version.cuda or "",
        cudnn=torch.backends.cudnn.version() or 0,  # type: ignore[no-untyped-call]
    )


def _facts(device: int) -> Gpu:
    import torch

    facts = torch.cuda.get_device_properties(device)
    try:
        free, _ = torch.cuda.mem_get_info(device)
    except RuntimeError:  # so full that it has no room for a context
        free = 0
    native = (facts.major, facts.minor) >= (8, 0)
    return Gpu(facts.name, facts.total_memory, free, facts.multi_processor_count, native)
