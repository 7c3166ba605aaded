"""The inverted block: 1x1 to a multiple of its input channels, depthwise kxk with stride, 1x1 to its width, and a sum.

No activation follows the last convolution or the addition, and a block that changes the shape has no skip.

Source: Sandler et al., MobileNetV2, arXiv 1801.04381, table 1 and figure 4d.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, BlockShape, Convolution, Ints, Kind

EXPANSION: Final = 6
"""Inner channels for each input where none are chosen, as in arXiv 1801.04381, table 2."""


def convolutions(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    """1x1, depthwise kxk with the stride, 1x1."""
    inner = c_in * form.expansion
    return (
        Convolution(c_in, inner, 1, before_stride=True),
        Convolution(inner, inner, kernel, depthwise=True),
        Convolution(inner, width, 1, activated=False),
    )


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import Tensor, nn

    from model_zoo.blocks.parts import Depthwise, NoSkip, activated, squeeze

    class InvertedBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, _ = shape
            self.activation, inner = form.activation, c_in * form.expansion
            self.conv1 = nn.Conv2d(c_in, inner, 1, bias=form.conv_bias)
            self.norm1 = nn.BatchNorm2d(inner)
            self.depthwise = Depthwise(inner, kernel, stride, form.conv_bias)
            self.norm2 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, c_out, 1, bias=form.conv_bias)
            self.norm3 = nn.BatchNorm2d(c_out)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

        def forward(self, x: Tensor) -> Tensor:
            y = activated(self.norm1(self.conv1(x)), self.activation)
            y = activated(self.norm2(self.depthwise(y)), self.activation)
            y = self.squeeze(self.norm3(self.conv2(y)))
            z: Tensor = y if isinstance(self.skip, NoSkip) else self.drop(y) + self.skip(x)
            return z

    return InvertedBlock


KIND: Final = Kind(
    summary="1x1 to six times the inputs (expansion 6), depthwise kxk, 1x1",
    convolutions=convolutions,
    block_class=block_class,
    projection=False,
    expansion=EXPANSION,
    grouped=False,
)
