"""The residual network as a torch module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model_zoo.complexity import FEWEST_STRIDED
from model_zoo.layout import ResNetLayout


class ConvNorm(nn.Module):
    """A convolution that keeps the size up to its stride, and its BatchNorm: (N, C, H, W) -> (N, D, H/s, W/s)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool) -> None:
        super().__init__()
        # A strided 1x1 convolution reads every other pixel: pools of one take those first, the arithmetic is the same.
        first = kernel == 1 and c_in < FEWEST_STRIDED
        self.every_other = nn.AvgPool2d(1, stride) if first and stride > 1 else nn.Identity()
        self.conv = nn.Conv2d(c_in, c_out, kernel, 1 if first else stride, kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.every_other(x)))
        return y


class BasicBlock(nn.Module):
    """Two convolutions and a skip: (N, C, H, W) -> (N, D, H/s, W/s).

    Source: He et al., arXiv 1512.03385, figure 2; projection skip (option B) where the shape changes.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, skip_kernel: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=bias)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, bias=bias)
        self.norm2 = nn.BatchNorm2d(c_out)
        changes = stride != 1 or c_in != c_out
        self.skip = ConvNorm(c_in, c_out, skip_kernel, stride, bias) if changes else nn.Identity()
        self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu_(self.drop(y) + self.skip(x))


class ResNet(nn.Module):
    """A residual network: images (N, in_channels, H, W) of any size -> logits (N, classes).

    Convolutions are initialised Kaiming-normal with fan-out, norms as the identity, and the linear layer uniformly
    within 1/sqrt(features), all from `seed`. Source: He et al., arXiv 1502.01852.
    """

    def __init__(self, layout: ResNetLayout, seed: int) -> None:
        super().__init__()
        self.layout = layout
        bias = layout.conv_bias
        self.stem = ConvNorm(layout.in_channels, layout.stem_channels, 3, 1, bias)
        stages = []
        c_in = layout.stem_channels
        for blocks, c, stride, kernel in zip(
            layout.blocks, layout.channels, layout.strides, layout.kernels, strict=True
        ):
            stage = []
            for j in range(blocks):
                stage.append(BasicBlock(c_in, c, kernel, stride if j == 0 else 1, layout.skip_kernel, bias))
                c_in = c
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.dropout: nn.Module = nn.Identity()  # where a recipe puts dropout
        self.head = nn.Linear(c_in, layout.classes)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        bound = 1 / math.sqrt(self.head.in_features)
        nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x))
        x = self.stages(x)
        logits: Tensor = self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, C, H, W) -> (N, C): any image size
        return logits
