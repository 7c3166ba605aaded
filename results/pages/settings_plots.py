"""The plots of what mattered: slices, parallel coordinates and importance, each at one number of epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from results.pages.plot import Mark, Plot, Table, shade
from results.pages.run_facts import PageFacts, RunOnPage
from results.pages.scales import Scale, categories, linear, logarithmic, percent, whole
from results.pages.searched_fields import SearchedField, explained

FEWEST: Final = 3
"""The fewest trials for which a rung has plots."""
MOST_FIELDS: Final = 12
"""The fields with a slice or an axis: those that explain the most."""


class RungPlots(NamedTuple):
    """What mattered for the accuracy after one number of epochs."""

    epoch: int
    trials: int
    importance: Plot | None
    slices: list[Plot]
    parallel: Plot | None


def plots_by_rung(facts: PageFacts, run: RunOnPage) -> list[RungPlots]:
    """The plots for every rung that enough trials of `run` reached, the one with the most trials first."""
    found = []
    for epoch in facts.fidelities:
        reached = {
            number: rung.val_accuracy
            for number, it in run.by_number.items()
            for rung in it.rungs
            if rung.epoch == epoch
        }
        accuracies = {number: value for number, value in reached.items() if math.isfinite(value)}
        fields = [field for field in run.fields if len({field.values.get(it) for it in accuracies} - {None}) > 1]
        if len(accuracies) < FEWEST or not fields:
            continue
        shares = {field.name: explained(field, accuracies) for field in fields}
        fields = sorted(fields, key=lambda field: -(shares[field.name] or 0.0))
        shown = fields[:MOST_FIELDS]
        style = shade(epoch, facts.fidelities)
        found.append(
            RungPlots(
                epoch,
                len(accuracies),
                _importance(run, epoch, shares, fields, style, len(accuracies)),
                [_slice(run, epoch, field, accuracies, style) for field in shown],
                _parallel(run, epoch, shown, accuracies) if len(shown) > 1 else None,
            )
        )
    return sorted(found, key=lambda it: -it.trials)


def _importance(
    run: RunOnPage, epoch: int, shares: dict[str, float | None], fields: list[SearchedField], style: str, count: int
) -> Plot | None:
    rows = [(field.name, share) for field in fields if (share := shares[field.name]) is not None]
    if not rows:
        return None
    table = Table(("field", "share_of_variance"), rows)
    summary = (
        f"How much of the differences between the accuracies of {count} trials after {epoch} epochs each field "
        "explains alone, with chance taken off. Fields that only work together explain little alone."
    )
    names = [name for name, _ in reversed(rows)]
    x = linear([0.1, *(share for _, share in rows)], "share of the variance explained", percent, from_zero=True)
    plot = Plot(
        f"importance-epoch-{epoch}",
        f"Importance after {epoch} epochs",
        summary,
        x,
        categories(names, ""),
        table,
        height=60 + 24 * len(rows),
        left=150,
        right=48,
        run=run.name,
    )
    for place, (_, share) in enumerate(reversed(rows)):
        plot.box(0, share, place, 14, f"bar {style}")
        plot.label(share, place, percent(round(share, 2)))
    return plot


def _axis(field: SearchedField) -> tuple[Scale, Callable[[Any], float]]:
    names = field.names
    if not field.number or len(names) <= 5:
        texts = [f"{name:.3g}" if isinstance(name, float) else str(name) for name in names]
        return categories([text if len(text) < 16 else f"{text[:14]}…" for text in texts], field.name), names.index
    return (logarithmic if field.logarithmic else _linear)(names, field.name, whole), float


def _linear(values: list[Any], title: str, text: Callable[[float], str]) -> Scale:
    return linear(values, title, text, most=4)


def _slice(run: RunOnPage, epoch: int, field: SearchedField, accuracies: dict[int, float], style: str) -> Plot:
    x, place = _axis(field)
    rows = [(field.values[trial], value, trial) for trial, value in accuracies.items() if trial in field.values]
    y = linear(accuracies.values(), "", percent, most=4)
    table = Table(("trial", field.name, "val_accuracy"), [(trial, setting, value) for setting, value, trial in rows])
    name = field.name.replace(" ", "-")
    summary = f"Accuracy after {epoch} epochs over {field.name}, a dot for each of {len(rows)} trials."
    plot = Plot(
        f"slice-{name}-epoch-{epoch}",
        field.name,
        summary,
        x,
        y,
        table,
        width=240,
        height=170,
        left=42,
        right=20,
        top=10,
        bottom=36,
        run=run.name,
    )
    plot.points([(place(setting), value) for setting, value, _ in rows], f"points {style}")
    return plot


def _parallel(run: RunOnPage, epoch: int, fields: list[SearchedField], accuracies: dict[int, float]) -> Plot:
    fields = fields[:8]  # more axes are too narrow to read
    axes = [_axis(field) for field in fields]
    y = linear(accuracies.values(), "", percent)
    titles = [*(field.name for field in fields), "accuracy"]
    x = Scale("", 0.0, float(len(fields)), ())
    rows = [
        (trial, *(field.values.get(trial) for field in fields), value) for trial, value in sorted(accuracies.items())
    ]
    best = set(sorted(accuracies, key=lambda trial: -accuracies[trial])[: max(1, len(accuracies) // 10)])
    summary = (
        f"A line per trial from field to field to its accuracy after {epoch} epochs; the best "
        f"{'one is' if len(best) == 1 else f'{len(best)} are'} strong."
    )
    plot = Plot(
        f"parallel-epoch-{epoch}",
        f"Parallel coordinates after {epoch} epochs",
        summary,
        x,
        Scale("", 0.0, 1.0, ()),
        Table(("trial", *titles), rows),
        width=720,
        height=330,
        left=40,
        right=56,
        top=40,
        bottom=16,
        grid=False,
        run=run.name,
    )
    for number, title in enumerate(titles):
        scale = y if number == len(fields) else axes[number][0]
        plot.marks.append(Mark("path", "axis-line", path=f"M{plot.px(number):g} {plot.py(0):g}V{plot.py(1):g}"))
        words = title if len(title) <= 16 else f"{title[:15]}…"
        plot.marks.append(Mark("text", "label middle", plot.px(number), 14 if number % 2 else 28, text=words))
        for at, text in scale.ticks:
            if -0.01 <= at <= 1.01:
                end = number == len(fields)
                shift = 5 if end else -5
                plot.marks.append(
                    Mark(
                        "text", f"tick {'start' if end else 'end'}", plot.px(number) + shift, plot.py(at) + 4, text=text
                    )
                )
    for trial in sorted(accuracies, key=lambda trial: trial in best):
        points = [
            (float(number), scale.at(place(field.values[trial])))
            for number, (field, (scale, place)) in enumerate(zip(fields, axes, strict=True))
            if trial in field.values
        ]
        points.append((float(len(fields)), y.at(accuracies[trial])))
        plot.line(
            points, "curve best" if trial in best else "curve", f"trial {trial}: {percent(round(accuracies[trial], 4))}"
        )
    return plot
