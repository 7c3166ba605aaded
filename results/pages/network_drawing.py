"""A network as a drawing: a slab per block, as wide as its channels and as high as its images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from results.pages.scales import whole
from results.trial_page.facts import Part, TrialFacts
from results.wording import counted

HIGHEST: Final = 120.0
COLUMN: Final = 92
BELOW: Final = 88


@dataclass(frozen=True)
class Slab:
    """A block."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class DrawnPart:
    """The stem, a stage or the head, with the texts below it."""

    slabs: list[Slab]
    middle: float
    lines: list[str]
    what: str
    """What it consists of, in words."""


@dataclass(frozen=True)
class Drawing:
    """A drawing of a network."""

    width: int
    height: int
    parts: list[DrawnPart]
    summary: str


def drawing(facts: TrialFacts) -> Drawing | None:
    """The drawing of a trial's network; None for a layout that this version cannot build."""
    parts = facts.parts
    if not parts:
        return None
    blocks = [1, *facts.trial["blocks"], 1]
    room = COLUMN - 16.0
    widest = max(count * part.channels for count, part in zip(blocks[:-1], parts[:-1], strict=True))
    highest = max((part.size[0] for part in parts if part.size), default=1)
    drawn = []
    for place, (count, part) in enumerate(zip(blocks, parts, strict=True)):
        head = place == len(parts) - 1
        wide = 4.0 if head else max(2.0, room * part.channels / widest - 1)
        high = HIGHEST * math.sqrt(part.size[0] / highest) if part.size and not head else HIGHEST / 4
        start = place * COLUMN + (COLUMN - count * (wide + 1)) / 2
        top = (HIGHEST - high) / 2 + 8
        slabs = [
            Slab(round(start + n * (wide + 1), 1), round(top, 1), round(wide, 1), round(high, 1)) for n in range(count)
        ]
        drawn.append(DrawnPart(slabs, (place + 0.5) * COLUMN, _lines(part, count, head), f"{part.name}: {part.what}"))
    return Drawing(COLUMN * len(parts), int(HIGHEST) + 16 + BELOW, drawn, _summary(parts))


def _lines(part: Part, count: int, head: bool) -> list[str]:
    size = f", {part.size[0]}x{part.size[1]}" if part.size and not head else ""
    blocks = [] if head or part.name == "stem" else [counted(count, "block")]
    channels = f"{part.channels} classes" if head else f"{part.channels}{size}"
    flops = [] if part.flops is None else [f"{whole(part.flops)} FLOPs"]
    return [part.name, *blocks, channels, f"{part.params:,} par.", *flops]


def _summary(parts: Sequence[Part]) -> str:
    return "; ".join(
        f"{part.name}: {part.what}, {part.channels} channels, {part.params:,} parameters" for part in parts
    )
