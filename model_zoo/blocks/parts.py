"""What blocks of every kind are made of, as torch modules: activation, skip, squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import FEWEST_STRIDED, BlockShape, Kind
from model_zoo.blocks.stem import KERNEL, stem_convolutions

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
    """A convolution that keeps the size up to its stride, and its BatchNorm: (N, C, H, W) -> (N, D, H/s, W/s).

    With `pool`, the stride is that of an average before the convolution.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool, has_norm: bool = True, pool: bool = False
    ) -> None:
        super().__init__()
        # A strided 1x1 convolution reads every other pixel: pools of one take those first, the arithmetic is the same.
        before = stride > 1 and (pool or (kernel == 1 and c_in < FEWEST_STRIDED))
        self.pool: nn.Module = nn.Identity()
        if before:  # without padding, so the averages at the edges of odd images are those of fewer pixels
            self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if pool else nn.AvgPool2d(1, stride)
        self.conv = nn.Conv2d(c_in, c_out, kernel, 1 if before else stride, kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(c_out) if has_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.pool(x)))
        return y


class Stem(nn.Sequential):
    """The 3x3 convolutions before the first stage, with their norms: (N, C, H, W) -> (N, D, H/s, W/s).

    An activation follows each but the last, whose own is the network's. Source: of three, He et al., Bag of Tricks for
    Image Classification, arXiv 1812.01187, figure 2b.
    """

    def __init__(self, in_channels: int, width: int, form: Form) -> None:
        convolutions = stem_convolutions(in_channels, width, form)
        super().__init__(
            *(
                ConvNorm(conv.c_in, conv.c_out, conv.kernel, 1 if place else form.stem_stride, form.conv_bias)
                for place, conv in enumerate(convolutions)
            )
        )
        self.activation = form.activation

    def forward(self, x: Tensor) -> Tensor:
        for place, conv in enumerate(self):
            x = conv(activated(x, self.activation) if place else x)
        return x


def stem(in_channels: int, width: int, form: Form) -> nn.Module:
    """The stem, of one convolution or several."""
    if form.stem_depth > 1:
        return Stem(in_channels, width, form)
    return ConvNorm(in_channels, width, KERNEL, form.stem_stride, form.conv_bias)


class Depthwise(nn.Conv2d):
    """A convolution with a group for each channel: (N, C, H, W) -> (N, C, H/s, W/s)."""

    def __init__(self, channels: int, kernel: int, stride: int, bias: bool) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)


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


class NoSkip(nn.Module):
    """In the place of the skip of a block that has none, which does not call it."""


def skip(shape: BlockShape, kind: Kind) -> nn.Module:
    """The skip of a block: the identity, or where the shape changes what the kind has for it.

    That is a convolution (option B of arXiv 1512.03385), after an average if the form pools (arXiv 1812.01187, figure
    2c), or no skip at all.
    """
    c_in, c_out, _, stride, form, _ = shape
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    if not kind.projection:
        return NoSkip()
    return ConvNorm(c_in, c_out, form.skip_kernel, stride, form.conv_bias, kind.skip_norm, form.skip_pool)


def squeeze(channels: int, form: Form) -> nn.Module:
    """The squeeze-and-excitation of a block with `channels` outputs; the identity where `form` has none."""
    return SqueezeExcitation(channels, form.squeeze, form.activation) if form.squeeze else nn.Identity()


class Preactivated(nn.Module):
    """A block of two convolutions, each behind its norm and activation, and a skip that nothing follows.

    `convolution` makes one of them from channels in and out, kernel, stride and form. A projection reads what the first
    one reads. The first block's input has been through its norm and activation.
    """

    def __init__(
        self, convolution: Callable[[int, int, int, int, Form], nn.Module], shape: BlockShape, skip: nn.Module
    ) -> None:
        super().__init__()
        c_in, c_out, kernel, stride, form, first = shape
        self.activation = form.activation
        self.norm1 = None if first else nn.BatchNorm2d(c_in)
        self.conv1 = convolution(c_in, c_out, kernel, stride, form)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.conv2 = convolution(c_out, c_out, kernel, 1, form)
        self.skip, self.squeeze = skip, squeeze(c_out, form)
        self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

    def forward(self, x: Tensor) -> Tensor:
        before = x if self.norm1 is None else activated(self.norm1(x), self.activation)
        y = activated(self.norm2(self.conv1(before)), self.activation)
        y = self.drop(self.squeeze(self.conv2(y)))
        z: Tensor = y + (x if isinstance(self.skip, nn.Identity) else self.skip(before))
        return z
