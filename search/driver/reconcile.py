"""What a session does first: it brings the record in line with the run's limits and with what a dead driver left.

All of it follows from the limits and the record, so that a start that was killed midway is made good by the next.
"""

from __future__ import annotations

from pathlib import Path

from results import Record
from results.record.trial_state import Limits
from search.driver.rungs import AshaRungs
from search.runs.checkpoint_files import checkpoint_path, drop_checkpoints


def reconcile(record: Record, limits: Limits, rungs: AshaRungs, checkpoints: int) -> None:
    """Holds the trials of `record` to `limits`, refills `rungs`, and ends or re-opens what that decides.

    Checkpoints of finished trials beyond the best `checkpoints` go.
    """
    _enforce(record, limits)
    went_on = rungs.replay(record.state)
    _settle(record, limits, went_on)
    _reopen(record, went_on)
    drop_checkpoints(record.folder, record.state, checkpoints)  # a driver killed after an ending has not


def _enforce(record: Record, limits: Limits) -> None:
    """Records the limits where they are new, and ends the open trials that they exclude."""
    least, most = limits.min_params, limits.max_params
    record.append("limits", min_params=least, max_params=most, max_epochs=limits.max_epochs)
    for number in record.state.open_trials:
        trial = record.state.trials[number]
        if not trial.within_limits:
            window = f"{least:,} to {most:,}, the limits that a resume set"
            error = f"its {trial.params:,} parameters are outside {window}"
            record.append("ended", trial=number, status="stopped", error=error)


def _settle(record: Record, limits: Limits, went_on: dict[int, bool]) -> None:
    """Ends the open trials whose last report had decided it when their driver died before it could write the ending."""
    for number in record.state.open_trials:
        reports = record.state.reports.get(number)
        if not reports:
            continue
        if reports[-1].epoch >= limits.max_epochs:
            record.append("ended", trial=number, status="completed", error=None)
        elif reports[-1].rung is not None and not went_on[number]:
            record.append("ended", trial=number, status="stopped", error=None)


def _reopen(record: Record, went_on: dict[int, bool]) -> None:
    """Re-opens the trials that completed a shorter training than the present one and that their last rung lets pass.

    A trial without its checkpoint stays ended, ranked at its rung: what it was trained for is not trained again.
    """
    for number, trial in sorted(record.state.trials.items()):
        was_completed = trial.ending is not None and trial.ending[0] == "completed"
        if not (was_completed and trial.status == "stopped" and went_on.get(number, False)):
            continue
        if _saved_epoch(checkpoint_path(record.folder, number)) >= trial.epochs:
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
