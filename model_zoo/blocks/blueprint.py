"""The blueprint separable block: twice a norm, an activation, a 1x1 and a depthwise kxk convolution, and a skip.

It is the separable block with channels before space: all kernels of a filter are then multiples of one blueprint.

Source: BSConv-U in Haase & Amthor, Rethinking Depthwise Separable Convolutions, arXiv 2003.13549, table 2.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, Convolution, Ints, Kind


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
    from torch import nn

    from model_zoo.blocks.parts import Depthwise, Preactivated

    def convolution(c_in: int, c_out: int, kernel: int, stride: int, form: Form) -> nn.Module:
        of_channels = nn.Conv2d(c_in, c_out, 1, bias=form.conv_bias)
        return nn.Sequential(of_channels, Depthwise(c_out, kernel, stride, form.conv_bias))

    return functools.partial(Preactivated, convolution)


KIND: Final = Kind(
    summary="1x1, depthwise kxk, twice",
    convolutions=convolutions,
    block_class=block_class,
    grouped=False,
    skip_norm=False,
    last_norm=True,
)
