"""The space of layouts as data: choices for every field of a layout, windows over its figures, and a predicate."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ImportString, field_validator, model_validator
from pydantic_core import PydanticKnownError

from model_zoo import ResNetLayout, count_params
from model_zoo.blocks import DEFAULT_KIND, KINDS, Form, canonical
from model_zoo.layout import either
from search.errors import PredicateError
from search.layouts.batch import LayoutBatch
from search.layouts.filters import Filter
from search.layouts.lists import FORM_KEYS, hull, in_order, read_layouts, read_list
from search.layouts.predicates import imported_predicate

Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=2**16)]  # so that no sum of parameters leaves 64 bits
Figure = Annotated[int, Field(ge=0, le=2**62)]


def _known_kind(given: Any) -> Any:
    if not isinstance(given, str) or given not in KINDS:
        raise PydanticKnownError("literal_error", {"expected": either(list(map(repr, KINDS)))})
    return given


KindName = Annotated[str, BeforeValidator(_known_kind)]
KINDS_LISTED = "; ".join(f"{name}, {kind.summary}" for name, kind in KINDS.items())


class LayoutSpace(BaseModel):
    """Which layouts are searched: choices per field of `ResNetLayout`, a parameter window and a predicate.

    Raises:
        pydantic.ValidationError: a choice is outside what `ResNetLayout` accepts; it lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stages: tuple[Annotated[int, Field(ge=2, le=6)], ...] = (3, 4)
    """Numbers of stages a layout may have."""
    blocks: tuple[Count, Count] = (1, 16)
    """Fewest and most blocks of a stage, inclusive."""
    channels: tuple[Width, ...] = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    """Widths a stage may have."""
    channel_order: Literal["free", "nondecreasing", "increasing"] = "nondecreasing"
    """How the width may change from stage to stage; free allows any order."""
    strides: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (2,)
    """Strides a stage after the first may have."""
    first_strides: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (1,)
    """Strides the first stage may have."""
    kernels: tuple[Literal[3, 5, 7], ...] = (3,)
    """Kernel sizes a stage may have."""
    stem_channels: tuple[Annotated[int, Field(ge=0, le=2**16)], ...] = (0,)
    """Widths the stem may have; 0 stands for the width of the first stage."""
    skip_kernels: tuple[Literal[1, 3], ...] = (1,)
    """Kernel sizes of the convolutions in skip connections."""
    conv_biases: tuple[bool, ...] = (False,)
    """Whether convolutions have a bias."""
    block_types: Annotated[
        tuple[KindName, ...],
        Field(description=f"Kinds of blocks: {KINDS_LISTED}. A width is that of a block's outputs."),
    ] = (DEFAULT_KIND,)
    groups: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] = (1,)
    """Groups of the kxk convolutions in blocks; layouts with a width that they do not divide are left out."""
    squeeze_ratios: tuple[Annotated[int, Field(ge=0, le=2**16)], ...] = (0,)
    """Reduction ratios of squeeze-and-excitation, 0 for none; layouts with a width below the ratio are left out."""
    activations: tuple[Literal["relu", "silu", "gelu", "leaky-relu"], ...] = ("relu",)
    """Activation functions; a network uses the same one throughout."""
    expansions: tuple[Annotated[int, Field(ge=0, le=64)], ...] = (0,)
    """Ratios of wide to narrow channels inside bottleneck and inverted blocks; 0 for the kind's own, 4 and 6."""
    skip_pools: tuple[bool, ...] = (False,)
    """Whether a 2x2 average takes the stride of a skip convolution, as in ResNet-D."""
    stem_depths: tuple[Literal[1, 2, 3], ...] = (1,)
    """Numbers of 3x3 convolutions in the stem; all but the last have half of its channels, as in ResNet-C."""
    stem_strides: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (1,)
    """Strides the first convolution of the stem may have."""
    layouts: tuple[str, ...] = ()
    """Search only these layouts, in place of all the choices above: preset names, or ids such as 3-5-3x64-128-256.
    Their min_params is 0 by default."""
    in_channels: Width = 3
    """Channels of the images."""
    classes: Annotated[int, Field(ge=2, le=2**20)] = 10
    """Number of classes."""
    image_size: tuple[Annotated[int, Field(ge=1, le=2**14)], Annotated[int, Field(ge=1, le=2**14)]] = (32, 32)
    """Height and width of the images, pixels."""
    min_params: Annotated[int, Field(ge=0, le=2**62)] = 4_000_000
    """Fewest trainable parameters, inclusive; four fifths of max_params if only that is given."""
    max_params: Annotated[int, Field(ge=1, le=2**62)] = 5_000_000
    """Most trainable parameters, inclusive: the budget."""
    min_depth: Figure = 0
    """Fewest weighted layers on the longest path (stem, convolutions of the blocks, linear), inclusive."""
    max_depth: Figure | None = None
    """Most weighted layers on the longest path, inclusive."""
    min_flops: Figure = 0
    """Fewest FLOPs of a forward pass on one image, inclusive."""
    max_flops: Figure | None = None
    """Most FLOPs of a forward pass on one image, inclusive."""
    min_activation_bytes: Figure = 0
    """Least peak memory of the activations in a float32 training step, bytes per image, inclusive."""
    max_activation_bytes: Figure | None = None
    """Most peak memory of the activations in a float32 training step, bytes per image, inclusive."""
    predicate: ImportString[Callable[[ResNetLayout], bool]] | None = None
    """Further condition on a layout: a callable, in a file its import path package.module.function."""

    @model_validator(mode="before")
    @classmethod
    def _listed_choices(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not given.get("layouts"):
            return given
        choices = hull(read_layouts(given["layouts"]))
        wrong = [name for name, value in choices.items() if name in given and _plain(given[name]) != value]
        if wrong:
            raise ValueError(
                f"layouts: given together with {', '.join(wrong)}; a list of layouts replaces them, so leave them out"
            )
        return {**given, **choices}

    @field_validator("predicate", mode="before")
    @classmethod
    def _imported(cls, given: Any) -> Any:
        return imported_predicate(given) if isinstance(given, str) else given

    @field_validator(
        *("stages", "channels", "strides", "first_strides", "kernels", "stem_channels"), *FORM_KEYS.values()
    )
    @classmethod
    def _choices(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("the list is empty; give at least one value")
        return tuple(in_order(values))

    @model_validator(mode="after")
    def _windows(self) -> LayoutSpace:
        problems = []
        if self.blocks[0] > self.blocks[1]:
            problems.append(f"blocks: the range {self.blocks[0]} to {self.blocks[1]} is empty; give [fewest, most]")
        for figure in ("params", "depth", "flops", "activation_bytes"):
            least, most = getattr(self, f"min_{figure}"), getattr(self, f"max_{figure}")
            if most is not None and least > most:
                problems.append(
                    f"min_{figure} {least:,} exceeds max_{figure} {most:,}; lower min_{figure} or raise max_{figure}"
                )
        if self.channel_order == "increasing" and max(self.stages) > len(self.channels):
            given, stages = len(self.channels), max(self.stages)
            problems.append(f"channels: {given} widths cannot increase over {stages} stages; add widths")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def listed_layouts(self) -> tuple[ResNetLayout, ...]:
        """The layouts of a space that is a list of them, each once, for its images; empty for one made of choices."""
        return tuple(read_list(self.layouts, self.in_channels, self.classes))

    @property
    def forms(self) -> tuple[Form, ...]:
        """Every form that a layout may have, once, whether it fits the widths or not."""
        chosen = itertools.product(*(getattr(self, key) for key in FORM_KEYS.values()))
        return tuple(dict.fromkeys(canonical(Form(*choices)) for choices in chosen))

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The windows other than that of parameters that have a limit."""
        size = self.image_size
        windows = (
            Filter("depth", self.min_depth, self.max_depth, lambda batch: batch.depth),
            Filter("flops", self.min_flops, self.max_flops, lambda batch: batch.flops(size)),
            Filter(
                "activation_bytes",
                self.min_activation_bytes,
                self.max_activation_bytes,
                lambda batch: batch.activation_bytes(size),
            ),
        )
        return tuple(window for window in windows if window.least > 0 or window.most is not None)

    def contains(self, layout: ResNetLayout) -> bool:
        """Whether `layout` is one of the feasible layouts."""
        return (
            self.offers(layout) and self.min_params <= count_params(layout) <= self.max_params and self.accepts(layout)
        )

    def offers(self, layout: ResNetLayout) -> bool:
        """Whether `layout` is made of the space's choices, whatever its parameters and other figures."""
        return next(self.changes_to_offer(layout), None) is None

    def changes_to_offer(self, layout: ResNetLayout) -> Iterator[str]:
        """The changes of the space's keys with which it would offer `layout`, such as `add 24 to space.channels`."""
        if self.layouts:
            if layout not in read_list(self.layouts, self.in_channels, self.classes):
                yield "add it to space.layouts"
            return
        wanted: dict[str, tuple[set[Any], Iterable[Any]]] = {
            "in_channels": ({layout.in_channels}, {self.in_channels}),
            "classes": ({layout.classes}, {self.classes}),
            "stages": ({layout.stages}, self.stages),
            "channels": (set(layout.channels), self.channels),
            "first_strides": ({layout.strides[0]}, self.first_strides),
            "strides": (set(layout.strides[1:]), self.strides),
            "kernels": (set(layout.kernels), self.kernels),
            "stem_channels": ({layout.stem_channels}, {stem or layout.channels[0] for stem in self.stem_channels}),
        }
        for name, key in FORM_KEYS.items():
            if name not in KINDS[layout.block].unread:
                wanted[key] = {getattr(layout, name)}, self.offered(key, layout.block)
        for key, (needed, offered) in wanted.items():
            if lacking := needed.difference(offered):
                yield f"add {', '.join(map(str, sorted(lacking))).lower()} to space.{key}"
        lowest, highest = self.blocks
        if min(layout.blocks) < lowest or max(layout.blocks) > highest:
            yield f"set space.blocks to [{min(lowest, *layout.blocks)}, {max(highest, *layout.blocks)}]"
        if not self._in_order(layout.channels):
            yield "set space.channel_order to free"

    def offered(self, key: str, block: str) -> tuple[Any, ...]:
        """The choices of a key of `FORM_KEYS` for a kind of block, whose own expansion 0 stands for."""
        choices: tuple[Any, ...] = getattr(self, key)
        if key != FORM_KEYS["expansion"]:
            return choices
        return tuple(choice or KINDS[block].expansion for choice in choices)

    def accepts(self, layout: ResNetLayout) -> bool:
        """Whether the predicate and all windows other than that of parameters accept `layout`."""
        if self.filters and not self.passes(LayoutBatch.of([layout]))[0]:
            return False
        return self.satisfies(layout)

    def satisfies(self, layout: ResNetLayout) -> bool:
        """Whether the predicate accepts `layout`; True without a predicate.

        Raises:
            PredicateError: it raises an exception.
        """
        if self.predicate is None:
            return True
        try:
            return bool(self.predicate(layout))
        except Exception as error:  # whatever the user's code raises
            raise PredicateError(
                f"space.predicate: {type(error).__name__}: {error}, for {layout.layout_id}; fix the function"
            ) from error

    def passes(self, batch: LayoutBatch) -> NDArray[np.bool_]:
        """Which layouts of `batch` all windows but that of parameters accept, (N,), without the predicate."""
        passed = np.ones(len(batch), dtype=np.bool_)
        for window in self.filters:
            passed &= window.accepts(batch)
        return passed

    def keep(self, batch: LayoutBatch) -> LayoutBatch:
        """The layouts of `batch` that the predicate and all windows other than that of parameters accept."""
        if self.filters:
            batch = batch.select(self.passes(batch))
        if self.predicate is not None:
            batch = batch.select(np.array([self.satisfies(layout) for layout in batch], dtype=np.bool_))
        return batch

    @property
    def is_filtered(self) -> bool:
        """Whether feasibility depends on more than the choices and the parameter window."""
        return bool(self.filters) or self.predicate is not None

    def _in_order(self, channels: tuple[int, ...]) -> bool:
        pairs = list(itertools.pairwise(channels))
        if self.channel_order == "free":
            return True
        if self.channel_order == "increasing":
            return all(a < b for a, b in pairs)
        return all(a <= b for a, b in pairs)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
