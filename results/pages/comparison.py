"""What differs between the runs of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from results.pages.run_facts import PageFacts, RunOnPage
from results.pages.scales import duration
from results.pages.sentences import accuracy_text, state_text

_UNSET: Final = "-"


def run_table(facts: PageFacts) -> list[tuple[str, list[str]]]:
    """Rows of what each run did and reached, with a text per run."""
    rows: list[tuple[str, list[str]]] = []

    def add(name: str, texts: list[str]) -> None:
        rows.append((name, texts))

    runs = facts.runs
    add("state", [state_text(run) for run in runs])
    add("trials", [f"{len(run.trials):,}" for run in runs])
    add("epochs trained", [f"{run.state.epochs:,}" for run in runs])
    add(
        "time of its sessions",
        [duration(sum(s.wall_time_s or 0.0 for s in run.state.sessions.values())) for run in runs],
    )
    add("best trial", [_best(run) for run in runs])
    for epoch in facts.fidelities:
        add(f"median after {epoch} epochs", [_median(run, epoch) for run in runs])
    equal = min(run.state.epochs for run in runs)
    if equal:
        for epoch in facts.fidelities:
            add(
                f"best after {epoch} epochs, when {equal:,} epochs were trained",
                [_early(run, epoch, equal) for run in runs],
            )
    return rows


def differing_settings(facts: PageFacts) -> list[tuple[str, list[str]]]:
    """The keys of the configurations that are not the same in all runs, with the value in each."""
    flat = [_flat(run.config) for run in facts.runs]
    names = sorted(set().union(*flat))
    rows = [(name, [str(config.get(name, _UNSET)) for config in flat]) for name in names]
    return [(name, texts) for name, texts in rows if len(set(texts)) > 1]


def verdict(facts: PageFacts) -> str:
    """Whether the best trials of the runs differ by more than noise."""
    best = [trial for run in facts.runs if (trial := next((it for it in run.trials if it.accuracy is not None), None))]
    if len(best) < 2:
        return "At most one of the runs has a trial with an accuracy, so there is nothing to compare."
    if len({(it.row["dataset"], it.row["data"]) for it in best}) > 1 or any(run.means for run in facts.runs):
        return (
            "The runs measured on different validation images, so their accuracies cannot be compared trial by trial."
        )
    first, *others = sorted(best, key=lambda it: int(it.row["rank"]))
    tied = [it.run for it in others if it.row["tied"]]
    unknown = [it.run for it in others if it.row["tied"] is None]
    said = f"{first.run} has the best trial, {first.row['trial']}"
    if unknown:
        return f"{said}; how many images it was measured on is not known, so neither is the noise."
    if tied:
        return f"{said}, but the best of {', '.join(tied)} {'is' if len(tied) == 1 else 'are'} within noise."
    return f"{said}, and no other run's best trial is within noise."


def _best(run: RunOnPage) -> str:
    trial = next((it for it in run.trials if it.accuracy is not None), None)
    if trial is None:
        return _UNSET
    row = trial.row
    accuracy = accuracy_text(trial.accuracy, row["val_accuracy_low"], row["val_accuracy_high"])
    return f"trial {row['trial']}: {accuracy} after {row['rung_epoch']} epochs, {row['params']:,} parameters"


def _median(run: RunOnPage, epoch: int) -> str:
    values = [rung.val_accuracy for it in run.trials for rung in it.rungs if rung.epoch == epoch]
    known = [value for value in values if math.isfinite(value)]
    return f"{median(known):.1%} of {len(known)}" if known else _UNSET


def _early(run: RunOnPage, epoch: int, epochs: int) -> str:
    reached = [row["val_accuracy"] for row in run.in_time()[:epochs] if row["rung"] and row["epoch"] == epoch]
    known = [value for value in reached if math.isfinite(value)]
    return f"{max(known):.1%}" if known else _UNSET


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        ranged = isinstance(value, Mapping) and set(value) <= {"low", "high", "log", "step"}
        found |= (
            _flat(value, f"{before}{name}.")
            if isinstance(value, Mapping) and not ranged
            else {f"{before}{name}": value}
        )
    return found
