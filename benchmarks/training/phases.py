"""Where the time of a training step goes, by hooks of network and optimizer that any loop calls: no change of the loop.

Data is what lies between a step of the optimizer and the next forward pass, backward what lies between the forward
pass and the optimizer, loss included. On a GPU the marks are CUDA events, so that nothing waits within an epoch.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

PHASES = ("data", "forward", "backward", "optimizer")
"""The phases of a step, in their order."""


class PhaseClock:
    """Seconds of each phase of the steps that `network` and `optimizer` take on `device`."""

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
            RuntimeError: the marks are not those of whole steps.
        """
        if len(self._marks) < 2 or (len(self._marks) - 1) % len(PHASES):
            raise RuntimeError(f"{len(self._marks)} marks; steps of other hooks than forward, optimizer were taken")
        if self._on_gpu:
            torch.cuda.synchronize()
        totals = dict.fromkeys(PHASES, 0.0)
        for number in range(len(self._marks) - 1):
            totals[PHASES[number % len(PHASES)]] += self._between(self._marks[number], self._marks[number + 1])
        return totals

    def remove(self) -> None:
        """Takes the hooks away."""
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
