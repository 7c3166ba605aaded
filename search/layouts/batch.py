"""Many layouts at once as columns of integers, so that their costs are computed without an object per layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout, count_params
from model_zoo.blocks import KINDS, BlockForm
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
    skip_kernel: Column
    """Kernel sides of the skip convolutions, (N,)."""
    conv_bias: Column
    """1 where convolutions have a bias, (N,)."""
    form: Column
    """The forms of their blocks, as places in `forms`, (N,)."""
    params: Column
    """Trainable parameters, (N,)."""
    forms: tuple[BlockForm, ...]
    """The forms of blocks, each once."""
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
            skip_kernel=column(lambda layout: layout.skip_kernel),
            conv_bias=column(lambda layout: layout.conv_bias),
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
            int(self.skip_kernel[i]),
            bool(self.conv_bias[i]),
            self.in_channels,
            self.classes,
            *self.forms[self.form[i]],
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
        layers: Column = 2 + per_block * self.blocks.sum(axis=1, dtype=np.int64)
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

    def _by_form(self, figure: Callable[[LayoutBatch, BlockForm], Column]) -> Column:
        """A figure of every layout, computed for the layouts of each form together, (N,)."""
        places = np.unique(self.form).tolist()
        if len(places) == 1:
            return figure(self, self.forms[places[0]])
        found = np.zeros(len(self), dtype=np.int64)
        for place in places:
            mine = self.form == place
            found[mine] = figure(self.select(mine), self.forms[place])
        return found

    def _counted_params(self, form: BlockForm) -> Column:
        total: Column = stem_params(self.in_channels, self.stem_channels, self.conv_bias)
        c_in = self.stem_channels
        for blocks, width, stride, kernel, here in self._columns():
            stage = stage_params(c_in, width, blocks, kernel, stride, self.skip_kernel, self.conv_bias, form)
            total = total + stage * here
            c_in = np.where(here, width, c_in)
        total += head_params(c_in, self.classes)
        return total

    def _flops(self, image_size: tuple[int, int], form: BlockForm) -> Column:
        pixels = np.array(pixels_by_level(image_size, self.cells.shape[1]), dtype=np.int64)
        total: Column = stem_flops(self.in_channels, self.stem_channels, pixels[0])
        c_in, level = self.stem_channels, np.zeros(len(self), dtype=np.int64)
        for blocks, width, stride, kernel, here in self._columns():
            before, level = pixels[level], level + (stride - 1) * here
            stage = stage_flops(c_in, width, blocks, kernel, stride, self.skip_kernel, before, pixels[level], form)
            total = total + stage * here
            c_in = np.where(here, width, c_in)
        total += head_flops(c_in, self.classes)
        return total

    def _activation_bytes(self, image_size: tuple[int, int], form: BlockForm) -> Column:
        pixels = np.array(pixels_by_level(image_size, self.cells.shape[1]), dtype=np.int64)
        level = np.zeros(len(self), dtype=np.int64)
        widths, blocks, strides, areas = [], [], [], [pixels[level]]
        for count, width, stride, _, here in self._columns():
            level = level + (stride - 1) * here
            widths.append(width)
            blocks.append(count)
            strides.append(stride)
            areas.append(pixels[level])
        total: Column = activation_bytes(
            self.in_channels, self.stem_channels, widths, blocks, strides, self.skip_kernel, self.classes, areas, form
        )
        return total

    def select(self, places: NDArray[np.bool_] | NDArray[np.intp]) -> LayoutBatch:
        """The layouts where the mask (N,) is true, or those at the places (M,)."""
        return dataclasses.replace(
            self,
            stages=self.stages[places],
            cells=self.cells[places],
            stem_channels=self.stem_channels[places],
            skip_kernel=self.skip_kernel[places],
            conv_bias=self.conv_bias[places],
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
        skip_kernel=np.concatenate([batch.skip_kernel for batch in batches]),
        conv_bias=np.concatenate([batch.conv_bias for batch in batches]),
        form=np.concatenate([of_batch[batch.form] for of_batch, batch in zip(places, batches, strict=True)]),
        params=np.concatenate([batch.params for batch in batches]),
        forms=forms,
        in_channels=batches[0].in_channels,
        classes=batches[0].classes,
    )
