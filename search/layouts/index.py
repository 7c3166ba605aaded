"""Numbers the layouts inside the parameter window, so that they are counted and looked up without a walk over them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout, count_params
from search.layouts.batch import Column, LayoutBatch, joined
from search.layouts.chains import Chain, Keys, chains, require_countable
from search.layouts.halves import back_keys, front_keys, matching_ranges
from search.layouts.space import LayoutSpace

Digits = NDArray[np.uint32]

BATCH = 2**16
"""Layouts per batch of a walk (about 10 MB)."""

MOST_DECODED = 2**18
"""Most chains of a half that are decoded once and kept (8 MiB for two stages); longer halves are decoded on demand."""


class LayoutIndex(Protocol):
    """The numbered layouts of a space inside its parameter window, before other conditions."""

    count: int
    """The number of layouts."""

    def at(self, numbers: Column) -> LayoutBatch:
        """The layouts with `numbers` (N,), each from 0 to below `count`."""

    def walk(self) -> Iterator[LayoutBatch]:
        """All layouts in the order of their numbers, in batches."""

    def ends(self) -> tuple[ResNetLayout, ResNetLayout]:
        """The first layout with the fewest parameters and the first with the most; there must be a layout."""


@dataclass(frozen=True)
class JoinedHalves:
    """The layouts of one chain whose halves meet at one width."""

    chain: Chain
    front: Keys
    """Fronts that can be completed, ascending, (F,)."""
    back: Keys
    """Backs, ascending, (B,)."""
    first: NDArray[np.int64]
    """For each front, the place of its first back inside the parameter window, (F,)."""
    ends: NDArray[np.int64]
    """For each front, the number of layouts up to and including its own, (F,)."""

    def walk(self) -> Iterator[LayoutBatch]:
        """All layouts in the order of their numbers, in batches."""
        starts = np.concatenate([[0], self.ends[:-1]])
        for start in range(0, int(self.ends[-1]), BATCH):
            numbers = np.arange(start, min(start + BATCH, int(self.ends[-1])))
            low, high = np.searchsorted(self.ends, [numbers[0], numbers[-1]], side="right")
            held = np.arange(low, high + 1)
            ends, begins = np.minimum(self.ends[held], numbers[-1] + 1), np.maximum(starts[held], start)
            fronts = np.repeat(held, ends - begins)
            yield self.batch(fronts, self.first[fronts] + numbers - starts[fronts])

    def places(self, numbers: Column) -> tuple[Column, Column]:
        """The places of the fronts and backs, (N,) each, of the layouts with these `numbers` (N,)."""
        fronts = np.searchsorted(self.ends, numbers, side="right")
        starts = np.where(fronts > 0, self.ends[fronts - 1], 0)
        return fronts, self.first[fronts] + numbers - starts

    def batch(self, fronts: Column, backs: Column) -> LayoutBatch:
        """The layouts of the fronts and backs at these places, (N,) each."""
        front, back = self.front[fronts], self.back[backs]
        cells = np.empty((len(fronts), self.chain.stages, 4), dtype=np.int32)
        cells[:, : self.chain.cut] = self._front_cells(fronts)
        cells[:, self.chain.cut :] = self._back_cells(backs)
        params = (front >> self.chain.code_bits) + (back >> self.chain.code_bits)
        return _batch(self.chain, cells, self._codes(front), params)

    def front_batches(self) -> Iterator[LayoutBatch]:
        """The fronts as layouts of their stages alone, in their order, with parameters of 0."""
        for start in range(0, len(self.front), BATCH):
            keys = self.front[start : start + BATCH]
            cells = self._decoded(keys, range(self.chain.cut))
            yield _batch(self.chain, cells, self._codes(keys), np.zeros(len(keys), dtype=np.int64))

    def back_batches(self) -> Iterator[LayoutBatch]:
        """The backs as layouts of their stages after a plain stem as wide as where the halves meet, as
        `front_batches`.
        """
        met = int(next(self.front_batches()).channels[0, -1])
        forms = (self.chain.form._replace(stem_depth=1, stem_stride=1),)
        for start in range(0, len(self.back), BATCH):
            keys = self.back[start : start + BATCH]
            cells = self._decoded(keys, range(self.chain.cut, self.chain.stages))
            batch = _batch(self.chain, cells, np.zeros_like(keys), np.zeros(len(keys), dtype=np.int64))
            yield dataclasses.replace(batch, stem_channels=np.full(len(keys), met, dtype=np.int64), forms=forms)

    def codes(self, fronts: Column, backs: Column) -> tuple[Keys, Keys]:
        """The codes of the fronts and backs at these places, (N,) each."""
        return self._codes(self.front[fronts]), self._codes(self.back[backs])

    def digits(self) -> tuple[list[Digits], list[Digits]]:
        """For fronts, the place of the stem and the digits of the stages, (F,) each; for backs, the digits, (B,)."""
        stem, *front = self._digits_of(self.front, range(self.chain.cut))
        _, *back = self._digits_of(self.back, range(self.chain.cut, self.chain.stages))
        return [stem, *front], back

    def _digits_of(self, keys: Keys, stages: range) -> list[Digits]:
        rest, digits = self._codes(keys), list[Digits]()
        for stage in reversed(stages):
            rest, digit = np.divmod(rest, self.chain.digits(stage))
            digits.append(digit.astype(np.uint32))
        return [rest.astype(np.uint32), *reversed(digits)]

    def _codes(self, keys: Keys) -> Keys:
        return keys & ((1 << self.chain.code_bits) - 1)

    def _front_cells(self, places: Column) -> NDArray[np.int32]:
        if len(self.front) > MOST_DECODED:
            return self._decoded(self.front[places], range(self.chain.cut))
        return np.take(self._kept_front, places, axis=0)

    def _back_cells(self, places: Column) -> NDArray[np.int32]:
        if len(self.back) > MOST_DECODED:
            return self._decoded(self.back[places], range(self.chain.cut, self.chain.stages))
        return np.take(self._kept_back, places, axis=0)

    @cached_property
    def _kept_front(self) -> NDArray[np.int32]:
        return self._decoded(self.front, range(self.chain.cut))

    @cached_property
    def _kept_back(self) -> NDArray[np.int32]:
        return self._decoded(self.back, range(self.chain.cut, self.chain.stages))

    def _decoded(self, keys: Keys, stages: range) -> NDArray[np.int32]:
        return self.chain.cells(self._codes(keys), stages)


def _batch(chain: Chain, cells: NDArray[np.int32], fronts: Keys, params: Column) -> LayoutBatch:
    space = chain.space
    stems = np.zeros(1, dtype=np.int64)
    if space.stem_channels != (0,):
        stems = np.array(space.stem_channels, dtype=np.int64)[chain.stem_places(fronts)]
    return LayoutBatch(
        np.full(len(cells), cells.shape[1], dtype=np.int64),
        cells,
        np.where(stems > 0, stems, cells[:, 0, 1]),
        np.zeros(len(cells), dtype=np.int64),
        params,
        (chain.form,),
        space.in_channels,
        space.classes,
    )


def joined_halves(chain: Chain) -> Iterator[JoinedHalves]:
    """The joined halves of `chain`, one for each width where they meet and have a layout inside the window."""
    fronts = front_keys(chain)
    for front, back in zip(fronts, back_keys(chain, fronts), strict=True):
        if not len(front) or not len(back):
            continue
        first, counts = matching_ranges(chain, front, back)
        held = counts > 0
        if held.any():
            yield JoinedHalves(chain, front[held], back, first[held], np.cumsum(counts[held]))


class ChainIndex:
    """The numbered layouts of a space made of choices.

    Their order: stages, the fields of the form, the width in the middle, the front's parameters, its choices, the
    layout's parameters, the back's choices.
    """

    def __init__(self, space: LayoutSpace) -> None:
        self.space = space
        met: dict[Hashable, list[JoinedHalves]] = {}  # chains that differ in what has no parameters share halves
        self.joined_halves: list[JoinedHalves] = []
        for chain in chains(space):
            shared = (chain.stages, chain.form.counted)
            if shared not in met:
                met[shared] = list(joined_halves(chain))
            self.joined_halves += [dataclasses.replace(meeting, chain=chain) for meeting in met[shared]]
        self._ends = np.cumsum([int(meeting.ends[-1]) for meeting in self.joined_halves], dtype=np.int64)
        self.count = int(self._ends[-1]) if self.joined_halves else 0

    def at(self, numbers: Column) -> LayoutBatch:
        owners = np.searchsorted(self._ends, numbers, side="right")
        parts, places = [], []
        for owner in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == owner)
            meeting = self.joined_halves[owner]
            start = int(self._ends[owner]) - int(meeting.ends[-1])
            parts.append(meeting.batch(*meeting.places(numbers[mine] - start)))
            places.append(mine)
        back = np.argsort(np.concatenate(places), kind="stable")
        return joined(parts).select(back)

    def walk(self) -> Iterator[LayoutBatch]:
        for meeting in self.joined_halves:
            yield from meeting.walk()

    def ends(self) -> tuple[ResNetLayout, ResNetLayout]:
        found = []
        for meeting in self.joined_halves:
            counts = np.diff(meeting.ends, prepend=0)
            for backs in (meeting.first, meeting.first + counts - 1):
                params = (meeting.front >> meeting.chain.code_bits) + (meeting.back[backs] >> meeting.chain.code_bits)
                places = np.array([params.argmin(), params.argmax()])
                found += list(meeting.batch(places, backs[places]))
        return min(found, key=count_params), max(found, key=count_params)


class ListIndex:
    """The numbered layouts of a space that is a list of layouts, in the order of the list."""

    def __init__(self, space: LayoutSpace) -> None:
        self._layouts = [x for x in space.listed_layouts if space.min_params <= count_params(x) <= space.max_params]
        self.count = len(self._layouts)

    def at(self, numbers: Column) -> LayoutBatch:
        return self._batch.select(numbers)

    def walk(self) -> Iterator[LayoutBatch]:
        if self._layouts:
            yield self._batch

    @cached_property
    def _batch(self) -> LayoutBatch:
        return LayoutBatch.of(self._layouts)

    def ends(self) -> tuple[ResNetLayout, ResNetLayout]:
        return min(self._layouts, key=count_params), max(self._layouts, key=count_params)


@functools.lru_cache(maxsize=4)
def index_of_space(space: LayoutSpace) -> LayoutIndex:
    """The index of `space`, cached.

    Raises:
        ConfigError: the space has more layouts than can be counted by halves of their stages.
    """
    require_countable(space)
    return ListIndex(space) if space.layouts else ChainIndex(space)
