"""The checkpoint files of a run: their paths, and which of them are kept."""

from __future__ import annotations

import os
from pathlib import Path

from results import RunState, TrialState
from search.runs.confirmation import NO_CONFIRMATION, Confirmation
from search.runs.ranking import Leaders, ranked


def checkpoint_path(folder: Path, trial: int) -> Path:
    """Where `trial` of the run in `folder` keeps its checkpoint."""
    return folder.absolute() / "checkpoints" / f"trial-{trial:05d}.safetensors"


def drop_checkpoints(folder: Path, state: RunState, keep: int, confirmation: Confirmation = NO_CONFIRMATION) -> None:
    """Removes the checkpoints of all finished trials except the `keep` best and those that may be confirmed."""
    checkpoints = checkpoint_path(folder, 0).parent
    there = set(os.listdir(checkpoints)) if checkpoints.is_dir() else set()
    kept = Leaders(state, keep, confirmation).kept
    for trial in state.trials.values():
        path = checkpoint_path(folder, trial.trial)
        if trial.ended and trial.trial not in kept and path.name in there:
            path.unlink(missing_ok=True)


def with_weights(folder: Path, state: RunState, by_mean: bool = False) -> TrialState | None:
    """The best trial of the run in `folder`, ranked `by_mean` or not, that can be evaluated; None if there is none.

    Its checkpoint exists and is of the epoch at which it is ranked; after `max_epochs` was lowered it may be of a later
    one.
    """
    fitting = (trial for trial in ranked(state, by_mean) if trial.epochs == trial.rung_epoch)
    return next((trial for trial in fitting if checkpoint_path(folder, trial.trial).exists()), None)
