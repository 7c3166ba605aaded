"""Measures the phases of a training step by hooks of network and optimizer, so that any loop works unchanged.

`data` is the time between a step of the optimizer and the next forward pass, and `backward`, with the loss, the time
between the forward pass and the optimizer. On a GPU the marks are CUDA events, so that nothing waits during an epoch.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

PHASES = ("data", "forward", "backward", "optimizer")
"""The phases of a step, in order."""


class PhaseClock:
    """Measures the seconds of each phase of the steps of `network` and `optimizer` on `device`."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[Any] = []
        self._network = network
        self._handles = [
            network.register_forward_pre_hook(self._in_training),
            network.register_forward_hook(self._in_training),
            optimizer.register_step_pre_hook(self._always),
            optimizer.register_step_post_hook(self._always),
        ]

    def begin(self) -> None:
        """Starts an epoch."""
        self._marks = []
        self._mark()

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase since `begin`.

        Raises:
            RuntimeError: the marks are not those of complete steps.
        """
        if len(self._marks) < 2 or (len(self._marks) - 1) % len(PHASES):
            raise RuntimeError(f"{len(self._marks)} marks; complete steps have {len(PHASES)} each after the first mark")
        if self._on_gpu:
            torch.cuda.synchronize()
        totals = dict.fromkeys(PHASES, 0.0)
        for number in range(len(self._marks) - 1):
            totals[PHASES[number % len(PHASES)]] += self._between(self._marks[number], self._marks[number + 1])
        return totals

    def remove(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def _in_training(self, *_: Any) -> None:
        if self._network.training:
            self._mark()

    def _always(self, *_: Any) -> None:
        self._mark()

    def _mark(self) -> None:
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def _between(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end) / 1000 if self._on_gpu else end - start)
