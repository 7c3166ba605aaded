"""The disk space that a run's folder will take, and whether it is free; checked before anything is launched."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from model_zoo import ResNetLayout
from model_zoo.blocks import Form
from model_zoo.complexity import (
    head_params,
    outer_param_tensors,
    stage_norms,
    stage_param_tensors,
    stage_params,
    stem_norms,
    stem_params,
)
from results import RunState
from search.config import RunConfig
from search.errors import ResourceError
from search.layouts import LayoutSpace
from search.runs.checkpoint_files import checkpoint_path
from search.text import size_text
from trainables.checkpoints.size import checkpoint_bytes, file_bytes, text_bytes
from trainables.recipe import Recipe

RESERVE = 2**20
"""Bytes kept free for the record and the tables, enough for a thousand reports."""
TRIAL_BYTES, EPOCH_BYTES = 30_000, 500
"""Bytes per trial and epoch: record (965, 300), tables, two during a rewrite (2 x 65, 2 x 80), Ray's files (25,000)."""
DIGITS = 500
"""Most bytes by which the numbers and names of a recipe are longer than the default ones."""


@dataclass(frozen=True, slots=True)
class DiskForecast:
    """An upper bound on the bytes that a run's folder will take."""

    checkpoint_bytes: int
    """The largest checkpoint of the space."""
    checkpoints: int
    """Checkpoints at a time: two per running trial (a new one is written beside the old) and one per other trial."""
    other_bytes: int
    """Record, tables, Ray's files and the bytes kept free."""

    @classmethod
    def of(cls, values: Mapping[str, int]) -> DiskForecast:
        """The forecast whose fields are among `values`."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    @property
    def total(self) -> int:
        """All bytes together."""
        return self.checkpoints * self.checkpoint_bytes + self.other_bytes

    def __str__(self) -> str:
        largest, other = size_text(self.checkpoint_bytes), size_text(self.other_bytes)
        return f"{size_text(self.total)}: {self.checkpoints} checkpoints of at most {largest}, and {other} of tables"


def forecast(config: RunConfig, concurrency: int, open_trials: int = 0) -> DiskForecast:
    """The disk space of a run of `config` with `concurrency` trials at a time and `open_trials` of earlier sessions."""
    confirmed = min(config.confirm * config.trials_per_place, config.trials)
    epochs = config.ladder.expected_epochs(config.trials) + config.ladder.confirmation_epochs(confirmed)
    running = min(concurrency, config.trials)
    waiting_for_mean = running * (config.trials_per_place - 1)
    kept = min(config.keep_checkpoints + confirmed + waiting_for_mean, config.trials)
    waiting = max(0, open_trials - running)
    return DiskForecast(
        checkpoint_bytes=largest_checkpoint(config),
        checkpoints=2 * running + waiting + kept,
        other_bytes=int(config.trials * TRIAL_BYTES + epochs * EPOCH_BYTES) + RESERVE,
    )


def largest_checkpoint(config: RunConfig) -> int:
    """An upper bound on a checkpoint's bytes: `DIGITS` too high for a list of layouts, otherwise a few percent."""
    read = [config.recipe.values_of(name) for name in ("optimizer", "keep_weights", "ema_decay")]
    recipes = [
        Recipe(optimizer=optimizer, keep_weights=kept, ema_decay=decay, momentum=0.9, schedule="constant")
        for optimizer, kept, decay in itertools.product(*read)
    ]
    space = config.space
    if space.layouts:
        feasible = [layout for layout in space.listed_layouts if space.contains(layout)] or space.listed_layouts
        return max(checkpoint_bytes(layout, recipe) for layout in feasible for recipe in recipes) + DIGITS
    corner = _corner(space)
    figures = {_figures(corner, form, space.max_params) for form in space.forms}
    return max(
        file_bytes(*of_form, recipe) + text_bytes(corner, recipe) + DIGITS for of_form in figures for recipe in recipes
    )


def _corner(space: LayoutSpace) -> ResNetLayout:
    """The layout with the largest value of every field but those of its form, feasible or not."""
    stages, width = max(space.stages), max(space.channels)
    return ResNetLayout(
        (space.blocks[1],) * stages,
        (width,) * stages,
        (2,) * stages,  # so that each stage has a skip convolution
        (max(space.kernels),) * stages,
        max(width, *space.stem_channels),
        in_channels=space.in_channels,
        classes=space.classes,
    )


def _figures(corner: ResNetLayout, form: Form, max_params: int) -> tuple[int, int, int, int]:
    """The most parameters, tensors of them, norms and channels of these that a layout of `form` in the budget has.

    They are those of `corner` in this form, whether its blocks fit its widths or not.
    """
    c_in = corner.stem_channels
    params = stem_params(corner.in_channels, c_in, form) + head_params(corner.channels[-1], corner.classes)
    tensors, (norms, channels) = outer_param_tensors(form), stem_norms(c_in, form)
    stages = zip(corner.channels, corner.blocks, corner.strides, corner.kernels, strict=True)
    for width, blocks, stride, kernel in stages:
        params += stage_params(c_in, width, blocks, kernel, stride, form)
        tensors += stage_param_tensors(c_in, width, blocks, stride, form)
        here, over = stage_norms(c_in, width, blocks, stride, form)
        norms, channels, c_in = norms + here, channels + over, width
    params = min(params, max_params)
    return params, tensors, norms, min(channels, params // 2)  # a norm has two parameters a channel


def require_room(quota: int | None, folder: Path, planned: DiskForecast) -> None:
    """Checks that `quota` and the disk have room for `planned`, of which the files in `folder` are a part.

    Raises:
        ResourceError: one of them has not.
    """
    inside = folder_bytes(folder)
    checkpoints = folder_bytes(folder / "checkpoints")
    total = max(planned.total, planned.total - planned.other_bytes + inside - checkpoints + RESERVE)
    remedy = "lower --concurrency, --confirm or keep_checkpoints"
    if quota is not None and total > quota:
        raise ResourceError(
            f"disk_quota: {size_text(quota)} given, but the run may take {planned}; "
            f"raise --disk-quota to {-(-total // 2**20)}M, or {remedy}"
        )
    free = free_bytes(folder)
    if total - inside > free:
        raise ResourceError(
            f"disk: {size_text(free)} free at {folder.parent}, but the run may take another "
            f"{size_text(total - inside)} ({planned}); make room, choose another --storage, or {remedy}"
        )


def free_bytes(path: Path) -> int:
    """Bytes that a user may still write on the disk of `path`, which need not exist yet."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in `folder`; 0 if it does not exist."""
    total, waiting = 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # replaced or removed meanwhile
            continue
    return total


def unfinished_bytes(folder: Path) -> int:
    """Bytes of the checkpoints that are being written."""
    total = 0
    for path in (folder / "checkpoints").glob(".*.tmp"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # finished meanwhile
            continue
    return total


def growth(folder: Path, state: RunState, numbers: Iterable[int]) -> int:
    """Bytes by which the checkpoints of the trials `numbers` may grow, including new ones written beside the old."""
    total = 0
    for number in numbers:
        path = checkpoint_path(folder, number)
        there = path.stat().st_size if path.exists() else 0
        total += max(0, 2 * trial_bytes(state, number) - there)
    return total


def trial_bytes(state: RunState, number: int) -> int:
    """Bytes of the checkpoint of trial `number`."""
    trial = state.trials[number]
    return checkpoint_bytes(ResNetLayout.from_dict(trial.layout), Recipe(**trial.settings))
