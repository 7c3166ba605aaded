"""The optimizers by name, and the learning rate and momentum that a schedule sets in them at each step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainables.optimization.muon import RATE_FACTOR, MuonAndSgd
from trainables.recipe import Recipe


def make_optimizer(params: Iterable[nn.Parameter], recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer of `recipe` for `params`, which are on `device`, with a fused kernel if torch has one."""
    groups = decay_groups(params, recipe)
    rate, decay, momentum = recipe.learning_rate, recipe.weight_decay, recipe.momentum
    fused = device.type in ("cpu", "cuda")
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, rate, momentum, weight_decay=decay, fused=fused)
        case "nesterov":
            return torch.optim.SGD(groups, rate, momentum, weight_decay=decay, nesterov=True, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, rate, weight_decay=decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, rate, weight_decay=decay, fused=fused)
        case "adadelta":
            return torch.optim.Adadelta(groups, rate, weight_decay=decay)
        case "muon":
            return MuonAndSgd(groups, rate, momentum, decay, recipe.muon_rate_factor, fused)


def decay_groups(params: Iterable[nn.Parameter], recipe: Recipe) -> list[dict[str, Any]]:
    """The parameter groups of `params`: one, or two if the recipe does not decay norms and biases.

    Biases and the gains of norms are the parameters with one dimension.
    """
    params = list(params)
    apart = recipe.weight_decay and not recipe.decay_norms
    vectors = [param for param in params if param.dim() <= 1] if apart else []
    if not vectors:
        return [{"params": params}]
    matrices = [param for param in params if param.dim() > 1]
    return [*([{"params": matrices}] if matrices else []), {"params": vectors, "weight_decay": 0.0}]


def set_step(optimizer: torch.optim.Optimizer, rate: float, momentum: float) -> None:
    """Sets the learning rate and the momentum of the next step: beta 1 in the Adam family, nothing in Adadelta."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)
        if "momentum" in group:
            group["momentum"] = momentum
        elif "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
