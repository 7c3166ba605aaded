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
from model_zoo.blocks.kind import BlockClass, Convolution, Ints, Kind


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
    from torch import nn

    from model_zoo.blocks.parts import Depthwise, Preactivated

    def convolution(c_in: int, c_out: int, kernel: int, stride: int, form: Form) -> nn.Module:
        of_channels = nn.Conv2d(c_in, c_out, 1, bias=form.conv_bias)
        return nn.Sequential(Depthwise(c_in, kernel, stride, form.conv_bias), of_channels)

    return functools.partial(Preactivated, convolution)


KIND: Final = Kind(
    summary="depthwise kxk, 1x1, twice",
    convolutions=convolutions,
    block_class=block_class,
    grouped=False,
    skip_norm=False,
    last_norm=True,
)
