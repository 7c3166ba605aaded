"""The layout of a residual network: what is built, as frozen data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from model_zoo.blocks import ACTIVATIONS, DEFAULT_KIND, KINDS, PLAIN, Form, canonical
from model_zoo.widths import width_problems

MIN_STAGES = 2
MAX_STAGES = 6


class LayoutError(ValueError):
    """A layout that cannot be built; the message lists every problem with its value, limit and remedy."""


@dataclass(frozen=True, slots=True)
class ResNetLayout:
    """A residual network: a stem of 3x3, 2 to 6 stages of blocks, global average pooling, one linear layer.

    A block is a few convolutions with norms and activations plus a skip, which is a strided convolution where the shape
    changes and the identity elsewhere (`model_zoo.blocks` has the kinds). Defaults that depend on other fields are
    filled in, so equal networks compare equal.

    Raises:
        LayoutError: a field is outside its range, or fields do not fit each other.

    Source: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385.
    """

    blocks: tuple[int, ...]
    """Blocks per stage, each at least 1; the length is the number of stages."""
    channels: tuple[int, ...]
    """Output channels per stage, each at least 1, and as many as the kind of block needs."""
    strides: tuple[int, ...] = ()
    """Stride of each stage's first block, 1 or 2; empty means 1 for the first stage and 2 for the others."""
    kernels: tuple[int, ...] = ()
    """Side of each stage's square convolution kernels, 3, 5 or 7; empty means 3 everywhere."""
    stem_channels: int = 0
    """Output channels of the stem; 0 means those of the first stage."""
    skip_kernel: int = 1
    """Side of the kernel of skip convolutions, 1 or 3."""
    conv_bias: bool = False
    """Whether the convolutions of stem, blocks and skips have a bias in front of their norm."""
    in_channels: int = 3
    """Channels of the input image, at least 1."""
    classes: int = 10
    """Outputs of the linear layer, at least 2."""
    block: str = DEFAULT_KIND
    """The kind of all blocks, a name in `model_zoo.blocks.KINDS`."""
    groups: int = 1
    """Groups of the kxk convolutions of blocks: a divisor of the widths that these read and write."""
    squeeze: int = 0
    """Reduction ratio of a squeeze-and-excitation in every block, at most the narrowest width; 0 for none."""
    activation: str = "relu"
    """relu, silu, gelu or leaky-relu, everywhere."""
    expansion: int = 0
    """Ratio of wide to narrow channels inside blocks: a bottleneck's outputs for each inner channel, an inverted
    block's inner channels for each input; 0 means the kind's own, and is the only value of other kinds."""
    skip_pool: bool = False
    """Whether the stride of a skip convolution is that of a 2x2 average before it, as in ResNet-D."""
    stem_depth: int = 1
    """3x3 convolutions of the stem, 1 to 3; all but the last have half of its channels, as in ResNet-C."""
    stem_stride: int = 1
    """Stride of the stem's first convolution, 1 or 2."""

    def __post_init__(self) -> None:
        fill = object.__setattr__
        lists = [name for name in _PER_STAGE if not isinstance(getattr(self, name), tuple | list)]
        if lists:
            given = [f"{name}: {getattr(self, name)!r} given; use a list of one value per stage" for name in lists]
            raise LayoutError("; ".join(given))
        for name in _PER_STAGE:
            fill(self, name, tuple(getattr(self, name)))
        problems = self._problems()
        if problems:
            raise LayoutError("; ".join(problems))
        fill(self, "strides", self.strides or (1,) + (2,) * (self.stages - 1))
        fill(self, "kernels", self.kernels or (3,) * self.stages)
        fill(self, "stem_channels", self.stem_channels or self.channels[0])
        fill(self, "expansion", canonical(self.form).expansion)
        problems = width_problems(self.form, self.stem_channels, self.channels)
        if problems:
            raise LayoutError("; ".join(problems))

    def _problems(self) -> list[str]:
        stages = len(self.blocks)
        found = []
        if not MIN_STAGES <= stages <= MAX_STAGES:
            found.append(f"blocks: {stages} stages; {MIN_STAGES} to {MAX_STAGES} are possible")
        for name in _PER_STAGE[1:]:
            given = len(getattr(self, name))
            if given != stages and (given or name == "channels"):
                found.append(f"{name}: {given} values for {stages} stages; give one per stage")
        checks: dict[str, tuple[Any, str, Any]] = {
            "blocks": (self.blocks, "whole numbers of at least 1", _is_count),
            "channels": (self.channels, "whole numbers of at least 1", _is_count),
            "strides": (self.strides, "1 or 2", lambda n: _is_count(n) and n <= 2),
            "kernels": (self.kernels, "3, 5 or 7", lambda n: _is_count(n) and n in (3, 5, 7)),
            "stem_channels": (
                (self.stem_channels,),
                "a whole number of at least 0",
                lambda n: _is_count(n, 0),
            ),
            "skip_kernel": ((self.skip_kernel,), "1 or 3", lambda n: _is_count(n) and n in (1, 3)),
            "conv_bias": ((self.conv_bias,), "true or false", lambda n: isinstance(n, bool)),
            "in_channels": ((self.in_channels,), "a whole number of at least 1", _is_count),
            "classes": ((self.classes,), "a whole number of at least 2", lambda n: _is_count(n, 2)),
            "block": ((self.block,), either(tuple(KINDS)), lambda text: isinstance(text, str) and text in KINDS),
            "groups": ((self.groups,), "a whole number of at least 1", _is_count),
            "squeeze": ((self.squeeze,), "a whole number of at least 0", lambda n: _is_count(n, 0)),
            "activation": (
                (self.activation,),
                either(ACTIVATIONS),
                lambda text: isinstance(text, str) and text in ACTIVATIONS,
            ),
            "expansion": ((self.expansion,), "a whole number of at least 0", lambda n: _is_count(n, 0)),
            "skip_pool": ((self.skip_pool,), "true or false", lambda n: isinstance(n, bool)),
            "stem_depth": ((self.stem_depth,), "1, 2 or 3", lambda n: _is_count(n) and n <= 3),
            "stem_stride": ((self.stem_stride,), "1 or 2", lambda n: _is_count(n) and n <= 2),
        }
        for name, (values, limit, accepts) in checks.items():
            found += [f"{name}: {value!r} given; use {limit}" for value in values if not accepts(value)]
        if not found:
            for name in KINDS[self.block].unread:
                given, only = getattr(self, name), getattr(PLAIN, name)
                if given != only:
                    found.append(f"{name}: {given} given; {self.block} blocks have none, so use {only}")
        return found

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.blocks)

    @property
    def form(self) -> Form:
        """What is decided once for the whole network."""
        return Form(*(getattr(self, name) for name in Form._fields))

    @property
    def depth(self) -> int:
        """The number of weighted layers on the longest path: stem, convolutions of the blocks, linear."""
        return 1 + self.stem_depth + KINDS[self.block].layers * sum(self.blocks)

    @property
    def layout_id(self) -> str:
        """The layout as short text, equal exactly for equal layouts: `3-5-3x64-128-256` and what is not default."""
        text = f"{_dashed(self.blocks)}x{_dashed(self.channels)}"
        default = ResNetLayout(self.blocks, self.channels)
        for name, mark in _MARKS.items():
            value = getattr(self, name)
            usual = KINDS[self.block].expansion if name == "expansion" else getattr(default, name)
            if value != usual:
                text += f"+{mark}{_dashed(value) if isinstance(value, tuple) else _scalar(value)}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values; `from_dict` inverts it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ResNetLayout:
        """The layout whose `to_dict` is `values`.

        Raises:
            LayoutError: unknown or missing fields, or a field outside its range.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        missing = {"blocks", "channels"} - set(values)
        if unknown or missing:
            parts = [f"{n}: not a field of a layout" for n in sorted(unknown)] + [
                f"{n}: missing" for n in sorted(missing)
            ]
            raise LayoutError("; ".join(parts))
        return cls(**values)

    @classmethod
    def from_id(cls, layout_id: str) -> ResNetLayout:
        """The layout whose `layout_id` is given.

        Raises:
            LayoutError: the text is no layout's id, or a field is outside its range.
        """
        shape, *extras = layout_id.split("+")
        blocks, _, channels = shape.partition("x")
        values: dict[str, Any] = {"blocks": _parsed(layout_id, blocks), "channels": _parsed(layout_id, channels)}
        for extra in extras:
            name = next((name for name in _MARKS if re.fullmatch(_pattern(name), extra)), None)
            if name is None or name in values:
                raise LayoutError(f"{layout_id!r}: {extra!r} is no part of a layout's id; write blocksxchannels")
            if name in _TEXTS:
                values[name] = extra.removeprefix(_MARKS[name])
                continue
            numbers = _parsed(layout_id, extra.removeprefix(_MARKS[name]))
            if name not in _PER_STAGE and len(numbers) > 1:
                raise LayoutError(f"{layout_id!r}: {extra!r} has {len(numbers)} numbers; write one")
            values[name] = numbers if name in _PER_STAGE else numbers[0]
        for name in _SWITCHES:
            if values.get(name) in (0, 1):
                values[name] = bool(values[name])
        return cls(**values)


_PER_STAGE = ("blocks", "channels", "strides", "kernels")

_MARKS = {
    "strides": "stride",
    "kernels": "kernel",
    "stem_channels": "stem",
    "skip_kernel": "skip",
    "conv_bias": "bias",
    "block": "block",
    "groups": "groups",
    "squeeze": "squeeze",
    "activation": "act",
    "expansion": "expansion",
    "skip_pool": "skippool",
    "stem_depth": "stemdepth",
    "stem_stride": "stemstride",
    "in_channels": "in",
    "classes": "out",
}

_TEXTS = ("block", "activation")
_SWITCHES = ("conv_bias", "skip_pool")


def either(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def _is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _pattern(name: str) -> str:
    return _MARKS[name] + ("[a-z-]+" if name in _TEXTS else "[0-9-]+")


def _parsed(layout_id: str, text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,9}(-[0-9]{1,9})*", text):
        raise LayoutError(f"{layout_id!r} is no layout's id; write blocks and channels as in 3-5-3x64-128-256")
    return tuple(map(int, text.split("-")))


def _scalar(value: str | int) -> str:
    return value if isinstance(value, str) else str(int(value))


def _dashed(values: tuple[int, ...]) -> str:
    return "-".join(map(str, values))
