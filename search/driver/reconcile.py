"""What changed limits of a run do to its trials when a session starts: some leave, some end, some go on."""

from __future__ import annotations

from pathlib import Path

from results import Record
from search.config import RunConfig
from search.runs.checkpoint_files import checkpoint_path


def enforce_limits(record: Record, config: RunConfig) -> None:
    """Records the limits of `config` where they are new, and ends the open trials that they exclude.

    Both follow from `config` and the record, so that a start that was killed between them is made good by the next.
    """
    space = config.space
    record.append("limits", min_params=space.min_params, max_params=space.max_params, max_epochs=config.max_epochs)
    for number, trial in sorted(record.state.trials.items()):
        if not trial.ended and not trial.within_limits:
            window = f"{space.min_params:,} to {space.max_params:,}"
            error = f"its {trial.params:,} parameters were outside {window}, the run's limits since a resume"
            record.append("ended", trial=number, status="stopped", error=error)


def reopen(record: Record, folder: Path, went_on: dict[int, bool]) -> None:
    """Re-opens the trials that completed a shorter training than the present one and that their last rung lets go on.

    A trial without its checkpoint stays ended, ranked at its rung: what it was trained for is not trained again.
    """
    for number, trial in sorted(record.state.trials.items()):
        was_completed = trial.ending is not None and trial.ending[0] == "completed"
        if not (was_completed and trial.status == "stopped" and went_on.get(number, False)):
            continue
        if _saved_epoch(checkpoint_path(folder, number)) >= trial.epochs:
            record.append("reopened", trial=number)


def _saved_epoch(checkpoint: Path) -> int:
    """The epoch of a checkpoint; 0 when there is none that can be read."""
    if not checkpoint.exists():
        return 0
    from trainables.checkpoints.files import read_epoch  # torch takes seconds to import, and few sessions need it
    from trainables.errors import CheckpointError

    try:
        return read_epoch(checkpoint)
    except CheckpointError:
        return 0


def settle(record: Record, config: RunConfig, went_on: dict[int, bool]) -> None:
    """Ends the open trials whose last report had decided it when their driver died before it could write the ending."""
    for number, trial in sorted(record.state.trials.items()):
        reports = record.state.reports.get(number)
        if trial.ended or not reports:
            continue
        if reports[-1].epoch >= config.max_epochs:
            record.append("ended", trial=number, status="completed", error=None)
        elif reports[-1].rung is not None and not went_on[number]:
            record.append("ended", trial=number, status="stopped", error=None)
