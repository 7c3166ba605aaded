"""The basic block: two kxk convolutions and a skip; conv-norm-activation-conv-norm, the sum activated.

Source: He et al., arXiv 1512.03385, figure 2; grouped as in Xie et al., arXiv 1611.05431.
"""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import BlockClass, BlockShape, Convolution, Ints, Kind, undivided


def convolutions(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    """Both are kxk and grouped; the first has the stride."""
    return Convolution(c_in, width, kernel, form.groups), Convolution(width, width, kernel, form.groups)


def width_problem(width: int, form: Form) -> str | None:
    """The groups must divide `width`, which both convolutions write."""
    return undivided(form, width, f"{width} channels")


def stem_problem(stem: int, form: Form) -> str | None:
    """The groups must divide `stem`, which the first convolution reads."""
    return undivided(form, stem, f"{stem} channels of the stem")


@functools.cache
def block_class() -> BlockClass:
    """The torch module, in a function because counting must not import torch."""
    from torch import Tensor, nn

    from model_zoo.blocks.parts import activated, squeeze

    class BasicBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, _ = shape
            self.activation = form.activation
            self.conv1 = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=form.groups, bias=form.conv_bias)
            self.norm1 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, groups=form.groups, bias=form.conv_bias)
            self.norm2 = nn.BatchNorm2d(c_out)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()  # where a recipe puts stochastic depth

        def forward(self, x: Tensor) -> Tensor:
            y = activated(self.norm1(self.conv1(x)), self.activation)
            y = self.norm2(self.conv2(y))
            return activated(self.drop(self.squeeze(y)) + self.skip(x), self.activation)

    return BasicBlock


KIND: Final = Kind(
    summary="two kxk convolutions",
    convolutions=convolutions,
    block_class=block_class,
    width_problem=width_problem,
    stem_problem=stem_problem,
)
