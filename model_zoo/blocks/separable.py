"""The separable block: twice a norm, an activation, a depthwise kxk and a 1x1 convolution, and a skip.

It is the preactivation block with each of its convolutions divided in two: first space, then channels. Nothing stands
between the two: Xception found an activation there to do harm, and each norm and activation that is left out saves
passes over memory, which are what such a block costs.

Source: Chollet, Xception, arXiv 1610.02357; in residual networks Haase & Amthor, arXiv 2003.13549, table 2.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, BlockShape, Convolution, Ints, Kind


def convolutions(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    """Depthwise with the stride, 1x1, depthwise, 1x1."""
    return (
        Convolution(c_in, c_in, kernel, depthwise=True, norm=False, activated=False),
        Convolution(c_in, width, 1),
        Convolution(width, width, kernel, depthwise=True, norm=False, activated=False),
        Convolution(width, width, 1),
    )


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import Tensor, nn

    from model_zoo.blocks.parts import Depthwise, activated, squeeze

    class SeparableBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, first = shape
            self.activation = form.activation
            self.norm1 = None if first else nn.BatchNorm2d(c_in)
            self.depthwise1 = Depthwise(c_in, kernel, stride, form.conv_bias)
            self.conv1 = nn.Conv2d(c_in, c_out, 1, bias=form.conv_bias)
            self.norm2 = nn.BatchNorm2d(c_out)
            self.depthwise2 = Depthwise(c_out, kernel, 1, form.conv_bias)
            self.conv2 = nn.Conv2d(c_out, c_out, 1, bias=form.conv_bias)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

        def forward(self, x: Tensor) -> Tensor:
            before = x if self.norm1 is None else activated(self.norm1(x), self.activation)
            y = activated(self.norm2(self.conv1(self.depthwise1(before))), self.activation)
            y = self.drop(self.squeeze(self.conv2(self.depthwise2(y))))
            z: Tensor = y + (x if isinstance(self.skip, nn.Identity) else self.skip(before))
            return z

    return SeparableBlock


KIND: Final = Kind(
    summary="depthwise kxk, 1x1, twice",
    convolutions=convolutions,
    block_class=block_class,
    grouped=False,
    skip_norm=False,
    last_norm=True,
)
