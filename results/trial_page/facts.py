"""Collects what is known about one trial from the files of its run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from model_zoo.complexity import flops_by_part, params_by_part, sizes_by_part
from model_zoo.layout import LayoutError, ResNetLayout
from model_zoo.memory import count_activation_bytes, saved_bytes_by_part
from results.errors import ResultsError
from results.ranking.query import make_board
from results.ranking.ranking_rule import is_ranked, rule_key
from results.record.events import LAYOUT_FIELDS
from results.record.folders import RUN_FILE, find_runs
from results.record.reading import read_run, with_data
from results.record.trials_of_runs import TrialsOfRuns
from results.trial_page.ending import ending
from results.trial_page.rungs import RungReached, rungs_of
from results.trial_page.training_again import configuration_toml, training_command
from results.wording import counted

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """The stem, a stage or the head of a network."""

    name: str
    what: str
    """What it consists of, in words."""
    channels: int
    """Channels that it puts out."""
    size: tuple[int, int] | None
    """(height, width) that it puts out; None if the size of the images is not known."""
    params: int
    flops: int | None
    """FLOPs of a forward pass on one image; None if the size of the images is not known."""
    saved_bytes: int | None
    """Bytes per image in float32 that it saves for backward; None if the size of the images is not known."""


@dataclass(frozen=True)
class TimeSpent:
    """Where the time of a trial went, in seconds; reused epochs took none."""

    train_s: float
    eval_s: float
    wall_s: float | None
    """From its first launch to its end, or to its last epoch while it is open; None if it was not launched."""
    epochs: int
    """Epochs that the run trained."""
    reused_epochs: int
    sessions: int
    """Sessions in which it trained."""

    @property
    def other_s(self) -> float | None:
        """The rest of the time: starting processes, checkpoints, waiting, and pauses between sessions."""
        return None if self.wall_s is None else max(0.0, self.wall_s - self.train_s - self.eval_s)


@dataclass(frozen=True)
class TrialFacts:
    """What is known about one trial."""

    run: str
    trial: Row
    """Its row of the trials table."""
    val_images: int | None
    """How many images its validation accuracies were measured on; None if the run did not store it."""
    rank: int | None
    """Its rank in its run, from 1, which it may share with other validation splits; None if it has none."""
    ranked: int
    """How many ranks the run has."""
    parts: list[Part]
    """Stem, stages and head; empty for a layout that this version cannot build."""
    activation_bytes: int | None
    """The most bytes per image that a training step in float32 takes; None if the size of the images is not known."""
    epochs: list[Row]
    """Its rows of the epochs table."""
    rungs: list[RungReached]
    ending: str
    time: TimeSpent
    toml: str
    """The configuration that trains it again, alone."""
    command: str | None
    """The command that does; None if the configuration of the run is lost."""
    trained_with: Row
    """git, versions and hardware of the run's start."""
    notes: list[str]


def trial_facts(storage: Path, run: str, number: int | None) -> TrialFacts:
    """The facts of trial `number`, by default of the best one, of the run with this name in `storage` or at this path.

    Raises:
        RunNotFoundError: there is no such run.
        ResultsError: the run cannot be read, or has no such trial, or none with a rank.
    """
    ((name, folder),) = find_runs(storage, [run]).items()
    tables = read_run(folder, name)
    trials: list[Row] = tables.trials.to_pylist()
    all_epochs: list[Row] = tables.epochs.to_pylist()
    inside = {row["trial"] for row in trials if row["within_limits"] is not False}
    ranks = _ranks(with_data(tables.trials, folder))
    trial = _chosen(name, trials, ranks, number)
    stored = _run_file(folder)
    config = stored.get("config", {})
    notes = list(tables.notes)
    if not config:
        notes.append(f"{folder / RUN_FILE}: missing or damaged; what it holds is left out")
    if config.get("earlier_max_epochs"):
        notes.append("max_epochs was changed during the run, which moved rungs; another training may differ")
    own = [row for row in all_epochs if row["trial"] == trial["trial"]]
    factor = config.get("reduction_factor")
    last = config.get("max_epochs", trial["recipe_epochs"])
    rungs = rungs_of(trial["trial"], all_epochs, inside, factor, last)
    size = config.get("space", {}).get("image_size")
    layout = _layout(trial, notes)
    image_size = (int(size[0]), int(size[1])) if size else None
    return TrialFacts(
        run=name,
        trial=trial,
        val_images=stored.get("validation", {}).get("images"),
        rank=ranks.get(trial["trial"]),
        ranked=max(ranks.values(), default=0),
        parts=[] if layout is None else _parts(layout, image_size),
        activation_bytes=count_activation_bytes(layout, image_size) if layout and image_size else None,
        epochs=own,
        rungs=rungs,
        ending=ending(trial, own, rungs, factor),
        time=_time(trial, own),
        toml=configuration_toml(trial, config),
        command=training_command(run, trial["trial"], str(storage)) if config else None,
        trained_with={key: stored[key] for key in ("git", "versions", "hardware") if stored.get(key)},
        notes=notes,
    )


def _ranks(trials: pa.Table) -> dict[int, int]:
    """The ranks of the ranked trials on the leaderboard of their run.

    With several validation splits, the trials of a layout and recipe share theirs.
    """
    board = make_board(TrialsOfRuns.of(trials), columns=("rank", "trial"))
    places = board.column("trials") if board.over_seeds else [[trial] for trial in board.column("trial")]
    ranks = zip(board.column("rank"), places, strict=True)
    shared = {trial: rank for rank, numbers in ranks if rank is not None for trial in numbers}
    columns = [trials[name].to_pylist() for name in ("trial", "status", "rung")]
    ranked = {trial for trial, status, rung in zip(*columns, strict=True) if is_ranked(status, rung)}
    return {int(trial): rank for trial, rank in shared.items() if trial in ranked}


def _chosen(run: str, trials: list[Row], ranks: dict[int, int], number: int | None) -> Row:
    if number is None:
        ranked = [row for row in trials if row["trial"] in ranks]
        if not ranked:
            raise ResultsError(f"{run}: no trial has reached a rung, so there is no best one; name one of its trials")
        # of trials that share a rank, the best of those that came furthest
        return min(
            ranked,
            key=lambda row: (
                ranks[row["trial"]],
                -row["rung_epoch"],
                rule_key(row["val_accuracy"], row["val_loss"], row["params"]),
                row["trial"],
            ),
        )
    for row in trials:
        if row["trial"] == number:
            return row
    raise ResultsError(f"trial: {number} given, but {run} has {counted(len(trials), 'trial')}, numbered from 0")


def _run_file(folder: Path) -> Row:
    try:
        stored = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and isinstance(stored.get("config"), dict) else {}


def _layout(trial: Row, notes: list[str]) -> ResNetLayout | None:
    try:
        return ResNetLayout.from_dict({name: trial[name] for name in LAYOUT_FIELDS if trial[name] is not None})
    except LayoutError as error:
        notes.append(f"trial {trial['trial']}: its layout is not drawn ({error})")
        return None


def _parts(layout: ResNetLayout, image_size: tuple[int, int] | None) -> list[Part]:
    names = ["stem", *(f"stage {number}" for number in range(1, layout.stages + 1)), "head"]
    what = [_stem_in_words(layout), *_stages_in_words(layout), "mean, linear"]
    channels = [layout.stem_channels, *layout.channels, layout.classes]
    unknown = [None] * len(names)
    sizes = sizes_by_part(layout, image_size) if image_size else unknown
    flops = flops_by_part(layout, image_size) if image_size else unknown
    saved = saved_bytes_by_part(layout, image_size) if image_size else unknown
    return [Part(*row) for row in zip(names, what, channels, sizes, params_by_part(layout), flops, saved, strict=True)]


def _stem_in_words(layout: ResNetLayout) -> str:
    convolutions = counted(layout.stem_depth, "3x3 convolution") if layout.stem_depth > 1 else "3x3 convolution"
    stride = ", stride 2" if layout.stem_stride == 2 else ""
    return f"{convolutions}{stride}, norm, {layout.activation}"


def _stages_in_words(layout: ResNetLayout) -> list[str]:
    common = "".join(
        f", {words}"
        for words, told in (
            (f"groups {layout.groups}", layout.groups > 1),
            (f"expansion {layout.expansion}", layout.expansion > 0),
            (f"squeeze {layout.squeeze}", layout.squeeze > 0),
            ("skips averaged", layout.skip_pool),
        )
        if told
    )
    return [
        f"{counted(blocks, f'{layout.block} block')} {kernel}x{kernel}{', stride 2' if stride == 2 else ''}{common}"
        for blocks, kernel, stride in zip(layout.blocks, layout.kernels, layout.strides, strict=True)
    ]


def _time(trial: Row, epochs: list[Row]) -> TimeSpent:
    own = [row for row in epochs if row["reused"] is None]
    end = trial["ended_s"] or (own[-1]["time_s"] if own else None)
    launched = trial["started_s"] is not None and end is not None
    return TimeSpent(
        train_s=sum(row["train_time_s"] for row in own),
        eval_s=sum(row["eval_time_s"] for row in own),
        wall_s=end - trial["started_s"] if launched else None,
        epochs=len(own),
        reused_epochs=len(epochs) - len(own),
        sessions=len({row["session"] for row in own}),
    )
