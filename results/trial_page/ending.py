"""How a trial ended and why, in a sentence that says only what the record shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from results.record.trial_state import OPEN_STATUSES
from results.trial_page.rungs import RungReached
from results.wording import counted

Row = Mapping[str, Any]


def ending(trial: Row, epochs: Sequence[Row], rungs: Sequence[RungReached], factor: int | None) -> str:
    """Why `trial`, a row of the trials table with its rows of the epochs table, has its status."""
    trained = f"{trial['status']} after {counted(trial['epochs'], 'epoch')}"
    if trial["status"] in OPEN_STATUSES:
        return f"{trained}; not ended yet"
    if trial["error"]:
        restarted = f" and {counted(trial['retries'], 'restart')}" if trial["retries"] else ""
        return f"{trained}{restarted}: {error_line(trial['error'])}"
    if trial["status"] != "stopped":
        return f"{trained}, trained on after ASHA had stopped it" if trial["confirmed"] else trained
    if not trial["within_limits"]:
        return f"{trained}: its parameters are outside the run's present limits"
    patience = _by_patience(trial, epochs)
    if patience is not None:
        return f"{trained}: {patience}"
    if not rungs:
        return f"{trained}, before its first rung"
    return f"{trained}: {_by_asha(rungs[-1], factor)}"


def error_line(error: str) -> str:
    """The line of an error that names it: the last one of a traceback, else the first."""
    lines = error.strip().splitlines()
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _by_patience(trial: Row, epochs: Sequence[Row]) -> str | None:
    patience = trial["recipe_patience_epochs"] or 0
    if not patience or not epochs:
        return None
    best = max(epochs, key=lambda row: row["val_accuracy"])["epoch"]  # the first of equal ones, as the training has it
    if epochs[-1]["epoch"] - best < patience:
        return None
    return f"recipe.patience_epochs is {patience}, and validation accuracy was last raised at epoch {best}"


def _by_asha(last: RungReached, factor: int | None) -> str:
    reached = f"at rung {last.rung} (epoch {last.epoch}) it had {last.val_accuracy:.2%}"
    if factor is None:
        return f"{reached}; what ASHA needed is not known without the run's run.json"
    if last.needed is None:
        return f"{reached}; the record has no trial there before it, so the run's limits were changed since"
    earlier = f"{counted(last.earlier, 'trial')} that had reached that rung before it"
    needed = f"{last.needed:.2%}, the {1 - 1 / factor:.0%} quantile of the {earlier}"
    if last.val_accuracy < last.needed:
        return f"{reached} and needed {needed} (ASHA)"
    return f"{reached}; under the present limits it would have needed {needed}, so they were changed since"
