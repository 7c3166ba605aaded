"""The first step of a session: it brings the record in line with the run's limits and finishes a dead driver's work.

Everything follows from the limits and the record, so the next start completes one that was killed midway.
"""

from __future__ import annotations

from pathlib import Path

from results import Record
from results.record.trial_state import Limits
from search.runs.checkpoint_files import checkpoint_path, drop_checkpoints
from search.runs.confirmation import NO_CONFIRMATION, Confirmation
from search.runs.rungs import AshaRungs


def reconcile(
    record: Record,
    limits: Limits,
    rungs: AshaRungs,
    checkpoints: int,
    confirmation: Confirmation = NO_CONFIRMATION,
) -> None:
    """Applies `limits` to the trials of `record`, refills `rungs`, and ends or re-opens trials accordingly.

    Removes the checkpoints of finished trials except the best `checkpoints` and those that may be confirmed.
    """
    _enforce(record, limits)
    promoted = rungs.replay(record.state)
    _settle(record, limits, promoted)
    _reopen(record, promoted)
    # a driver killed right after an ending has not
    drop_checkpoints(record.folder, record.state, checkpoints, confirmation)


def _enforce(record: Record, limits: Limits) -> None:
    """Records the limits if they are new, and ends the open trials that they exclude."""
    least, most = limits.min_params, limits.max_params
    record.append("limits", min_params=least, max_params=most, max_epochs=limits.max_epochs)
    for number in record.state.open_trials:
        trial = record.state.trials[number]
        if not trial.within_limits:
            window = f"{least:,} to {most:,}, the limits that a resume set"
            error = f"its {trial.params:,} parameters are outside {window}"
            record.append("ended", trial=number, status="stopped", error=error)


def _settle(record: Record, limits: Limits, promoted: dict[int, bool]) -> None:
    """Ends the open trials whose last report was their end, but whose driver died before it could record that."""
    for number in record.state.open_trials:
        reports = record.state.reports.get(number)
        if not reports:
            continue
        if reports[-1].epoch >= limits.max_epochs:
            record.append("ended", trial=number, status="completed", error=None)
        elif reports[-1].rung is not None and not promoted[number]:
            record.append("ended", trial=number, status="stopped", error=None)


def _reopen(record: Record, promoted: dict[int, bool]) -> None:
    """Re-opens the trials that completed a shorter training than the present one and that their last rung promotes.

    A trial without its checkpoint stays ended and ranked at its rung: no epoch is trained twice.
    """
    for number, trial in sorted(record.state.trials.items()):
        was_completed = trial.ending is not None and trial.ending[0] == "completed"
        if not (was_completed and trial.status == "stopped" and promoted.get(number, False)):
            continue
        if _saved_epoch(checkpoint_path(record.folder, number)) >= trial.epochs:
            record.append("reopened", trial=number)


def _saved_epoch(checkpoint: Path) -> int:
    """The epoch of a checkpoint; 0 if it does not exist or cannot be read."""
    if not checkpoint.exists():
        return 0
    from trainables.checkpoints.files import read_epoch  # torch takes seconds to import, and few sessions need it
    from trainables.errors import CheckpointError

    try:
        return read_epoch(checkpoint)
    except CheckpointError:
        return 0
