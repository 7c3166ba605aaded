"""An exponential moving average of a network's weights, which is what is validated, tested and handed on."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage:
    """The average of `network`, moved after every step by 1 - `decay` of the way to the weights.

    Early on the average forgets faster, by min(decay, (1 + n) / (10 + n)) after n steps, or a short training would be
    validated near its initial weights. It begins anew after each of the epochs `rungs`, so that what is compared at a
    rung averages the steps of that rung alone, which anneal towards its end. Averaged alike are BatchNorm's running
    statistics, which belong to the weights; whole numbers are copied.

    Source: torch.optim.swa_utils.AveragedModel; the faster start is tf.train.ExponentialMovingAverage's.
    """

    def __init__(self, network: nn.Module, decay: float, rungs: tuple[int, ...]) -> None:
        self._decay, self._rungs = decay, rungs
        # Its count of steps stays on the host, where torch makes it: reading it waits for no device.
        self._model = AveragedModel(network, multi_avg_fn=self._move, use_buffers=True)
        self._model.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        module: nn.Module = self._model.module
        return module

    def follow(self, network: nn.Module, step: int, steps_per_epoch: int) -> None:
        """What comes after step `step` of `network`, counted from 0 over the whole training."""
        begun = max(start for start, _ in pairwise((0, *self._rungs)) if start * steps_per_epoch <= step)
        self._model.n_averaged.fill_(step - begun * steps_per_epoch)
        self._model.update_parameters(network)

    def _move(self, averaged: Tensors, current: Tensors, steps: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        n = int(steps)
        torch._foreach_lerp_(averaged, current, 1 - min(self._decay, (1 + n) / (10 + n)))
