"""The blueprint separable block: twice a norm, an activation, a 1x1 and a depthwise kxk convolution, and a skip.

It is the separable block with channels before space: all kernels of a filter are then multiples of one blueprint.

Source: BSConv-U in Haase & Amthor, Rethinking Depthwise Separable Convolutions, arXiv 2003.13549, table 2.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, BlockShape, Convolution, Ints, Kind


def convolutions(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    """1x1, depthwise with the stride, 1x1, depthwise."""
    return (
        Convolution(c_in, width, 1, before_stride=True, norm=False, activated=False),
        Convolution(width, width, kernel, depthwise=True),
        Convolution(width, width, 1, norm=False, activated=False),
        Convolution(width, width, kernel, depthwise=True),
    )


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import Tensor, nn

    from model_zoo.blocks.parts import Depthwise, activated, squeeze

    class BlueprintBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, first = shape
            self.activation = form.activation
            self.norm1 = None if first else nn.BatchNorm2d(c_in)
            self.conv1 = nn.Conv2d(c_in, c_out, 1, bias=form.conv_bias)
            self.depthwise1 = Depthwise(c_out, kernel, stride, form.conv_bias)
            self.norm2 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, 1, bias=form.conv_bias)
            self.depthwise2 = Depthwise(c_out, kernel, 1, form.conv_bias)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

        def forward(self, x: Tensor) -> Tensor:
            before = x if self.norm1 is None else activated(self.norm1(x), self.activation)
            y = activated(self.norm2(self.depthwise1(self.conv1(before))), self.activation)
            y = self.drop(self.squeeze(self.depthwise2(self.conv2(y))))
            z: Tensor = y + (x if isinstance(self.skip, nn.Identity) else self.skip(before))
            return z

    return BlueprintBlock


KIND: Final = Kind(
    summary="1x1, depthwise kxk, twice",
    convolutions=convolutions,
    block_class=block_class,
    grouped=False,
    skip_norm=False,
    last_norm=True,
)
