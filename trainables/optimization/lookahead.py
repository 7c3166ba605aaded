"""Lookahead: an optimizer's weights run ahead for some steps and then move back part of the way."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Lookahead:
    """The slow weights of `params`, which follow by `share` of the way every `steps` steps and at an epoch's end.

    At an epoch's end slow and fast weights are the same, so that the slow ones are validated and a checkpoint need not
    contain both. The optimizer's momenta and the buffers are not changed.

    Source: Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, arXiv 1907.08610, algorithm 1.
    """

    def __init__(self, params: Iterable[Tensor], steps: int, share: float) -> None:
        self._fast = [param.detach() for param in params]
        self._slow = [param.clone() for param in self._fast]
        self._steps, self._share = steps, share

    @torch.no_grad()
    def begin_epoch(self) -> None:
        """Starts from the current weights, those of the first step or of a loaded checkpoint."""
        torch._foreach_copy_(self._slow, self._fast)

    @torch.no_grad()
    def follow(self, done: int, steps_per_epoch: int) -> None:
        """Updates the weights after step `done` of an epoch, counted from 1, if it is one to follow."""
        if done % self._steps == 0 or done == steps_per_epoch:
            torch._foreach_lerp_(self._slow, self._fast, self._share)
            torch._foreach_copy_(self._fast, self._slow)
