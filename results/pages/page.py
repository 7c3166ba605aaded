"""Writes a report: one HTML file of everything, and its plots as SVG with their numbers as CSV."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from results.pages.network_drawing import drawing
from results.pages.plot import FIDELITIES, Plot, shade
from results.pages.run_facts import PageFacts, RunOnPage, TrialOnPage
from results.pages.scales import duration
from results.pages.search_plots import (
    against_costs,
    best_so_far,
    learning_curves,
    rungs_flow,
    time_spent,
    timeline,
)
from results.pages.sentences import (
    accuracy_text,
    choice_sentences,
    layout_text,
    state_text,
    test_sentence,
    winner_sentence,
)
from results.pages.settings_plots import RungPlots, plots_by_rung
from results.ranking.ranking_rule import MID_COURSE, RANKING_RULE
from results.ranking.ties import TIES
from results.record.files import replace_file
from results.trial_page.training_again import recipe_toml, training_command

MOST_CLASSES: Final = 20
"""The classes up to which a confusion matrix is a table; for more, the commonest confusions are listed."""


@dataclass(frozen=True)
class RunSection:
    """What a page shows of one run, drawn."""

    run: RunOnPage
    costs: list[Plot]
    curves: Plot | None
    rungs: Plot | None
    timeline: Plot | None
    time: Plot | None
    settings: list[RungPlots]

    def plots(self) -> Iterator[Plot]:
        """All plots of the run."""
        yield from self.costs
        yield from (plot for plot in (self.curves, self.rungs, self.timeline, self.time) if plot)
        for rung in self.settings:
            yield from (plot for plot in (rung.importance, rung.parallel) if plot)
            yield from rung.slices


@dataclass(frozen=True)
class Report:
    """A page with its plots drawn."""

    facts: PageFacts
    sections: list[RunSection]
    progress: list[Plot]
    """The best so far of all runs."""

    @classmethod
    def of(cls, facts: PageFacts) -> Report:
        """The report of these facts."""
        sections = [
            RunSection(
                run,
                against_costs(facts, run),
                learning_curves(facts, run),
                rungs_flow(run),
                timeline(facts, run),
                time_spent(run),
                plots_by_rung(facts, run),
            )
            for run in facts.runs
        ]
        progress = [best_so_far(facts, by_time=False), best_so_far(facts, by_time=True)]
        return cls(facts, sections, [plot for plot in progress if plot])

    def plots(self) -> dict[str, Plot]:
        """All plots by the names of their files, which hold the run's number if there are several."""
        named = {plot.name: plot for plot in self.progress}
        for number, section in enumerate(self.sections, start=1):
            after = f"-run-{number}" if len(self.sections) > 1 else ""
            named |= {f"{plot.name}{after}": plot for plot in section.plots()}
        return named

    def html(self) -> str:
        """The page, which needs no other file."""
        plots = self.plots()
        script = _source("report.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        several = len(self.facts.runs) > 1
        return (
            _environment()
            .get_template("report.html")
            .render(
                facts=self.facts,
                sections=self.sections,
                progress=self.progress,
                names={id(plot): name for name, plot in plots.items()},
                data={name: _data(plot) for name, plot in plots.items()},
                details={it.key: [it.ending, _show(run, it)] for run in self.facts.runs for it in run.trials},
                searched={run.name: _shown_fields(run) for run in self.facts.runs},
                several=several,
                script=Markup(script),  # ours, from the package
                style=Markup(_source("report.css") + _figure_style(_ON_PAGE)),
                digest=digest,
                colour=_ON_PAGE,
                rule=RANKING_RULE,
                ties=TIES,
                mid_course=MID_COURSE,
                made=time.strftime("%Y-%m-%d %H:%M"),
                most_classes=MOST_CLASSES,
                size=_place(self.facts),
                budgets={run.name: run.budget for run in self.facts.runs},
            )
        )

    def write_figures(self, folder: Path) -> list[Path]:
        """Writes each plot to `folder` as NAME.svg, with its numbers as NAME.csv; returns the SVG files.

        Raises:
            OSError: a file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        template = _environment().get_template("figure.svg")
        written = []
        for name, plot in self.plots().items():
            path = folder / f"{_file_name(name)}.svg"
            text = template.render(plot=plot, name=name, style=Markup(_figure_style(_ON_PAPER)))
            replace_file(path, text.encode())
            replace_file(path.with_suffix(".csv"), plot.table.csv().encode())
            written.append(path)
        return written


_ON_PAGE: Final = {
    **{name: f"var(--{name})" for name in ("ink", "soft", "line", "accent", "bad", "paper")},
    **{f"f{number}": f"var(--f{number})" for number in range(1, FIDELITIES + 1)},
}
_ON_PAPER: Final = {
    **{"ink": "#1b1f24", "soft": "#57606a", "line": "#d8dee4", "accent": "#b35900", "bad": "#c0262d", "paper": "#fff"},
    **{"f1": "#7fadd6", "f2": "#5a94c8", "f3": "#3a7bb8", "f4": "#2062a2", "f5": "#0f4784", "f6": "#072b5c"},
}
"""Colours of a figure for print, by the names that the style sheet of figures uses."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("results.pages"),
        autoescape=True,  # whatever a file is called
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "accuracy": accuracy_text,
        "layout": layout_text,
        "duration": duration,
        "winner": winner_sentence,
        "state": state_text,
        "choice": choice_sentences,
        "tested": test_sentence,
        "drawn": drawing,
        "recipe": recipe_toml,
        "shade": shade,
        "share": lambda value: f"{100 * value:.1f}%",
        "confusion": _confusion,
        "commands": _commands,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "setting": _setting,
        "identity": id,
    }
    return environment


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _figure_style(colours: dict[str, str]) -> str:
    return _environment().get_template("figure.css").render(colour={k: Markup(v) for k, v in colours.items()})


def _data(plot: Plot) -> dict[str, Any]:
    return {"title": plot.title, "run": plot.run, "columns": plot.table.columns, "values": plot.table.by_column()}


def _shown_fields(run: RunOnPage) -> list[Any]:
    """The searched fields of the recipe, which the leaderboard shows beside the layout."""
    return [field for field in run.fields if f"recipe_{field.name.replace(' ', '_')}" in run.trials[0].row]


def _setting(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _place(facts: PageFacts) -> dict[str, float]:
    """The range of accuracies that the bars of the leaderboard span."""
    lows = [it.row["val_accuracy_low"] or it.accuracy for it in facts.trials if it.accuracy is not None]
    highs = [it.row["val_accuracy_high"] or it.accuracy for it in facts.trials if it.accuracy is not None]
    return {"low": min(lows, default=0.0), "high": max(highs, default=1.0)}


def _confusion(run: RunOnPage) -> dict[str, Any] | None:
    """The winner's answers for the test set, if they were recorded: matrix, classes, accuracies, confusions."""
    if run.winner is None:
        return None
    state = run.state.trials.get(run.winner.trial["trial"])
    measured = state.tests.get(state.test_epoch or 0) if state else None
    if measured is None or not measured.confusion:
        return None
    names = measured.classes or [str(number) for number in range(len(measured.confusion))]
    wrong = [
        (count, names[row], names[column])
        for row, counts in enumerate(measured.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    sums = [sum(counts) for counts in measured.confusion]
    right = [counts[row] for row, counts in enumerate(measured.confusion)]
    return {
        "names": names,
        "rows": [
            [(count, count / (total or 1)) for count in counts]
            for counts, total in zip(measured.confusion, sums, strict=True)
        ],
        "accuracies": sorted(zip([r / (s or 1) for r, s in zip(right, sums, strict=True)], names, sums, strict=True)),
        "wrong": sorted(wrong, reverse=True)[:10],
    }


def _commands(run: RunOnPage) -> list[tuple[str, str]]:
    """What one does next with a run, and the command that does it."""
    there = _there(run)
    found = [("See its leaderboard", f"python -m results.leaderboard {there}")]
    if run.winner is not None:
        number = run.winner.trial["trial"]
        found.append((f"See trial {number} in full", _show(run, run.by_number[number])))
        if run.config:
            again = training_command(run.folder.name, number, str(run.folder.parent))
            found.append((f"Train trial {number} again", again))
    found.append(("Continue the search", f"python -m search.run --resume {there}"))
    found.append(("Measure the best network on the test set", f"python -m search.evaluate {there}"))
    return found


def _show(run: RunOnPage, trial: TrialOnPage) -> str:
    name, _, storage = _there(run).partition(" ")
    return f"python -m results.show {name} {trial.row['trial']} {storage}".rstrip()


def _there(run: RunOnPage) -> str:
    """The arguments of a command that name the run."""
    storage = str(run.folder.parent)
    return shlex.quote(run.folder.name) + ("" if storage == "runs" else f" --storage {shlex.quote(storage)}")


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
