"""How many trials share a GPU under `gpus_per_trial = auto`: as many as it holds and as it takes to keep it at work.

A small network's step is a row of kernels that a GPU ends sooner than a host can launch them, so one training leaves it
idle and several in processes of their own fill it. Memory is the other bound: that of the largest layout of the space.
No constant here was measured yet; `benchmarks.concurrency` on a GPU gives what they must reproduce.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from model_zoo import PRESETS, count_activation_bytes, count_flops, count_params
from search.config import RunConfig
from search.errors import ResourceError
from search.layouts import sample_uniform
from search.machine import available_cpus
from trainables.data.known_datasets import DatasetInfo

MOST_AT_ONCE: Final = 8
"""Trials on one GPU at most; not yet measured."""
CONTEXT_BYTES: Final = 700 * 2**20
"""What a process takes of a GPU before its first tensor, and libraries' workspaces; not yet measured."""
ROUNDING: Final = 1.25
"""What the allocator holds over the tensors' bytes; not yet measured."""
HELD: Final = 0.9
"""Share of a GPU's memory that its trials may take together."""
BFLOAT16_SHARE: Final = 0.511
"""Activations under bfloat16 autocast over those in float32, the most of five presets (`count_activation_bytes`)."""
KERNELS_PER_LAYER: Final = 20
"""Kernels of a training step for a convolution with its norm and its share of the optimizer; not yet measured."""
LAUNCH_S: Final = 10e-6
"""Seconds of a host for one kernel of a training step, eager; not yet measured."""
KERNEL_S: Final = 3e-6
"""Seconds of a GPU for a kernel that computes next to nothing; not yet measured."""
FLOPS_PER_PROCESSOR_S: Final = 1.5e12
"""FLOP/s of a multiprocessor in the convolutions of a training in bfloat16; not yet measured."""
TRAINING_PASSES: Final = 3
"""A training step costs about three forward passes: one forward, two of the same size backward."""
STATES: Final = {"sgd": 1, "nesterov": 1}
"""Tensors of an optimizer for each parameter; two for those not named."""
SAMPLES: Final = 200
"""Layouts drawn from the space to know its median and its largest."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the rule asks of a GPU."""

    memory_bytes: int
    processors: int
    """Multiprocessors."""
    bfloat16: bool
    """Whether it multiplies bfloat16 natively."""


@dataclass(frozen=True, slots=True)
class TrialNeeds:
    """What a training of a space takes of a GPU."""

    memory_bytes: float
    """Of the largest one, its process included."""
    flops_per_step: float
    """Of the median one, all passes."""
    layers: float
    """Weighted layers of the median one."""


def needs_of(config: RunConfig, bfloat16: bool) -> TrialNeeds:
    """What the trainings of `config` take, by a uniform sample of its space and the largest batch of its recipes."""
    space, size = config.space, config.space.image_size
    layouts = list(sample_uniform(space, SAMPLES, np.random.default_rng(config.seed)))
    layouts += [PRESETS[name] for name in config.warm_start if name in PRESETS]
    batch = max(int(value) for value in config.recipe.values_of("batch_size"))
    states = max(STATES.get(str(value), 2) for value in config.recipe.values_of("optimizer"))
    half = bfloat16 and "float32" not in config.recipe.values_of("precision")
    memory = [
        training_bytes(count_activation_bytes(layout, size), count_params(layout), batch, states, half)
        for layout in layouts
    ]
    flops = float(np.median([count_flops(layout, size) for layout in layouts]))
    return TrialNeeds(
        memory_bytes=max(memory) + CONTEXT_BYTES + _image_bytes(config.dataset_facts),
        flops_per_step=TRAINING_PASSES * flops * batch,
        layers=float(np.median([layout.depth for layout in layouts])),
    )


def training_bytes(activation_bytes: int, params: int, batch: int, states: int, bfloat16: bool) -> float:
    """Bytes of a training's tensors on a GPU: activations, weights, gradients, optimizer, autocast's copies."""
    activations = activation_bytes * batch * (BFLOAT16_SHARE if bfloat16 else 1)
    return ROUNDING * (activations + params * (4 * (2 + states) + (2 if bfloat16 else 0)))


def trials_at_once(needs: TrialNeeds, gpu: Gpu, cpu_slots: int) -> int:
    """How many trials share a GPU: what fits its memory and the `cpu_slots`, and no more than keep it at work.

    One training keeps it at work for the share of a step's time in which it computes; the rest it waits for the host.
    """
    kernels = needs.layers * KERNELS_PER_LAYER
    at_work_s = kernels * KERNEL_S + needs.flops_per_step / (gpu.processors * FLOPS_PER_PROCESSOR_S)
    useful = math.ceil(kernels * LAUNCH_S / at_work_s)
    fitting = int(HELD * gpu.memory_bytes // needs.memory_bytes)
    return max(1, min(useful, fitting, cpu_slots, MOST_AT_ONCE))


def gpu_share(trials: int) -> float:
    """The share of a GPU of which so many fit, in ten-thousandths, in which Ray counts."""
    return math.floor(10_000 / trials) / 10_000


def with_share(config: RunConfig, address: str | None = None) -> RunConfig:
    """`config` with a number for `gpus_per_trial = auto`: this machine's first GPU decides; 0 without one.

    Raises:
        ResourceError: it is `auto` for a cluster, whose GPUs this process cannot see.
    """
    if config.gpus_per_trial != "auto":
        return config
    if address is not None:
        raise ResourceError(f"gpus_per_trial: auto given for the cluster at {address}; give the share as a number")
    import torch

    share, count = 0.0, torch.cuda.device_count()
    if count:
        facts = torch.cuda.get_device_properties(0)
        gpu = Gpu(facts.total_memory, facts.multi_processor_count, (facts.major, facts.minor) >= (8, 0))
        slots = available_cpus() // config.cpus_per_trial // count
        share = gpu_share(trials_at_once(needs_of(config, gpu.bfloat16), gpu, slots))
    return config.model_copy(update={"gpus_per_trial": share})


def _image_bytes(info: DatasetInfo) -> int:
    """The training images on the device: uint8, with an int64 label and an index each."""
    return info.train_images * (math.prod(info.image_shape) + 16)
