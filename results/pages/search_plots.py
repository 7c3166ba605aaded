"""The plots of how trials did: accuracy against cost, learning curves, the best so far, rungs, slots and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from results.pages.plot import Mark, Plot, Table, shade
from results.pages.published import published
from results.pages.run_facts import PageFacts, Row, RunOnPage, TrialOnPage
from results.pages.scales import Scale, categories, duration, linear, logarithmic, percent, whole
from results.pages.sentences import trial_text

Points = list[tuple[float, float]]
MOST_POINTS: Final = 25_000
"""The most points of learning curves on a page: what keeps it below 5 MB."""


@dataclass(frozen=True)
class Cost:
    """What an accuracy is drawn against."""

    name: str
    title: str
    of: Callable[[TrialOnPage], float | None]
    text: Callable[[float], str]
    logarithmic: bool = True


COSTS: Final = (
    Cost("params", "parameters", lambda it: it.row["params"], whole),
    Cost("flops", "FLOPs per image", lambda it: it.row["flops"], whole),
    Cost("depth", "weighted layers", lambda it: it.row["depth"], whole, logarithmic=False),
    Cost("time", "training time", lambda it: it.row["train_time_s"], duration),
)


def against_costs(facts: PageFacts, run: RunOnPage) -> list[Plot]:
    """Accuracy against each cost, with the networks that no other beats in both, and the budget."""
    return [plot for cost in COSTS if (plot := _against(facts, run, cost)) is not None]


def pareto_front(trials: Sequence[tuple[float, float, TrialOnPage]]) -> list[tuple[float, float, TrialOnPage]]:
    """Of (cost, accuracy, trial), those that no other beats in both, from the cheapest on."""
    front: list[tuple[float, float, TrialOnPage]] = []
    for cost, accuracy, trial in sorted(trials, key=lambda it: (it[0], -it[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy, trial))
    return front


def _against(facts: PageFacts, run: RunOnPage, cost: Cost) -> Plot | None:
    known = [(cost.of(it), it.accuracy, it) for it in run.trials]
    rows = [(float(value), accuracy, it) for value, accuracy, it in known if value and accuracy is not None]
    if not rows:
        return None
    values = [value for value, *_ in rows]
    limit = run.budget if cost.name == "params" else None
    others = published(run.dataset, min(values) / 1.5, (limit or max(values)) * 1.3) if cost.name == "params" else []
    spread = [*values, *([limit] if limit else []), *(it.params for it in others)]
    x = (logarithmic if cost.logarithmic else linear)(spread, cost.title, cost.text)
    longest = max(it.row["rung_epoch"] for *_, it in rows)
    front = pareto_front([row for row in rows if row[2].row["rung_epoch"] == longest])
    bounds = [end for *_, it in front for end in (it.row["val_accuracy_low"], it.row["val_accuracy_high"]) if end]
    y = linear(
        [
            *(it.accuracy or 0 for it in run.trials if it.accuracy is not None),
            *bounds,
            *(it.test_accuracy for it in others),
        ],
        "validation accuracy",
        percent,
    )
    table = Table(
        ("trial", cost.name, "val_accuracy", "low", "high", "epochs", "on_front"),
        [
            (
                it.row["trial"],
                cost.of(it),
                accuracy,
                it.row["val_accuracy_low"],
                it.row["val_accuracy_high"],
                it.row["rung_epoch"],
                any(it is best for *_, best in front),
            )
            for _, accuracy, it in rows
        ]
        + [(f"{it.network} ({it.source})", it.params, it.test_accuracy, None, None, it.epochs, False) for it in others],
    )
    summary = (
        f"{len(rows)} trials; stronger marks were trained longer. The step line is the front: of those trained for "
        f"{longest} epochs, {len(front)} that no other beats in both, with 95% intervals."
    )
    summary += " Hollow marks are published test accuracies, of longer trainings on all images." if others else ""
    plot = Plot(
        f"accuracy-{cost.name}", f"Accuracy against {cost.title}", summary, x, y, table, height=360, run=run.name
    )
    if limit:
        plot.vertical(limit, "budget", "budget")
    for known_one in others:
        what = f"{known_one.network}: {known_one.params:,} parameters"
        told = f"{what}, test accuracy {percent(known_one.test_accuracy)} ({known_one.source})"
        plot.dot(known_one.params, known_one.test_accuracy, "published", told, radius=4)
    plot.step([(value, accuracy) for value, accuracy, _ in front], "front")
    for value, _, it in front:
        low, high = it.row["val_accuracy_low"], it.row["val_accuracy_high"]
        if low is not None and high is not None:
            plot.marks.append(Mark("path", "interval", path=f"M{plot.px(value):g} {plot.py(low):g}V{plot.py(high):g}"))
    for value, accuracy, it in reversed(rows):
        plot.dot(value, accuracy, f"dot {shade(it.row['rung_epoch'], facts.fidelities)}", trial_text(it), it.key)
    best = max(rows, key=lambda row: -row[2].row["rank"])
    plot.dot(best[0], best[1], "winner-ring", trial_text(best[2]), best[2].key, radius=7)
    return plot


def learning_curves(facts: PageFacts, run: RunOnPage) -> Plot | None:
    """The validation accuracy of every epoch of every trial, the winner's curve strong, the rungs as dots."""
    curves = {it: [row for row in it.epochs if math.isfinite(row["val_accuracy"])] for it in _ordered(run)}
    count = sum(map(len, curves.values()))
    if not count:
        return None
    step = math.ceil(count / MOST_POINTS * len(facts.runs))
    kept = {
        it.key: [row for place, row in enumerate(rows) if place % step == 0 or row["rung"] or place == len(rows) - 1]
        for it, rows in curves.items()
    }
    every = [row for rows in kept.values() for row in rows]
    x = linear([row["epoch"] for row in every], "epoch", whole, from_zero=True)
    y = linear([row["val_accuracy"] for row in every], "validation accuracy", percent)
    table = Table(
        ("trial", "epoch", "rung", "val_accuracy"),
        [tuple(row[name] for name in ("trial", "epoch", "rung", "val_accuracy")) for row in every],
    )
    thinned = f" Of {count:,} epochs, every {step}th and all rungs are drawn." if step > 1 else ""
    summary = "One line per trial, a dot where trials were compared; the best trial's line is strong." + thinned
    plot = Plot("curves", "Learning curves", summary, x, y, table, run=run.name)
    last = run.config.get("max_epochs")
    for epoch in sorted({rung.epoch for it in run.trials for rung in it.rungs if last is None or rung.epoch <= last}):
        plot.vertical(epoch, "rung-line", f"rung at {epoch}")
    best = run.winner.trial["trial"] if run.winner else None
    for it in sorted(curves, key=lambda it: it.row["trial"] == best):
        points = [(row["epoch"], row["val_accuracy"]) for row in kept[it.key]]
        style = "curve best" if it.row["trial"] == best else "curve failed" if it.failed else "curve"
        plot.line(points, style, trial_text(it), it.key)
    for epoch in facts.fidelities:
        reached = [(epoch, rung.val_accuracy) for it in run.trials for rung in it.rungs if rung.epoch == epoch]
        known = [(x, y) for x, y in reached if math.isfinite(y)]
        plot.points(known, f"points {shade(epoch, facts.fidelities)}")
    return plot


def best_so_far(facts: PageFacts, by_time: bool) -> Plot | None:
    """The best accuracy so far at each rung, against the epochs trained or the time, a line per run and rung."""
    lines: dict[tuple[RunOnPage, int], Points] = {}
    ends: dict[str, float] = {}
    for run in facts.runs:
        best: dict[int, float] = {}
        spent, clock = 0.0, _clock(run)
        for place, row in enumerate(run.in_time(), start=1):
            spent = clock(row) if by_time else float(place)
            value = row["val_accuracy"]
            if row["rung"] and math.isfinite(value) and value > best.get(row["epoch"], -1):
                best[row["epoch"]] = value
                lines.setdefault((run, row["epoch"]), []).append((spent, value))
        ends[run.name] = spent
    if not lines:
        return None
    every = [point for points in lines.values() for point in points]
    text = duration if by_time else whole
    title = "time while the search ran" if by_time else "epochs trained by all trials together"
    x = _durations([*ends.values()], title) if by_time else linear(ends.values(), title, text, from_zero=True)
    y = linear([value for _, value in every], "best validation accuracy so far", percent)
    name = "time_s" if by_time else "epochs"
    rows = [(run.name, epoch, *point) for (run, epoch), points in lines.items() for point in points]
    summary = "A line per rung: accuracies after different numbers of epochs are not mixed."
    table = Table(("run", "rung_epoch", name, "best_val_accuracy"), rows)
    against = "time" if by_time else "epochs"
    plot = Plot(f"best-so-far-{against}", f"Best so far against {against}", summary, x, y, table, right=92)
    taken: list[float] = []
    for (run, epoch), points in sorted(lines.items(), key=lambda it: -it[1][-1][1]):
        number = facts.runs.index(run)
        several = len(facts.runs) > 1
        style = f"run{number % 6 + 1}" if several else shade(epoch, facts.fidelities)
        plot.step([*points, (ends[run.name], points[-1][1])], f"best-line {style}")
        height = plot.py(points[-1][1])
        while any(abs(height - other) < 12 for other in taken):  # labels keep apart
            height += 2
        taken.append(height)
        label = f"{run.name[:8]}, {epoch} ep." if several else f"{epoch} epochs"
        plot.marks.append(Mark("text", "label start", plot.px(ends[run.name]) + 6, height + 4, text=label))
    return plot


def timeline(facts: PageFacts, run: RunOnPage) -> Plot | None:
    """When each trial was trained, in the slots that the search had; failures are marked."""
    pieces = sorted(_pieces(run), key=lambda it: (it[0], it[1]))
    if not pieces:
        return None
    start = pieces[0][0]
    free: list[float] = []
    slot_of: dict[str, int] = {}
    placed = []
    for begin, end, it, epochs in pieces:
        slot = slot_of.get(it.key)
        if slot is None or free[slot] > begin + 1e-6:
            slot = next((place for place, until in enumerate(free) if until <= begin + 1e-6), len(free))
        if slot == len(free):
            free.append(0.0)
        free[slot], slot_of[it.key] = end, slot
        placed.append((begin - start, end - start, slot, it, epochs))
    slots = len(free)
    height = max(140, min(480, 60 + 30 * slots))
    y = categories([f"slot {place + 1}" for place in range(slots)], "")
    x = _durations([end for _, end, *_ in placed], "time since the first trial started")
    rows = [
        (it.row["trial"], slot + 1, begin, end, epochs, it.row["status"]) for begin, end, slot, it, epochs in placed
    ]
    failed = sum(it.failed for it in run.trials)
    summary = f"One bar per trial and stretch of training, {slots} at a time; stronger bars were trained longer."
    summary += f" {failed} failed: red." if failed else " None failed."
    table = Table(("trial", "slot", "start_s", "end_s", "epochs", "status"), rows)
    plot = Plot("timeline", "Trials over time", summary, x, y, table, height=height, left=56, run=run.name)
    thick = min(22.0, (height - 60) / slots * 0.8)
    for begin, end, slot, it, _ in placed:
        style = "bar failed" if it.failed else f"bar {shade(it.row['rung_epoch'], facts.fidelities)}"
        plot.box(begin, end, slot, thick, style, trial_text(it), it.key)
        if it.failed:
            plot.marks.append(
                Mark("text", "cross middle", plot.px(end), plot.py(slot) + 4, text="\N{MULTIPLICATION SIGN}")
            )
    return plot


def rungs_flow(run: RunOnPage) -> Plot | None:
    """How many trials reached each rung, and how many of those went on."""
    epochs = sorted({rung.epoch for it in run.trials for rung in it.rungs})
    if not epochs:
        return None
    rows: list[tuple[Any, ...]] = []
    launched = [it for it in run.trials if it.epochs or it.row["started_s"] is not None]
    here = launched
    for place, epoch in enumerate([0, *epochs]):
        values = [rung.val_accuracy for it in here for rung in it.rungs if rung.epoch == epoch]
        needed = [rung.needed for it in here for rung in it.rungs if rung.epoch == epoch and rung.needed is not None]
        following = epochs[place] if place < len(epochs) else None
        passed = [it for it in here if any(rung.epoch == following for rung in it.rungs)]
        rest = [it for it in here if it not in passed]
        finished = len(rest) if following is None else 0
        stopped = 0 if following is None else sum(it.row["status"] == "stopped" for it in rest)
        failed = 0 if following is None else sum(it.failed for it in rest)
        others = len(rest) - finished - stopped - failed
        middle = sorted(values)[len(values) // 2] if values else None
        bar = max((it for it in needed if math.isfinite(it)), default=None)
        rows.append((epoch, len(here), len(passed), stopped, failed, others, finished, middle, bar))
        here = passed
    columns = (
        "epoch",
        "reached",
        "went_on",
        "stopped",
        "failed",
        "open_or_other",
        "at_the_end",
        "median",
        "most_needed",
    )
    summary = "From left to right: the trials that started, and those that reached each rung. Grey went no further."
    x = categories(["start", *(f"epoch {epoch}" for epoch in epochs)], "")
    y = linear([0, len(launched)], "trials", whole, from_zero=True)
    plot = Plot("rungs", "Who was stopped where", summary, x, y, Table(columns, rows), run=run.name, bottom=56)
    wide = 0.14
    for place, (_, reached, passed, stopped, failed, *_) in enumerate(rows):
        plot.marks.append(_area(plot, place - wide, place + wide, (0, reached), (0, reached), "flow-node"))
        if passed:
            plot.marks.append(
                _area(plot, place + wide, place + 1 - wide, (0, passed), (0, passed), "flow-on", f"{passed} went on")
            )
        left = reached - passed
        if left and place < len(rows) - 1:
            plot.marks.append(
                _area(
                    plot, place + wide, place + 0.42, (passed, reached), (passed, passed), "flow-off", f"{left} did not"
                )
            )
            ended = [f"{stopped} stopped" if stopped else "", f"{failed} failed" if failed else ""]
            told = ", ".join(filter(None, ended)) or f"{left} open"
            plot.label(place + 0.2, reached - left * 0.12, told, shift=2, rise=0)
        plot.label(place, reached, f"{reached}", "middle", shift=0, rise=-4)
    return plot


def _area(
    plot: Plot, x0: float, x1: float, left: tuple[float, float], right: tuple[float, float], style: str, tip: str = ""
) -> Mark:
    a, b = plot.px(x0), plot.px(x1)
    low0, high0, low1, high1 = (plot.py(value) for value in (*left, *right))
    return Mark("path", style, path=f"M{a:g} {low0:g}L{b:g} {low1:g}V{high1:g}L{a:g} {high0:g}Z", text=tip)


def time_spent(run: RunOnPage) -> Plot | None:
    """Where the time of the search's slots went."""
    sessions = run.state.sessions.values()
    trained = [row for it in run.trials for row in it.epochs if row["reused"] is None]
    training, validation = sum(row["train_time_s"] for row in trained), sum(row["eval_time_s"] for row in trained)
    if not trained:
        return None
    last = max(row["time_s"] for row in trained)
    slots = sum((s.wall_time_s or max(0.0, last - s.started_s)) * max(1, s.concurrency) for s in sessions)
    rest = max(0.0, slots - training - validation) if slots else 0.0
    by_end: dict[str, float] = {}
    for it in run.trials:
        by_end[it.row["status"]] = by_end.get(it.row["status"], 0.0) + it.time_s
    rows = [("training", training), ("validation", validation), ("starting, saving, waiting", rest)]
    rows += [(f"of it, trials {status}", value) for status, value in sorted(by_end.items(), key=lambda it: -it[1])]
    rows = [row for row in rows if row[1] > 0]
    whole_time = training + validation + rest
    shares = [(name, value, value / whole_time) for name, value in rows]
    y = categories([name for name, _ in reversed(rows)], "")
    x = _durations([value for _, value in rows], "time of all slots together")
    summary = (
        f"{duration(whole_time)} of all slots together, {percent(round(training / whole_time, 3))} of it training."
    )
    table = Table(("what", "seconds", "share"), shares)
    height = 60 + 30 * len(rows)
    plot = Plot("time", "Time of all slots", summary, x, y, table, height=height, left=156, right=86, run=run.name)
    for place, (name, value, share) in enumerate(reversed(shares)):
        bad = any(status in name for status in ("diverged", "out-of-memory", "lost", "failed"))
        plot.box(0, value, place, 18, "bar failed" if bad else "bar f4")
        plot.label(value, place, f"{duration(value)}, {100 * share:.0f}%")
    return plot


def _ordered(run: RunOnPage) -> list[TrialOnPage]:
    return list(run.by_number.values())


def _clock(run: RunOnPage) -> Callable[[Row], float]:
    """What says how long the run's sessions had taken at the end of an epoch, without the pauses between them.

    Without the sessions of a record, it is the time since the first epoch ended.
    """
    starts: dict[int, float] = {}
    spent = 0.0
    for number, session in sorted(run.state.sessions.items()):
        starts[number] = session.started_s - spent
        spent += session.wall_time_s or 0.0
    first = min((row["time_s"] for it in run.trials for row in it.epochs), default=0.0)
    return lambda row: float(row["time_s"] - starts.get(row["session"], first))


def _pieces(run: RunOnPage) -> Iterator[tuple[float, float, TrialOnPage, int]]:
    """The stretches in which trials were trained: start and end in Unix seconds, the trial, and the epochs."""
    for it in run.trials:
        rows = [row for row in it.epochs if row["reused"] is None]
        begin, end, count = it.row["started_s"], None, 0
        for row in rows:
            took = row["train_time_s"] + row["eval_time_s"]
            first = row["time_s"] - took
            if end is not None and first - end > took + 5:  # it waited: stopped and confirmed later, or another session
                yield begin, end, it, count
                begin, count = first, 0
            begin, end, count = (first if begin is None else begin), row["time_s"], count + 1
        if end is None and begin is not None:
            end = it.row["ended_s"]
        if begin is not None and end is not None:
            yield min(begin, end), end, it, count


def _durations(values: Sequence[float], title: str) -> Scale:
    """A linear axis from zero in the unit that suits the longest duration."""
    longest = max(values, default=0.0)
    size, unit = next(
        (pair for pair in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")) if longest > 2 * pair[0]), (1.0, "s")
    )
    axis = linear([value / size for value in values], f"{title}, {unit}", lambda value: f"{value:g}", from_zero=True)
    return Scale(axis.title, 0.0, axis.high * size, axis.ticks)
