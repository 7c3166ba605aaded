"""What torch allocates and saves in a training step, measured, beside the closed form of what is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from model_zoo import ResNetLayout, build
from model_zoo.complexity import pixels_by_level
from model_zoo.memory import BYTES_PER_VALUE, saved_bytes_by_part

Size = tuple[int, int]
FEW, MANY = 4, 12
"""Batches whose difference leaves what grows with the batch."""

IGNORED = torch.bool.itemsize
"""Bytes per image that autograd saves and no closed form counts: label smoothing's mask of labels to ignore."""


def forward(
    layout: ResNetLayout, size: Size, batch: int, precision: torch.dtype = torch.float32
) -> Callable[[], tuple[Tensor, Tensor]]:
    """The forward pass of a training step, ready to run, to logits and loss."""
    network = build(layout).to(memory_format=torch.channels_last).train()
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *size, layout.in_channels, generator=draw).permute(0, 3, 1, 2)
    y = torch.randint(0, layout.classes, (batch,), generator=draw)

    def run() -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            logits = network(x)
        logits = logits.float()
        return logits, F.cross_entropy(logits, y, label_smoothing=0.1)

    return run


@contextmanager
def one_thread() -> Iterator[None]:
    """With several threads the allocations depend on the size of the batch; with one they do not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def allocated(layout: ResNetLayout, size: Size, batch: int) -> list[int]:
    """Bytes held by torch's CPU allocator after each allocation and release of a training step, in time's order."""
    run = forward(layout, size, batch)
    with one_thread(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        logits, loss = run()  # the training loop keeps the logits through backward, to count the correct answers
        loss.backward()  # type: ignore[no-untyped-call]
        del logits
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return list(accumulate(event.nbytes() for event in events))


def measured_bytes(layout: ResNetLayout, size: Size) -> float:
    """The peak, per image, of what grows with the batch: two batches compared allocation by allocation.

    Their peaks' difference would not do: weight gradients move a small batch's peak to where they are.
    """
    # With few pixels in a batch oneDNN's choice of a kernel depends on their number, and allocations with it.
    for times in (1, 4, 16):
        few, many = allocated(layout, size, times * FEW), allocated(layout, size, times * MANY)
        if len(few) == len(many):
            break
    growth = max(b - a for a, b in zip(few, many, strict=True)) / (times * (MANY - FEW))
    image, label = layout.in_channels * size[0] * size[1] * BYTES_PER_VALUE, torch.int64.itemsize
    return growth + image + label


def saved_bytes(layout: ResNetLayout, size: Size, precision: torch.dtype = torch.float32) -> float:
    """Bytes per image of the storages that autograd saves for backward."""
    totals = []
    for batch in (FEW, MANY):
        storages: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: Tensor, storages: dict[int, torch.UntypedStorage] = storages) -> None:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()  # held, so no address comes twice

        run = forward(layout, size, batch, precision)
        with one_thread(), saved_tensors_hooks(keep, lambda kept: kept):
            run()
        totals.append(sum(storage.nbytes() for storage in storages.values()))
    return (totals[1] - totals[0]) / (MANY - FEW)


def stage_areas(layout: ResNetLayout, size: Size) -> list[int]:
    """Pixels of the image, of the stem's output and of each stage's."""
    levels = np.cumsum([0, *(stride - 1 for stride in (layout.stem_stride, *layout.strides))])
    return [pixels_by_level(size, 1 + layout.stages)[level] for level in levels]


def saved_values(layout: ResNetLayout, size: Size) -> int:
    """The float32 values per image that the closed forms of stem, stages and head say are saved for backward."""
    return sum(saved_bytes_by_part(layout, size)) // BYTES_PER_VALUE
