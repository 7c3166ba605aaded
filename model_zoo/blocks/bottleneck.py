"""The bottleneck: 1x1 to a part of the output channels, kxk with stride and groups, 1x1 back, and a skip.

Source: He et al., arXiv 1512.03385, figure 5, with the stride in the kxk convolution as in torchvision; its groups are
Xie et al., Aggregated Residual Transformations, arXiv 1611.05431, figure 3c, where 32x4d has an expansion of 2.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, BlockShape, Convolution, Ints, Kind, undivided

EXPANSION: Final = 4
"""Output channels for each inner one where none are chosen, as in arXiv 1512.03385, table 1."""


def convolutions(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    """1x1, kxk with the stride and the groups, 1x1."""
    inner = width // form.expansion  # rounded down
    return (
        Convolution(c_in, inner, 1, before_stride=True),
        Convolution(inner, inner, kernel, form.groups),
        Convolution(inner, width, 1),
    )


def width_problem(width: int, form: Form) -> str | None:
    """The inner width must be at least 1, and the groups must divide it."""
    inner = width // form.expansion
    if inner < 1:
        return f"channels: {width} given; a bottleneck needs at least {form.expansion}"
    return undivided(form, inner, f"inner width {inner} of a bottleneck of {width} channels")


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import Tensor, nn

    from model_zoo.blocks.parts import activated, squeeze

    class Bottleneck(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, _ = shape
            self.activation = form.activation
            inner = c_out // form.expansion
            self.conv1 = nn.Conv2d(c_in, inner, 1, bias=form.conv_bias)
            self.norm1 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=form.groups, bias=form.conv_bias)
            self.norm2 = nn.BatchNorm2d(inner)
            self.conv3 = nn.Conv2d(inner, c_out, 1, bias=form.conv_bias)
            self.norm3 = nn.BatchNorm2d(c_out)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

        def forward(self, x: Tensor) -> Tensor:
            y = activated(self.norm1(self.conv1(x)), self.activation)
            y = activated(self.norm2(self.conv2(y)), self.activation)
            y = self.norm3(self.conv3(y))
            return activated(self.drop(self.squeeze(y)) + self.skip(x), self.activation)

    return Bottleneck


KIND: Final = Kind(
    summary="1x1 to a quarter of the width (expansion 4), kxk, 1x1 back",
    convolutions=convolutions,
    block_class=block_class,
    width_problem=width_problem,
    expansion=EXPANSION,
)
