"""Two kinds of blocks that a test may add to the table; the second uses all that a kind can say."""

from __future__ import annotations

import functools
from typing import Final

from model_zoo.blocks import Convolution, Form, Ints, Kind
from model_zoo.blocks.kind import BlockClass, BlockShape, undivided

EXPANSION: Final = 3
"""Inner channels of the wide kind for each of its inputs."""


def _one(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    return (Convolution(c_in, width, kernel, form.groups),)


@functools.cache
def _toy_class() -> BlockClass:
    from torch import Tensor, nn

    from model_zoo.blocks.parts import activated, squeeze

    class ToyBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, _ = shape
            self.activation = form.activation
            self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=form.groups, bias=form.conv_bias)
            self.norm = nn.BatchNorm2d(c_out)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = self.drop(self.squeeze(self.norm(self.conv(x))))
            return activated(y + self.skip(x), self.activation)

    return ToyBlock


_TOY: Final = Kind(
    summary="one kxk convolution",
    convolutions=_one,
    block_class=_toy_class,
    width_problem=lambda width, form: undivided(form, width, f"{width} channels"),
    stem_problem=lambda stem, form: undivided(form, stem, f"{stem} channels of the stem"),
)


def _four(c_in: Ints, width: Ints, kernel: Ints, form: Form) -> tuple[Convolution, ...]:
    inner = EXPANSION * c_in
    return (
        Convolution(c_in, inner, 1, before_stride=True),
        Convolution(inner, inner, kernel, depthwise=True),
        Convolution(inner, inner, kernel, depthwise=True, norm=False, activated=False),
        Convolution(inner, width, 1, activated=False),
    )


@functools.cache
def _wide_class() -> BlockClass:
    from torch import Tensor, nn

    from model_zoo.blocks.parts import activated, squeeze

    class WideBlock(nn.Module):
        def __init__(self, shape: BlockShape, skip: nn.Module) -> None:
            super().__init__()
            c_in, c_out, kernel, stride, form, _ = shape
            self.activation, inner = form.activation, EXPANSION * c_in
            self.conv1 = nn.Conv2d(c_in, inner, 1, bias=form.conv_bias)
            self.norm1 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=form.conv_bias)
            self.norm2 = nn.BatchNorm2d(inner)
            self.conv3 = nn.Conv2d(inner, inner, kernel, 1, kernel // 2, groups=inner, bias=form.conv_bias)
            self.conv4 = nn.Conv2d(inner, c_out, 1, bias=form.conv_bias)
            self.norm4 = nn.BatchNorm2d(c_out)
            self.skip, self.squeeze = skip, squeeze(c_out, form)
            self.drop: nn.Module = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = activated(self.norm1(self.conv1(x)), self.activation)
            y = activated(self.norm2(self.conv2(y)), self.activation)
            y = self.norm4(self.conv4(self.conv3(y)))
            z: Tensor = self.drop(self.squeeze(y)) + self.skip(x)
            return z

    return WideBlock


_WIDE: Final = Kind(
    summary="1x1 to three times the inputs, two depthwise kxk, 1x1 back",
    convolutions=_four,
    block_class=_wide_class,
    width_problem=lambda width, form: None,
    stem_problem=lambda stem, form: None,
)

TOYS: Final = {"toy": _TOY, "wide": _WIDE}
"""toy is kxk, norm; sum; activation. wide is 1x1, norm, activation, depthwise kxk, norm, activation, depthwise kxk,
1x1, norm; sum, with neither after it."""
