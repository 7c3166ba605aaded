"""Sharpness-aware minimization: the gradient is taken where the loss near the weights is highest, to first order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn

LEAST_NORM: Final = 1e-12
"""Added to the norm of the gradient, so that a zero gradient moves nothing; as in the authors' code."""


@contextlib.contextmanager
def ascended(network: nn.Module, radius: float) -> Iterator[None]:
    """Moves the weights of `network` by `radius` along their gradient, and back at the end of the body.

    The radius is the norm over all parameters together. Inside, the gradients are removed and must be computed again,
    and BatchNorm normalises by the batch without updating its running statistics, which belong to the weights that are
    kept. Afterwards every weight has its earlier bits. Nothing is read back from the device.

    Source: Foret et al., Sharpness-Aware Minimization, arXiv 2010.01412, equation 2 with p = 2.
    """
    params: list[Tensor] = [param for param in network.parameters() if param.grad is not None]
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        gradients = [param.grad for param in params if param.grad is not None]
        kept = [param.clone() for param in params]
        if gradients:
            scale = radius / (torch.nn.utils.get_total_norm(gradients) + LEAST_NORM)
            torch._foreach_add_(params, list(torch._foreach_mul(gradients, scale)))
        del gradients
    for param in params:
        param.grad = None
    counting = [module.track_running_stats for module in norms]
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module, counted in zip(norms, counting, strict=True):
            module.track_running_stats = counted
        with torch.no_grad():
            torch._foreach_copy_(params, kept)
