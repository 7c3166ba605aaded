"""The trial of a run to evaluate, and the network in its checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from model_zoo import ResNetLayout, build
from model_zoo.network import ResNet
from results import RunState, TrialState
from results.wording import counted
from search.errors import SearchError
from search.runs.checkpoint_files import checkpoint_path, with_weights
from search.runs.ranking import ranked
from trainables.checkpoints import files as checkpoints
from trainables.data.image_format import ImageFormat
from trainables.devices import resolve_precision
from trainables.recipe import Recipe


@dataclass(frozen=True, eq=False)
class KeptNetwork:
    """A network with the weights that its trial is evaluated with."""

    network: ResNet
    """On the device it was loaded for, channels-last."""
    epoch: int
    """The epoch after which it had these weights."""
    precision: torch.dtype
    """The arithmetic of its recipe on that device."""
    data_sha256: str
    """The `TrainingSet.sha256` of the images that it was trained on."""


def chosen_trial(run: str, state: RunState, number: int | None, by_mean: bool = False) -> TrialState:
    """The trial called `number` of the run, or its best one by the leaderboard's rule.

    With `by_mean` that is the best one of the layout and recipe with the best mean over validation splits.

    Raises:
        SearchError: there is no such trial, or none has reached a rung.
    """
    if number is None:
        best = ranked(state, by_mean)
        if not best:
            raise SearchError(f"{run}: no trial has reached a rung; continue it with --resume {run}")
        return best[0]
    if number not in state.trials:
        trials = counted(len(state.trials), "trial")
        raise SearchError(f"trial: {number} given, but {run} has {trials}, numbered from 0")
    return state.trials[number]


def kept_checkpoint(folder: Path, state: RunState, trial: TrialState, keep: int) -> Path:
    """The checkpoint of `trial` of the run in `folder`, which keeps those of its `keep` best trials.

    Raises:
        SearchError: it was not kept, or is not the network whose accuracy is ranked.
        CheckpointError: it is damaged.
    """
    checkpoint = checkpoint_path(folder, trial.trial)
    if not checkpoint.exists():
        reused = f"; its results were reused from {trial.reused}, so evaluate that run" if trial.reused else ""
        other = with_weights(folder, state)
        instead = "" if other is None else f"; take one of them, such as trial {other.trial}"
        raise SearchError(
            f"trial {trial.trial} ({trial.status}) has no checkpoint: a run keeps those of its {keep} best finished "
            f"trials within the limits{reused or instead}"
        )
    require_ranked_epoch(folder, ranked(state), trial)
    return checkpoint


def require_ranked_epoch(folder: Path, best: list[TrialState], chosen: TrialState) -> None:
    """Checks that the trial's checkpoint is of the epoch whose accuracy is ranked.

    Raises:
        SearchError: it is of another epoch; the message names a trial that can be evaluated, if there is one.
        CheckpointError: it is damaged.
    """

    def epoch_of(trial: TrialState) -> int | None:
        path = checkpoint_path(folder, trial.trial)
        return checkpoints.read_epoch(path) if path.exists() else None

    epoch = epoch_of(chosen)
    if epoch == chosen.rung_epoch:
        return
    ranked_at = "it has no rank yet" if chosen.rung_epoch is None else f"it is ranked at epoch {chosen.rung_epoch}"
    other = next((trial.trial for trial in best if epoch_of(trial) == trial.rung_epoch), None)
    remedy = f"continue with --resume {folder.name}" if other is None else f"give --trial {other}"
    raise SearchError(f"trial {chosen.trial}: its checkpoint is of epoch {epoch}, but {ranked_at}; {remedy}")


def load_kept_of(
    folder: Path, state: RunState, trial: TrialState, keep: int, data: ImageFormat, device: torch.device
) -> KeptNetwork:
    """The network of `trial` of the run in `folder`, which keeps its `keep` best trials; its images are of `data`.

    Raises:
        SearchError: its checkpoint was not kept, is of another epoch than the ranked one, or the images have changed.
        CheckpointError: its checkpoint is damaged.
    """
    kept = load_kept(kept_checkpoint(folder, state, trial, keep), device)
    require_same_images(kept, trial.trial, data.name, data.sha256)
    return kept


def require_same_images(kept: KeptNetwork, trial: int, dataset: str, train_sha256: str) -> None:
    """Checks that the network of `trial` was trained on the images whose `TrainingSet.sha256` is `train_sha256`.

    Other images have other statistics and perhaps classes in another order. A flat image folder that has changed is
    also split again, so that the network may have been trained on images of the new test set.

    Raises:
        SearchError: it was trained on other images.
    """
    if kept.data_sha256 != train_sha256:
        raise SearchError(f"dataset: {dataset} has changed since trial {trial} was trained; restore its images")


def load_kept(checkpoint: Path, device: torch.device) -> KeptNetwork:
    """The network of `checkpoint` with the weights of its last epoch, or of its best epoch if the recipe keeps those.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    header, _ = checkpoints.read(checkpoint)
    identity, report = json.loads(header["identity"]), json.loads(header["report"])
    recipe = Recipe(**{name: value for name, value in identity["recipe"].items() if name in Recipe.model_fields})
    best = recipe.keep_weights == "best"
    network = build(ResNetLayout.from_dict(identity["layout"]))
    checkpoints.load_weights(checkpoint, network, best)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return KeptNetwork(
        network,
        int(report["best_epoch" if best else "epoch"]),
        resolve_precision(recipe, device),
        identity["data"]["sha256"],
    )
