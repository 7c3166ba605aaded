"""The preactivation block: two kxk convolutions, each behind its norm and activation, and a skip that nothing follows.

Its convolutions are those of the basic block. A projection reads what conv1 reads and has no norm. The stem's norm and
activation are those of the network's first block, and one more pair follows the last sum. So a block's norms count as
those of its convolutions' outputs: the norm of its sum is the next block's first, or the network's last.

Source: He et al., Identity Mappings in Deep Residual Networks, arXiv 1603.05027, figure 4e and appendix; grouped as in
Xie et al., arXiv 1611.05431.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.basic import KIND as BASIC
from model_zoo.blocks.kind import BlockClass, BlockShape, Kind


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import Tensor, nn

    from model_zoo.blocks.parts import activated, squeeze

    class PreactivationBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, first = shape
            self.activation = form.activation
            self.norm1 = None if first else nn.BatchNorm2d(c_in)
            self.conv1 = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=form.groups, bias=form.conv_bias)
            self.norm2 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, groups=form.groups, bias=form.conv_bias)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

        def forward(self, x: Tensor) -> Tensor:
            before = x if self.norm1 is None else activated(self.norm1(x), self.activation)
            y = activated(self.norm2(self.conv1(before)), self.activation)
            y = self.drop(self.squeeze(self.conv2(y)))
            z: Tensor = y + (x if isinstance(self.skip, nn.Identity) else self.skip(before))
            return z

    return PreactivationBlock


KIND: Final = Kind(
    summary="two kxk convolutions, each behind its norm and activation",
    convolutions=BASIC.convolutions,
    block_class=block_class,
    width_problem=BASIC.width_problem,
    stem_problem=BASIC.stem_problem,
    skip_norm=False,
    last_norm=True,
)
