"""What a page says of runs and trials in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from results.ranking.intervals import wilson_interval
from results.ranking.short_columns import dashed
from results.wording import counted

if TYPE_CHECKING:
    from results.pages.run_facts import RunOnPage, TrialOnPage

_REASONS = {
    "done": "finished",
    "interrupted": "interrupted",
    "time-budget": "ended by its time budget",
    "epoch-budget": "ended by its epoch budget",
    "disk-quota": "ended by its disk quota",
    "exhausted": "finished: no candidate was left",
    "failed": "failed",
}


def accuracy_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """An accuracy in percent with half of its 95% interval where that is known: `96.1 ± 0.5%`."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if low is None or high is None:
        return f"{100 * value:.1f}%"
    return f"{100 * value:.1f} ± {100 * (high - low) / 2:.1f}%"


def layout_text(row: dict[str, Any]) -> str:
    """Blocks and channels of each stage: `1-2-2, channels 24-32-64`."""
    return f"{dashed(row['blocks'])}, channels {dashed(row['channels'])}"


def trial_text(trial: TrialOnPage) -> str:
    """A trial in one line, for tooltips."""
    row = trial.row
    known = (
        f"{accuracy_text(trial.accuracy, row['val_accuracy_low'], row['val_accuracy_high'])} after "
        f"{counted(row['rung_epoch'], 'epoch')}"
        if trial.accuracy is not None
        else row["status"]
    )
    return f"trial {row['trial']}: {known}, {row['params']:,} parameters, blocks {layout_text(row)}, {row['status']}"


def state_text(run: RunOnPage) -> str:
    """The state of the run's last session."""
    sessions = run.state.sessions
    if not sessions:
        return "state unknown"
    reason = sessions[max(sessions)].reason
    if reason is not None:
        return _REASONS.get(reason, reason)
    return "running" if run.alive else "interrupted"


def winner_sentence(run: RunOnPage) -> str:
    """Which network won, how good it is and how sure that is, as a person would say it."""
    verb = "leads so far" if state_text(run) == "running" else "won"
    if run.means:
        return _means_sentence(run.means, verb, run.budget)
    if run.winner is None:
        return "No trial has reached a rung yet, so there is no winner."
    first = run.by_number[run.winner.trial["trial"]]
    row = first.row
    size = f"{row['params']:,} parameters" + _share(row["params"], run.budget)
    if first.accuracy is None:
        return f"Trial {row['trial']} has {size}; it has no validation accuracy."
    accuracy = accuracy_text(first.accuracy, row["val_accuracy_low"], row["val_accuracy_high"])
    return f"Trial {row['trial']} {verb}: {accuracy} at {size}; {_ties(run, first)}."


def _means_sentence(means: list[dict[str, Any]], verb: str, budget: int | None) -> str:
    row = means[0]
    size = f"{row['params']:,} parameters" + _share(row["params"], budget)
    if row["val_accuracy"] is None:
        trainings = counted(len(row["trials"]), "training")
        tested = "" if row["test_accuracy"] is None else f", test accuracy {_mean_text(row, 'test')}"
        return f"Blocks {layout_text(row)} with {size}: {trainings} without validation images{tested}."
    seeds = counted(row["seeds"], "training")
    return f"Blocks {layout_text(row)} {verb}: {_mean_text(row, 'val')} (mean and standard error of {seeds}) at {size}."


def _mean_text(row: dict[str, Any], measured: str) -> str:
    error = row[f"{measured}_accuracy_error"]
    spread = "" if error is None else f" ± {100 * error:.1f}"
    return f"{100 * row[f'{measured}_accuracy']:.1f}{spread}%"


def _share(params: int, budget: int | None) -> str:
    return f" ({100 * params / budget:.0f}% of the budget)" if budget else ""


def _ties(run: RunOnPage, first: TrialOnPage) -> str:
    others = [it for it in run.trials if it is not first and it.accuracy is not None]
    if first.row["tied"] is None or not first.row["val_images"]:
        return "how many images it was measured on is not known, so neither is the noise"
    tied = _tied_with(first, others)
    if not tied:
        return (
            f"none of the other {counted(len(others), 'trial')} is within noise"
            if others
            else "no other trial has a rank"
        )
    return f"{counted(tied, 'other trial')} {'is' if tied == 1 else 'are'} within noise"


def _tied_with(first: TrialOnPage, others: list[TrialOnPage]) -> int:
    return (
        sum(bool(it.row["tied"]) for it in others)
        if first.row["rank"] == 1
        else sum(
            it.row["val_accuracy_high"] >= first.row["val_accuracy_low"] for it in others if it.row["val_accuracy_high"]
        )
    )


def test_sentence(run: RunOnPage) -> str:
    """What the test set said of the winner, and how often it was opened."""
    if run.winner is None:
        return ""
    row = run.winner.trial
    if row["test_accuracy"] is None:
        return "The test set has not been used for it; search.evaluate measures it once."
    bounds = wilson_interval(row["test_accuracy"], row["test_images"]) if row["test_images"] else (None, None)
    looks = counted(run.state.test_openings, "time")
    accuracy = accuracy_text(row["test_accuracy"], *bounds)
    return (
        f"On the test set it has {accuracy} (weights of epoch {row['test_epoch']}); "
        f"the run opened the test set {looks}."
    )


def choice_sentences(run: RunOnPage) -> list[str]:
    """How the winner was chosen."""
    config = run.config
    found = [f"{counted(len(run.trials), 'trial')}"]
    if config:
        found[0] += f" chosen by the sampler {config.get('sampler', 'unknown')}"
        rungs = sorted({rung.epoch for it in run.trials for rung in it.rungs})
        if len(rungs) > 1 and config.get("reduction_factor"):
            at, share = " and ".join(map(str, rungs[:-1])), 1 / config["reduction_factor"]
            found.append(f"at epoch {at}, a trial went on if it was among the best {share:.0%} so far (ASHA)")
    confirmed = sum(bool(it.row["confirmed"]) for it in run.trials)
    if confirmed:
        were = "was" if confirmed == 1 else "were"
        found.append(f"{counted(confirmed, 'stopped trial')} within noise of the best {were} trained to the end")
    return found
