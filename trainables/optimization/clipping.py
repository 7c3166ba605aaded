"""Adaptive gradient clipping, which limits a unit's gradient relative to the unit's own weights.

Source: Brock et al., High-Performance Large-Scale Image Recognition Without Normalization, arXiv 2102.06171, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

LEAST_WEIGHT_NORM: Final = 1e-3
"""Lower bound on the norm of weights, so that units that start at zero can move; the paper's epsilon."""
LEAST_GRADIENT_NORM: Final = 1e-6
"""Lower bound on the norm of gradients as a divisor, as in the paper's code."""


@torch.no_grad()
def clip_adaptively(params: Sequence[Tensor], limit: float) -> None:
    """Scales the gradients of `params` in place, so that no unit's norm exceeds `limit` times that of its weights.

    A unit is one output channel of a weight (D, ...) with all its inputs; a vector (a bias, a norm's gains) is a single
    unit. Parameters without a gradient are left out. Nothing is read back from the device.
    """
    params = [param for param in params if param.grad is not None]
    gradients = [param.grad for param in params if param.grad is not None]
    if not gradients:
        return
    weight_norms, gradient_norms = _unit_norms(params), _unit_norms(gradients)
    # All units of the network in one vector: a handful of kernels in total instead of per parameter.
    largest = torch.cat(weight_norms).clamp_(min=LEAST_WEIGHT_NORM).mul_(limit)
    scales = largest.div_(torch.cat(gradient_norms).clamp_(min=LEAST_GRADIENT_NORM)).clamp_(max=1.0)
    of_each = torch.split_with_sizes(scales, [len(norms) for norms in weight_norms])
    shapes = [(-1, *[1] * (gradient.dim() - 1)) if gradient.dim() > 1 else (1,) for gradient in gradients]
    torch._foreach_mul_(gradients, [scale.view(shape) for scale, shape in zip(of_each, shapes, strict=True)])


def _unit_norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The Euclidean norms of each tensor's units: (D,) of (D, ...), (1,) of a vector."""
    vectors = [tensor for tensor in tensors if tensor.dim() <= 1]
    of_vectors = iter(torch._foreach_norm(vectors) if vectors else ())
    return [
        next(of_vectors).view(1)
        if tensor.dim() <= 1
        else torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.dim())))
        for tensor in tensors
    ]
