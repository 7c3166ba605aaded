"""An optimizer of Muon for the weights of convolutions and SGD with Nesterov momentum for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

RATE_FACTOR: Final = "rate_factor"
"""Key in a parameter group: the factor that multiplies the scheduled learning rate there."""


class MuonAndSgd(torch.optim.Optimizer):
    """torch.optim.Muon for the weights of convolutions as matrices, and torch.optim.SGD (Nesterov) for the rest.

    A weight (D, C, K, K) is treated as the matrix (D, C * K * K), as in the author's code; the momentum is replaced by
    the nearest matrix with orthogonal rows or columns, times max(1, D / (C K K)) ** 0.5, torch's "original" scaling. A
    kernel with one input channel (depthwise, or the stem for grayscale images) is no map between channels and is left
    to SGD.

    The weight decay of the matrices is decoupled. Its coefficient is `weight_decay` / (`rate_factor` *
    (1 - `momentum`)), so that with zero gradients all weights shrink at the same rate in the long run: SGD's momentum
    sums the gradients of 1 / (1 - momentum) steps, and Muon's averages them.

    Source: Jordan et al., Muon, kellerjordan.github.io/posts/muon; airbench94_muon.py in KellerJordan/cifar10-airbench.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        rate: float,
        momentum: float,
        weight_decay: float,
        rate_factor: float,
        fused: bool,
    ) -> None:
        self._filters = [param for group in groups for param in group["params"] if is_filter(param)]
        self._matrices = [nn.Parameter(as_matrix(param.detach(), param)) for param in self._filters]
        rest = [{**group, "params": [param for param in group["params"] if not is_filter(param)]} for group in groups]
        rest = [group for group in rest if group["params"]]
        decay = weight_decay / (rate_factor * (1 - momentum))
        self._parts: list[torch.optim.Optimizer] = []
        if self._matrices:
            matrices = [{"params": self._matrices, RATE_FACTOR: rate_factor}]
            self._parts.append(torch.optim.Muon(matrices, lr=rate * rate_factor, weight_decay=decay, momentum=momentum))
        if rest:
            self._parts.append(
                torch.optim.SGD(rest, rate, momentum, weight_decay=weight_decay, nesterov=True, fused=fused)
            )
        super().__init__([param for group in groups for param in group["params"]], {"weight_decay": weight_decay})
        self._params = self.param_groups[0]["params"]
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes the gradients, or sets them to zero."""
        for param in self._params:
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad.zero_()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # a step has one gradient
        """Takes one step of both optimizers."""
        for matrix, param in zip(self._matrices, self._filters, strict=True):
            matrix.grad = None if param.grad is None else as_matrix(param.grad, param)
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimizers, with the parameters of SGD numbered after those of Muon."""
        state: dict[int, Any] = {}
        for offset, part in self._numbered():
            state |= {offset + number: values for number, values in part.state_dict()["state"].items()}
        return {"state": state, "param_groups": self.param_groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state that `state_dict` returned; the parameter groups do not change."""
        for offset, part in self._numbered():
            own = part.state_dict()
            count = sum(len(group["params"]) for group in part.param_groups)
            state = {n - offset: values for n, values in state_dict["state"].items() if offset <= n < offset + count}
            part.load_state_dict({"state": state, "param_groups": own["param_groups"]})
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def _numbered(self) -> list[tuple[int, torch.optim.Optimizer]]:
        """Each of the two optimizers with the number of its first parameter."""
        found, offset = [], 0
        for part in self._parts:
            found.append((offset, part))
            offset += sum(len(group["params"]) for group in part.param_groups)
        return found


def is_filter(param: Tensor) -> bool:
    """Whether `param` is the weight of a convolution that maps channels to channels, (D, C, K, K) with C > 1."""
    return param.dim() == 4 and param.shape[1] > 1


def as_matrix(tensor: Tensor, param: Tensor) -> Tensor:
    """`tensor` (D, C, K, K) as (D, C * K * K), with columns in the memory order of `param`, which has the same shape.

    The result is a view if `tensor` has the same memory order. Orthogonalisation does not depend on the column order.
    """
    channels_last = param.is_contiguous(memory_format=torch.channels_last)
    return (tensor.permute(0, 2, 3, 1) if channels_last else tensor).reshape(len(tensor), -1)
