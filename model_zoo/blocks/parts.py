"""What blocks of every kind are made of, as torch modules: activation, skip, squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.blocks.form import BlockForm
from model_zoo.blocks.kind import FEWEST_STRIDED

_ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "relu": torch.relu_,
    "silu": F.silu,
    "gelu": F.gelu,
    "leaky-relu": F.leaky_relu_,
}


def activated(x: Tensor, activation: str) -> Tensor:
    """`x` activated: in place by those of `IN_PLACE`, so `x` is to be nobody else's; by the others, which read it, not.

    Source: SiLU and GELU are Hendrycks & Gimpel, Gaussian Error Linear Units, arXiv 1606.08415; GELU is the exact one.
    Leaky ReLU has torch's slope of 0.01; Maas et al., Rectifier Nonlinearities Improve Neural Network Acoustic Models.
    """
    return _ACTIVATIONS[activation](x)


class ConvNorm(nn.Module):
    """A convolution that keeps the size up to its stride, and its BatchNorm: (N, C, H, W) -> (N, D, H/s, W/s)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool, has_norm: bool = True) -> None:
        super().__init__()
        # A strided 1x1 convolution reads every other pixel: pools of one take those first, the arithmetic is the same.
        first = kernel == 1 and c_in < FEWEST_STRIDED
        self.every_other = nn.AvgPool2d(1, stride) if first and stride > 1 else nn.Identity()
        self.conv = nn.Conv2d(c_in, c_out, kernel, 1 if first else stride, kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(c_out) if has_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.every_other(x)))
        return y


class SqueezeExcitation(nn.Module):
    """Channels scaled by gates in (0, 1) that depend on the image: (N, C, H, W) -> (N, C, H, W).

    The gates are the sigmoid of two linear layers with biases over the channels' means, C // ratio wide between them.

    Source: Hu et al., Squeeze-and-Excitation Networks, arXiv 1709.01507; between the layers ReLU, or the network's own.
    """

    def __init__(self, channels: int, ratio: int, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.down = nn.Linear(channels, channels // ratio)
        self.up = nn.Linear(channels // ratio, channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = activated(self.down(x.mean(dim=(2, 3))), self.activation)
        return x * torch.sigmoid(self.up(hidden))[:, :, None, None]


def projection(c_in: int, c_out: int, kernel: int, stride: int, bias: bool, has_norm: bool) -> nn.Module:
    """The skip of a block: a convolution where the shape changes (option B of arXiv 1512.03385), else the identity."""
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    return ConvNorm(c_in, c_out, kernel, stride, bias, has_norm)


def squeeze(channels: int, form: BlockForm) -> nn.Module:
    """The squeeze-and-excitation of a block with `channels` outputs; the identity where `form` has none."""
    return SqueezeExcitation(channels, form.squeeze, form.activation) if form.squeeze else nn.Identity()
