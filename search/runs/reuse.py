"""Results of earlier runs reused instead of training again, where layout, recipe, seed, data and rungs are the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from model_zoo import ResNetLayout
from results import Report, TrialState, read_record
from results.record.files import sync_folder
from results.record.folders import find_runs
from search.config import RunConfig
from search.errors import ConfigError
from search.runs.checkpoint_files import checkpoint_path
from search.runs.folder import read_config, read_data
from trainables.checkpoints.identity import identity, past
from trainables.data.datasets import DATASETS
from trainables.recipe import Recipe


class Stored(NamedTuple):
    """The part of an earlier run's trial that equals the training this run would do."""

    origin: str
    """The earlier trial, as RUN/NUMBER."""
    reports: tuple[Report, ...]
    """The reports of its first epochs, one per epoch; `rung` is a rung of this run's ladder."""
    diverged: str | None
    """The error with which it diverged after those epochs; None if it did not."""
    checkpoint: Path
    """Where its checkpoint is, if it was kept."""
    epochs: int
    """Epochs trained at that checkpoint, if it was kept."""


class ReusableResults:
    """The trials of earlier runs, `sources` by name and folder, whose results a run of `config` on `data` can reuse.

    Raises:
        ConfigError: a source was trained on other images.
    """

    def __init__(self, config: RunConfig, data: Mapping[str, object], sources: Mapping[str, Path]) -> None:
        self.config, self._data = config, data
        self._trials: dict[str, list[tuple[str, Path, RunConfig, TrialState, list[Report]]]] = {}
        for name, folder in sources.items():
            source = read_config(folder)
            _require_same_images(name, folder, source, config, data)
            state = read_record(folder)
            for number, trial in state.trials.items():
                key = _key_of(trial, source)
                if key is not None and (state.reports[number] or trial.status == "diverged"):
                    found = (f"{name}/{number}", folder, source, trial, state.reports[number])
                    self._trials.setdefault(key, []).append(found)

    def find(self, layout: ResNetLayout, recipe: Recipe, seed: int) -> Stored | None:
        """The earlier trial that covers the most epochs of this training; None if none covers any."""
        candidates = self._trials.get(_key(layout, recipe, seed, self.config.split_of(seed)), [])
        found = [self._as_far_as_same(layout, recipe, seed, *candidate) for candidate in candidates]
        best = max(found, key=lambda stored: (len(stored.reports), stored.diverged is not None), default=None)
        return best if best is not None and (best.reports or best.diverged) else None

    def _as_far_as_same(
        self,
        layout: ResNetLayout,
        recipe: Recipe,
        seed: int,
        origin: str,
        folder: Path,
        source: RunConfig,
        trial: TrialState,
        reports: list[Report],
    ) -> Stored:
        rungs = self.config.rungs
        ours = identity(layout, recipe, rungs, seed, self._data)
        theirs = identity(layout, recipe, source.rungs, seed, self._data)
        # Patience ends a training at a rung of its own, whatever the ladder.
        patience_end = (
            trial.status == "stopped"
            and recipe.patience_epochs > 0
            and bool(reports)
            and _off_ladder(reports[-1], source)
        )
        same = []
        for report in reports:
            if report.epoch > self.config.max_epochs or past(ours, report.epoch) != past(theirs, report.epoch):
                break
            at_rung = report.epoch in rungs or (patience_end and report is reports[-1])
            rung = 1 + sum(end < report.epoch for end in rungs) if at_rung else None
            same.append(report._replace(rung=rung))
        end = trial.epochs + 1  # the epoch in which a diverged trial diverged
        all_same = len(same) == len(reports) and past(ours, end) == past(theirs, end)
        diverged = trial.error if trial.status == "diverged" and all_same else None
        return Stored(origin, tuple(same), diverged, checkpoint_path(folder, trial.trial), trial.epochs)


def sources_of(names: Iterable[str], storage: Path) -> dict[str, Path]:
    """The folders of the runs called `names`, by the name to show.

    Raises:
        RunNotFoundError: one of them does not exist.
    """
    names = list(names)
    return find_runs(storage, names) if names else {}


def take_checkpoint(stored: Stored, path: Path) -> bool:
    """Copies the checkpoint of `stored` to `path` if it is of the last reported epoch; returns whether it did."""
    if not stored.reports or stored.reports[-1].epoch != stored.epochs or not stored.checkpoint.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.reused")
    try:
        shutil.copyfile(stored.checkpoint, temporary)
        os.replace(temporary, path)
    except OSError:  # a full disk, or a source that is still searching; the epochs can be trained again
        temporary.unlink(missing_ok=True)
        return False
    sync_folder(path.parent)
    return True


def same_images(config: RunConfig, data: Mapping[str, object], source: RunConfig, known: Mapping[str, object]) -> bool:
    """Whether the run of `source` trains and validates on the same images as a run of `config` on `data`.

    They have a validation split in common; a trial is reused only by one on the same split.

    `known` is the identity of the source's images. Runs of older versions did not store one; their configurations are
    compared instead, which tells the known data sets apart but not the contents of a folder of images.
    """
    if config.validation_share != source.validation_share or set(config.split_seeds).isdisjoint(source.split_seeds):
        return False
    if known:
        return dict(known) == dict(data)
    names = ("dataset", "image_size", "train_images")
    return all(getattr(config, name) == getattr(source, name) for name in names) and config.dataset in DATASETS


def _require_same_images(
    name: str, folder: Path, source: RunConfig, config: RunConfig, data: Mapping[str, object]
) -> None:
    if not same_images(config, data, source, read_data(folder)):
        count = "all" if source.train_images is None else f"{source.train_images:,}"
        raise ConfigError(
            f"reuse: {name} was trained on other images ({source.dataset}, {count} training images, "
            f"split_seed {source.split_seed}) than this run; leave it out"
        )


def _key(layout: ResNetLayout, recipe: Recipe, seed: int, split: int) -> str:
    """A key that is equal for trainings that may be the same; their epochs are compared afterwards, by the rungs."""
    return json.dumps([layout.layout_id, recipe.canonical().model_dump(), seed, split], sort_keys=True)


def _key_of(trial: TrialState, source: RunConfig) -> str | None:
    try:
        layout, recipe = ResNetLayout.from_dict(trial.layout), Recipe(**trial.settings)
        return _key(layout, recipe, trial.seed, source.split_of(trial.seed))
    except (ValidationError, ValueError):
        return None  # a trial of another version cannot be reused


def _off_ladder(report: Report, source: RunConfig) -> bool:
    return report.rung is not None and report.epoch not in source.rungs
