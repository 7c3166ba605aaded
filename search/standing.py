"""Where a running search stands: its trials by the leaderboard's rule, and which checkpoints that keeps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from results import RunState, TrialState
from results.events import TRIAL_ENDS
from results.rule import is_ranked, rule_key
from results.state import OPEN_STATUSES


def ranked(state: RunState) -> list[TrialState]:
    """The ranked trials of one run, best first: the leaderboard's rule on the live state, without pandas."""
    reached = [t for t in state.trials.values() if t.within_limits and is_ranked(t.status, t.rung)]
    return sorted(reached, key=lambda t: (rule_key(t.rung_epoch, t.val_accuracy, t.val_loss, t.params), t.trial))


def status_counts(state: RunState) -> dict[str, int]:
    """How many trials have each status, in the order of a trial's life."""
    counts = Counter(trial.status for trial in state.trials.values())
    return {status: counts[status] for status in (*OPEN_STATUSES, *TRIAL_ENDS) if counts[status]}


def rung_counts(state: RunState, rungs: int) -> list[int]:
    """How many trials within the run's limits reached each of the `rungs` rungs."""
    inside = [trial for trial in state.trials.values() if trial.within_limits]
    return [sum(trial.rung >= rung for trial in inside) for rung in range(1, rungs + 1)]


def training_time_s(state: RunState) -> float:
    """Seconds of training and validation of all trials."""
    return sum(trial.train_time_s + trial.eval_time_s for trial in state.trials.values())


def session_training_time_s(state: RunState, session: int) -> float:
    """Seconds of training and validation that one session's driver was told of."""
    reports = (report for of_trial in state.reports.values() for report in of_trial)
    return sum(r.train_time_s + r.eval_time_s for r in reports if r.session == session and r.reused is None)


def checkpoint_path(folder: Path, trial: int) -> Path:
    """Where `trial` of the run in `folder` keeps its checkpoint."""
    return folder.absolute() / "checkpoints" / f"trial-{trial:05d}.safetensors"


def drop_checkpoints(folder: Path, state: RunState, keep: int) -> None:
    """Removes the checkpoints of finished trials but the `keep` best."""
    finished = [trial for trial in state.trials.values() if trial.ended]
    best = {trial.trial for trial in [t for t in ranked(state) if t.ended][:keep]}
    for trial in finished:
        if trial.trial not in best:
            checkpoint_path(folder, trial.trial).unlink(missing_ok=True)
