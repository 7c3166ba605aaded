"""How many trials share a GPU under `gpus_per_trial = auto`: as many as fit its memory, and no more than keep it busy.

A GPU finishes the kernels of a small network faster than the host can launch them, so a single training leaves it idle,
and several, each in its own process, fill it. The other limit is memory, for the largest layout of the space.
None of these constants has been measured yet, nor those of `gpu_time`, which has the model of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from model_zoo import PRESETS, count_activation_bytes, count_flops, count_params
from model_zoo.complexity import count_norms
from search.config import RunConfig
from search.errors import ResourceError
from search.gpus import Gpu, gpus
from search.layouts import sample_uniform
from search.machine import available_cpus
from search.planning.gpu_time import Step
from search.planning.resources import gpu_share
from trainables.data.known_datasets import DatasetInfo

MOST_AT_ONCE: Final = 8
"""Most trials on one GPU; not yet measured."""
WORTH: Final = 1.25
"""Throughput over that of a single trial at a time from which a GPU is shared; the model of a step is that inexact."""
CONTEXT_BYTES: Final = 850 * 2**20
"""GPU memory of a process before its first tensor, with the workspaces of libraries; not yet measured."""
ROUNDING: Final = 1.25
"""Memory that the allocator reserves, as a multiple of the tensors' bytes; not yet measured."""
HELD: Final = 0.9
"""Share of a GPU's free memory that its trials may take together."""
BFLOAT16_SHARE: Final = 0.511
"""Activations under bfloat16 autocast over those in float32, the highest of five presets (`count_activation_bytes`)."""
STATES: Final = {"sgd": 1, "nesterov": 1}
"""Tensors that an optimizer keeps per parameter; two for optimizers that are not listed."""
SAMPLES: Final = 200
"""Layouts drawn from the space to estimate its median and its largest layout."""


@dataclass(frozen=True, slots=True)
class TrialNeeds:
    """What the trainings of a space need of a GPU."""

    memory_bytes: float
    """Of the largest layout, its process included."""
    host_s: float
    """Seconds that the host takes to launch a step of the median layout."""
    gpu_s: float
    """Seconds that the GPU computes for it."""


def needs_of(config: RunConfig, gpu: Gpu) -> TrialNeeds:
    """The needs of the trainings of `config` on `gpu`, estimated from a uniform sample of layouts.

    Memory is that of the largest layout and batch, times are those of the median ones.
    """
    space, size = config.space, config.space.image_size
    layouts = list(sample_uniform(space, SAMPLES, np.random.default_rng(config.seed)))
    layouts += [PRESETS[name] for name in config.warm_start if name in PRESETS]
    batch = max(int(value) for value in config.recipe.values_of("batch_size"))
    states = max(STATES.get(str(value), 2) for value in config.recipe.values_of("optimizer"))
    step = Step.of(config.recipe.values_of, gpu.bfloat16)
    memory = [
        training_bytes(count_activation_bytes(layout, size), count_params(layout), batch, states, step.bfloat16)
        for layout in layouts
    ]
    flops = float(np.median([count_flops(layout, size) for layout in layouts]))
    convolutions = float(np.median([count_norms(layout)[0] for layout in layouts]))  # each has a norm
    return TrialNeeds(
        memory_bytes=max(memory) + CONTEXT_BYTES + _image_bytes(config.dataset_facts),
        host_s=step.host_s(convolutions),
        gpu_s=step.gpu_s(convolutions, flops, gpu),
    )


def training_bytes(activation_bytes: int, params: int, batch: int, states: int, bfloat16: bool) -> float:
    """Bytes of a training's tensors on a GPU: activations, weights, gradients, optimizer states, autocast's copies."""
    activations = activation_bytes * batch * (BFLOAT16_SHARE if bfloat16 else 1)
    return ROUNDING * (activations + params * (4 * (2 + states) + (2 if bfloat16 else 0)))


def trials_at_once(needs: TrialNeeds, gpu: Gpu, cpu_slots: int) -> int:
    """How many trials share a GPU: as many as fit its memory and the `cpu_slots`, and no more than keep it busy.

    A single training keeps it busy only for the part of a step in which it computes; otherwise it waits for the host.
    Where sharing would raise the throughput less than `WORTH` times, it is one.
    """
    gain = needs.host_s / needs.gpu_s
    fitting = int(HELD * gpu.free_bytes // needs.memory_bytes)
    trials = min(math.ceil(gain - 1e-9), fitting, cpu_slots, MOST_AT_ONCE)
    return trials if min(trials, gain) > WORTH else 1


def with_share(config: RunConfig, address: str | None = None) -> RunConfig:
    """`config` with `gpus_per_trial = auto` replaced by a number that suits this machine's fullest GPU, 0 without one.

    Raises:
        ResourceError: it is `auto` for a cluster, whose GPUs this process cannot see, or torch cannot use the GPUs.
    """
    if config.gpus_per_trial != "auto":
        return config
    if address is not None:
        raise ResourceError(f"gpus_per_trial: auto given for the cluster at {address}; give the share as a number")
    share, found = 0.0, gpus()
    if found.present and not found.count:
        raise ResourceError(found.refusal)
    if found.usable:
        gpu = min(found.usable, key=lambda one: one.free_bytes)
        slots = available_cpus() // config.cpus_per_trial // found.count
        share = gpu_share(trials_at_once(needs_of(config, gpu), gpu, slots))
    return config.model_copy(update={"gpus_per_trial": share})


def _image_bytes(info: DatasetInfo) -> int:
    """Bytes of the training images on the device: uint8, with an int64 label and an int64 index per image."""
    return info.train_images * (math.prod(info.image_shape) + 16)
