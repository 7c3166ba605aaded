"""torch.optim's update rules by name, and what a schedule sets in them at each step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from trainables.recipe import Recipe


def make_optimizer(params: Iterable[nn.Parameter], recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer of `recipe` over `params`, which are on `device`; its fused kernel where torch has one."""
    params = list(params)
    rate, decay, momentum = recipe.learning_rate, recipe.weight_decay, recipe.momentum
    fused = device.type in ("cpu", "cuda")
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(params, rate, momentum, weight_decay=decay, fused=fused)
        case "nesterov":
            return torch.optim.SGD(params, rate, momentum, weight_decay=decay, nesterov=True, fused=fused)
        case "adam":
            return torch.optim.Adam(params, rate, weight_decay=decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(params, rate, weight_decay=decay, fused=fused)
        case "adadelta":
            return torch.optim.Adadelta(params, rate, weight_decay=decay)


def set_step(optimizer: torch.optim.Optimizer, rate: float, momentum: float) -> None:
    """Sets the learning rate and the momentum (of the Adam family beta 1; none of adadelta) of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if "momentum" in group:
            group["momentum"] = momentum
        elif "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
