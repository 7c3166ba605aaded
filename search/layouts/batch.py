"""Many layouts at once as columns of integers, so that their costs are computed without an object per layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout, count_params
from model_zoo.blocks import KINDS, Form
from model_zoo.complexity import (
    head_flops,
    head_params,
    pixels_by_level,
    stage_flops,
    stage_params,
    stem_flops,
    stem_params,
)
from model_zoo.memory import activation_bytes

Column = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LayoutBatch:
    """N layouts of up to S stages; the cells of a stage that a layout does not have are zeros."""

    stages: Column
    """Numbers of stages, (N,)."""
    cells: NDArray[np.int32]
    """Blocks, channels, stride and kernel of every stage, (N, S, 4)."""
    stem_channels: Column
    """Widths of the stems, (N,)."""
    form: Column
    """Their forms, as places in `forms`, (N,)."""
    params: Column
    """Trainable parameters, (N,)."""
    forms: tuple[Form, ...]
    """The forms, each once."""
    in_channels: int
    classes: int

    @classmethod
    def of(cls, layouts: Sequence[ResNetLayout]) -> LayoutBatch:
        """The batch of `layouts`, at least one, all for images with the same channels and classes."""
        most = max(layout.stages for layout in layouts)
        forms = tuple(dict.fromkeys(layout.form for layout in layouts))
        places = {form: place for place, form in enumerate(forms)}
        cells = np.zeros((len(layouts), most, 4), dtype=np.int32)
        for row, layout in zip(cells, layouts, strict=True):
            row[: layout.stages] = np.transpose((layout.blocks, layout.channels, layout.strides, layout.kernels))

        def column(value: Callable[[ResNetLayout], int]) -> Column:
            return np.array([value(layout) for layout in layouts], dtype=np.int64)

        return cls(
            stages=column(lambda layout: layout.stages),
            cells=cells,
            stem_channels=column(lambda layout: layout.stem_channels),
            form=column(lambda layout: places[layout.form]),
            params=column(count_params),
            forms=forms,
            in_channels=layouts[0].in_channels,
            classes=layouts[0].classes,
        )

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, i: int) -> ResNetLayout:
        stages = int(self.stages[i])
        blocks, channels, strides, kernels = map(tuple, self.cells[i, :stages].T.tolist())
        return ResNetLayout(
            blocks,
            channels,
            strides,
            kernels,
            int(self.stem_channels[i]),
            in_channels=self.in_channels,
            classes=self.classes,
            **self.forms[self.form[i]]._asdict(),
        )

    def __iter__(self) -> Iterator[ResNetLayout]:
        return (self[i] for i in range(len(self)))

    @property
    def blocks(self) -> NDArray[np.int32]:
        """Blocks per stage, (N, S)."""
        return self.cells[:, :, 0]

    @property
    def channels(self) -> NDArray[np.int32]:
        """Channels per stage, (N, S)."""
        return self.cells[:, :, 1]

    @property
    def strides(self) -> NDArray[np.int32]:
        """Strides per stage, (N, S)."""
        return self.cells[:, :, 2]

    @property
    def kernels(self) -> NDArray[np.int32]:
        """Kernel sides per stage, (N, S)."""
        return self.cells[:, :, 3]

    @property
    def depth(self) -> Column:
        """Weighted layers on the longest path, (N,): stem, convolutions of the blocks, linear."""
        per_block = np.array([KINDS[form.block].layers for form in self.forms], dtype=np.int64)[self.form]
        outside = np.array([1 + form.stem_depth for form in self.forms], dtype=np.int64)[self.form]
        layers: Column = outside + per_block * self.blocks.sum(axis=1, dtype=np.int64)
        return layers

    def counted_params(self) -> Column:
        """Trainable parameters counted from the other columns, (N,)."""
        return self._by_form(lambda part, form: part._counted_params(form))

    def flops(self, image_size: tuple[int, int]) -> Column:
        """FLOPs of one forward pass on one image of `image_size` (height, width) in pixels, (N,)."""
        return self._by_form(lambda part, form: part._flops(image_size, form))

    def activation_bytes(self, image_size: tuple[int, int]) -> Column:
        """Bytes of the activations of a float32 training step at its peak, per image of `image_size`, (N,)."""
        return self._by_form(lambda part, form: part._activation_bytes(image_size, form))

    def _by_form(self, figure: Callable[[LayoutBatch, Form], Column]) -> Column:
        """A figure of every layout, computed for the layouts of each form together, (N,)."""
        places = np.unique(self.form).tolist()
        if len(places) == 1:
            return figure(self, self.forms[places[0]])
        found = np.zeros(len(self), dtype=np.int64)
        for place in places:
            mine = self.form == place
            found[mine] = figure(self.select(mine), self.forms[place])
        return found

    def _counted_params(self, form: Form) -> Column:
        total: Column = stem_params(self.in_channels, self.stem_channels, form)
        c_in = self.stem_channels
        for blocks, width, stride, kernel, here in self._columns():
            stage = stage_params(c_in, width, blocks, kernel, stride, form)
            total = total + stage * here
            c_in = np.where(here, width, c_in)
        total += head_params(c_in, self.classes)
        return total

    def _flops(self, image_size: tuple[int, int], form: Form) -> Column:
        _, of_stem, *areas = self.areas(image_size, form)
        total: Column = stem_flops(self.in_channels, self.stem_channels, of_stem, form)
        c_in, before = self.stem_channels, of_stem
        for pixels, (blocks, width, stride, kernel, here) in zip(areas, self._columns(), strict=True):
            stage = stage_flops(c_in, width, blocks, kernel, stride, before, pixels, form)
            total = total + stage * here
            c_in, before = np.where(here, width, c_in), pixels
        total += head_flops(c_in, self.classes)
        return total

    def _activation_bytes(self, image_size: tuple[int, int], form: Form) -> Column:
        blocks, widths, strides, _, _ = zip(*self._columns(), strict=True)
        areas = self.areas(image_size, form)
        total: Column = activation_bytes(
            self.in_channels, self.stem_channels, widths, blocks, strides, self.classes, areas, form
        )
        return total

    def areas(self, image_size: tuple[int, int], form: Form) -> list[Column]:
        """Pixels of the image, of the stem's output and of each stage's, for layouts of `form`, (N,) each."""
        pixels = np.array(pixels_by_level(image_size, 1 + self.cells.shape[1]), dtype=np.int64)
        first = np.full((len(self), 1), form.stem_stride - 1)
        levels = np.cumsum(np.hstack([first, (self.strides - 1) * (self.blocks > 0)]), axis=1, dtype=np.int64)
        return [np.full(len(self), pixels[0]), *pixels[levels].T]

    def select(self, places: NDArray[np.bool_] | NDArray[np.intp]) -> LayoutBatch:
        """The layouts where the mask (N,) is true, or those at the places (M,)."""
        return dataclasses.replace(
            self,
            stages=self.stages[places],
            cells=self.cells[places],
            stem_channels=self.stem_channels[places],
            form=self.form[places],
            params=self.params[places],
        )

    def _columns(self) -> Iterator[tuple[Column, Column, Column, Column, NDArray[np.bool_]]]:
        """For every stage, its blocks, channels, strides and kernels, and which layouts have it, (N,) each."""
        for i in range(self.cells.shape[1]):
            blocks, width, stride, kernel = self.cells[:, i, :].T.astype(np.int64)
            yield blocks, width, stride, kernel, blocks > 0


def joined(batches: Sequence[LayoutBatch]) -> LayoutBatch:
    """The layouts of all batches of one space in one batch, in their order.

    Raises:
        ValueError: there is no batch.
    """
    if not batches:
        raise ValueError("batches: none given; give at least one")
    most = max(batch.cells.shape[1] for batch in batches)
    forms = tuple(dict.fromkeys(form for batch in batches for form in batch.forms))
    places = [np.array([forms.index(form) for form in batch.forms], dtype=np.int64) for batch in batches]
    return LayoutBatch(
        stages=np.concatenate([batch.stages for batch in batches]),
        cells=np.concatenate(
            [np.pad(batch.cells, ((0, 0), (0, most - batch.cells.shape[1]), (0, 0))) for batch in batches]
        ),
        stem_channels=np.concatenate([batch.stem_channels for batch in batches]),
        form=np.concatenate([of_batch[batch.form] for of_batch, batch in zip(places, batches, strict=True)]),
        params=np.concatenate([batch.params for batch in batches]),
        forms=forms,
        in_channels=batches[0].in_channels,
        classes=batches[0].classes,
    )
