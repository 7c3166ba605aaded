"""The kinds of blocks as torch modules: (N, C, H, W) -> (N, D, H/s, W/s)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.complexity import FEWEST_STRIDED
from model_zoo.layout import ResNetLayout

_ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {"relu": torch.relu_, "silu": F.silu, "gelu": F.gelu}


def activated(x: Tensor, activation: str) -> Tensor:
    """`x` activated: by ReLU in place, so `x` is to be nobody else's; by the others, whose backward reads it, not.

    Source: SiLU and GELU are Hendrycks & Gimpel, Gaussian Error Linear Units, arXiv 1606.08415; GELU is the exact one.
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


class BasicBlock(nn.Module):
    """Two kxk convolutions and a skip: conv-norm-activation-conv-norm, the sum activated.

    Source: He et al., arXiv 1512.03385, figure 2; grouped as in Xie et al., arXiv 1611.05431.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, layout: ResNetLayout, first: bool) -> None:
        super().__init__()
        bias, groups, self.activation = layout.conv_bias, layout.groups, layout.activation
        self.conv1 = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, groups=groups, bias=bias)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.skip, self.squeeze = _skip(c_in, c_out, stride, layout), _squeeze(c_out, layout)
        self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

    def forward(self, x: Tensor) -> Tensor:
        y = activated(self.norm1(self.conv1(x)), self.activation)
        y = self.norm2(self.conv2(y))
        return activated(self.drop(self.squeeze(y)) + self.skip(x), self.activation)


class PreactivationBlock(nn.Module):
    """Two kxk convolutions, each behind its norm and activation, and a skip that nothing follows.

    A projection reads what conv1 reads and has no norm. `first` is the network's first block, which has no norm1: the
    stem's norm and activation stand before both of its paths.

    Source: He et al., Identity Mappings in Deep Residual Networks, arXiv 1603.05027, figure 4e and appendix.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, layout: ResNetLayout, first: bool) -> None:
        super().__init__()
        bias, groups, self.activation = layout.conv_bias, layout.groups, layout.activation
        self.norm1 = None if first else nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, groups=groups, bias=bias)
        self.skip, self.squeeze = _skip(c_in, c_out, stride, layout), _squeeze(c_out, layout)
        self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

    def forward(self, x: Tensor) -> Tensor:
        before = x if self.norm1 is None else activated(self.norm1(x), self.activation)
        y = activated(self.norm2(self.conv1(before)), self.activation)
        y = self.drop(self.squeeze(self.conv2(y)))
        z: Tensor = y + (x if isinstance(self.skip, nn.Identity) else self.skip(before))
        return z


class Bottleneck(nn.Module):
    """A 1x1 convolution to a quarter of the output channels, kxk with stride and groups, 1x1 back, and a skip.

    Source: He et al., arXiv 1512.03385, figure 5, with the stride in the kxk convolution as in torchvision; its groups
    are Xie et al., Aggregated Residual Transformations, arXiv 1611.05431, figure 3c.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, layout: ResNetLayout, first: bool) -> None:
        super().__init__()
        bias, self.activation = layout.conv_bias, layout.activation
        inner = layout.form.inner(c_out)
        self.conv1 = nn.Conv2d(c_in, inner, 1, bias=bias)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=layout.groups, bias=bias)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, c_out, 1, bias=bias)
        self.norm3 = nn.BatchNorm2d(c_out)
        self.skip, self.squeeze = _skip(c_in, c_out, stride, layout), _squeeze(c_out, layout)
        self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

    def forward(self, x: Tensor) -> Tensor:
        y = activated(self.norm1(self.conv1(x)), self.activation)
        y = activated(self.norm2(self.conv2(y)), self.activation)
        y = self.norm3(self.conv3(y))
        return activated(self.drop(self.squeeze(y)) + self.skip(x), self.activation)


BLOCKS: Final[dict[str, Callable[[int, int, int, int, ResNetLayout, bool], nn.Module]]] = {
    "basic": BasicBlock,
    "preactivation": PreactivationBlock,
    "bottleneck": Bottleneck,
}
"""The kinds by the name that a layout gives them; made of channels in and out, kernel, stride, layout, and `first`."""


def _skip(c_in: int, c_out: int, stride: int, layout: ResNetLayout) -> nn.Module:
    """A projection (option B of arXiv 1512.03385) where the shape changes."""
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    has_norm = layout.block != "preactivation"
    return ConvNorm(c_in, c_out, layout.skip_kernel, stride, layout.conv_bias, has_norm)


def _squeeze(channels: int, layout: ResNetLayout) -> nn.Module:
    return SqueezeExcitation(channels, layout.squeeze, layout.activation) if layout.squeeze else nn.Identity()
