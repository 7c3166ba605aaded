"""An exponential moving average of a network's weights, which is what is validated, tested and exported."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of `network`, which every step moves by 1 - `decay` of the way to the weights.

    At the start the decay is lower, min(decay, (1 + n) / (10 + n)) after n steps; otherwise a short training would be
    validated near its initial weights. The average starts again after each of the epochs `rungs`, so that at a rung it
    covers only the steps since the rung before, which anneal towards its end. BatchNorm's running statistics belong to
    the weights and are averaged too; integers are copied. The average is that of torch's AveragedModel, which however
    copies its step count to the device at every step; this class never waits for the device.

    Source: torch.optim.swa_utils.AveragedModel; the faster start is that of tf.train.ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float, rungs: tuple[int, ...]) -> None:
        self._decay, self._rungs = decay, rungs
        self.network = copy.deepcopy(network).requires_grad_(False)
        """The network with the averaged weights."""
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        self._moved = _apart([pair for pair in pairs if pair[0].is_floating_point()])
        self._copied = _apart([pair for pair in pairs if not pair[0].is_floating_point()])

    @torch.no_grad()
    def follow(self, step: int, steps_per_epoch: int) -> None:
        """Updates the average after step `step` of the network, counted from 0 over the whole training."""
        begun = max(start for start, _ in pairwise((0, *self._rungs)) if start * steps_per_epoch <= step)
        n = step - begun * steps_per_epoch
        torch._foreach_copy_(*self._copied)
        if n:
            torch._foreach_lerp_(*self._moved, 1 - min(self._decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(*self._moved)


def _apart(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [averaged for averaged, _ in pairs], [current for _, current in pairs]


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
