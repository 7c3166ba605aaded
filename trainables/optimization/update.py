"""Computes new weights from a batch's loss by a recipe: gradients, clipping, the optimizer's step, averaging."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model_zoo.network import ResNet
from trainables.optimization.averaging import WeightAverage
from trainables.optimization.clipping import clip_adaptively
from trainables.optimization.lookahead import Lookahead
from trainables.optimization.optimizers import make_optimizer, set_step
from trainables.optimization.sam import ascended
from trainables.recipe import Recipe
from trainables.schedule import ends_of_schedule, learning_rate, momentum


class Update:
    """The steps of a training of `network` by `recipe`, numbered from 0 over all epochs."""

    def __init__(
        self, network: ResNet, recipe: Recipe, device: torch.device, steps_per_epoch: int, rungs: tuple[int, ...]
    ) -> None:
        self.network, self.recipe, self.steps_per_epoch, self.rungs = network, recipe, steps_per_epoch, rungs
        params = list(network.parameters())
        self.optimizer = make_optimizer(params, recipe, device)
        head = set(network.head.parameters())  # not clipped in the paper on adaptive clipping
        self._clipped = [param for param in params if param not in head]
        self._params = params
        self._lookahead, self._average = None, None
        if recipe.lookahead_steps:
            self._lookahead = Lookahead(params, recipe.lookahead_steps, recipe.lookahead_share)
        if recipe.ema_decay:
            self._average = WeightAverage(network, recipe.ema_decay, ends_of_schedule(recipe, rungs))

    @property
    def result(self) -> torch.nn.Module:
        """The network that is validated, with averaged weights if the recipe averages them."""
        return self.network if self._average is None else self._average.network

    @property
    def averaged(self) -> Mapping[str, Tensor]:
        """The averaged weights and buffers by name, without a copy; empty if the recipe does not average."""
        return {} if self._average is None else self._average.network.state_dict()

    def prepare(self, step: int, drops: int = 0) -> float:
        """Prepares the forward pass of step `step`, after `drops` of a plateau, and returns its learning rate."""
        if self._lookahead is not None and step % self.steps_per_epoch == 0:
            self._lookahead.begin_epoch()
        rate = learning_rate(self.recipe, step, self.steps_per_epoch, self.rungs, drops)
        set_step(self.optimizer, rate, momentum(self.recipe, step, self.rungs[-1] * self.steps_per_epoch))
        self.optimizer.zero_grad(set_to_none=True)
        return rate

    def take(self, step: int, loss: Tensor, again: Callable[[], Tensor]) -> None:
        """Takes step `step` with the batch's `loss`; SAM calls `again` to compute the loss at other weights."""
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.sam_radius:
            with ascended(self.network, self.recipe.sam_radius):
                again().backward()  # type: ignore[no-untyped-call]
        if self.recipe.adaptive_clipping:
            clip_adaptively(self._clipped, self.recipe.adaptive_clipping)
        if self.recipe.gradient_clipping:
            torch.nn.utils.clip_grad_norm_(self._params, self.recipe.gradient_clipping)
        self.optimizer.step()
        if self._lookahead is not None:
            self._lookahead.follow(step % self.steps_per_epoch + 1, self.steps_per_epoch)
        if self._average is not None:
            self._average.follow(step, self.steps_per_epoch)
