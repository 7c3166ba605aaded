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
from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, Kind


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import nn

    from model_zoo.blocks.parts import Preactivated

    def convolution(c_in: int, c_out: int, kernel: int, stride: int, form: Form) -> nn.Module:
        return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=form.groups, bias=form.conv_bias)

    return functools.partial(Preactivated, convolution)


KIND: Final = Kind(
    summary="two kxk convolutions, each behind its norm and activation",
    convolutions=BASIC.convolutions,
    block_class=block_class,
    width_problem=BASIC.width_problem,
    stem_problem=BASIC.stem_problem,
    skip_norm=False,
    last_norm=True,
)
