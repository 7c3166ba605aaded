"""Muon for the weights of convolutions and SGD with Nesterov momentum for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

RATE_FACTOR: Final = "rate_factor"
"""Key, of a parameter group, of what the scheduled learning rate is multiplied by in it."""


class MuonAndSgd(torch.optim.Optimizer):
    """torch.optim.Muon over convolutions' weights as matrices, torch.optim.SGD with Nesterov momentum over the rest.

    A weight (D, C, K, K) is the matrix (D, C * K * K), as in its author's code; the momentum is replaced by the nearest
    matrix with orthogonal rows or columns, times max(1, D / (C K K)) ** 0.5, torch's "original" scaling. A kernel
    with one input channel (depthwise, or the stem of grey images) is no map between channels and is left to SGD.

    The decay of the matrices is decoupled. Its coefficient is `weight_decay` / (`rate_factor` * (1 - `momentum`)), so
    that with gradients of zero all weights shrink alike in the long run: SGD's momentum sums the gradients of
    1 / (1 - momentum) steps, and Muon's averages them.

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
        """Takes the gradients away, or fills them with zeros."""
        for param in self._params:
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad.zero_()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # a step has one gradient
        """One step of both."""
        for matrix, param in zip(self._matrices, self._filters, strict=True):
            matrix.grad = None if param.grad is None else as_matrix(param.grad, param)
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of both, the parameters numbered on from those of Muon to those of SGD."""
        state: dict[int, Any] = {}
        for offset, part in self._numbered():
            state |= {offset + number: values for number, values in part.state_dict()["state"].items()}
        return {"state": state, "param_groups": self.param_groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the state of what `state_dict` returned; the groups stay as they are."""
        for offset, part in self._numbered():
            own = part.state_dict()
            count = sum(len(group["params"]) for group in part.param_groups)
            state = {n - offset: values for n, values in state_dict["state"].items() if offset <= n < offset + count}
            part.load_state_dict({"state": state, "param_groups": own["param_groups"]})
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def _numbered(self) -> list[tuple[int, torch.optim.Optimizer]]:
        """Each part with the number of its first parameter."""
        found, offset = [], 0
        for part in self._parts:
            found.append((offset, part))
            offset += sum(len(group["params"]) for group in part.param_groups)
        return found


def is_filter(param: Tensor) -> bool:
    """Whether `param` is the weight of a convolution that maps channels to channels, (D, C, K, K) with C > 1."""
    return param.dim() == 4 and param.shape[1] > 1


def as_matrix(tensor: Tensor, param: Tensor) -> Tensor:
    """`tensor` (D, C, K, K) as (D, C * K * K), columns in the order in which `param`, of that shape, lies in memory.

    It is a view when `tensor` lies there alike. Orthogonalisation does not mind the order of columns.
    """
    channels_last = param.is_contiguous(memory_format=torch.channels_last)
    return (tensor.permute(0, 2, 3, 1) if channels_last else tensor).reshape(len(tensor), -1)
