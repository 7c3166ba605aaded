"""The report of runs: what the page says and draws is what the record says, as text, on its own."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from results import Record, rank_trials
from results.console import run_app
from results.pages.page import Report
from results.pages.run_facts import page_facts
from results.pages.scales import categories, duration, linear, logarithmic, percent
from results.pages.search_plots import pareto_front
from results.pages.searched_fields import SearchedField, explained, searched_fields
from results.report import app
from search.config import compose
from search.runs.folder import write_run_file
from tests.support.cli import ROOT
from tests.support.results_fixtures import run_trial, start_session, write_run

EVIL = "<script>alert('x')</script>\"'&amp;<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """The elements and texts of a page; fails where an element is closed that is not the open one."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self) -> str:
        """What a reader sees."""
        return " ".join(" ".join(data for tag, data in self.texts if tag not in ("script", "style")).split())

    def data(self) -> dict[str, Any]:
        """The numbers of the plots."""
        (found,) = [data for tag, data in self.texts if tag == "script" and data.startswith("{")]
        return dict(json.loads(found))


def configured(folder: Path, **keys: Any) -> None:
    """Writes the `run.json` of a run with rungs at 2 and 4 epochs."""
    keys = {
        "dataset": "cifar10",
        "trials": 6,
        "seed": 3,
        "max_epochs": 4,
        "grace_epochs": 2,
        "reduction_factor": 2,
    } | keys
    write_run_file(folder, compose(None, None, keys, []), val_images=5000)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A storage with the run `alpha`: six trials in every status."""
    configured(tmp_path / "alpha")
    write_run(tmp_path / "alpha")
    return tmp_path


def page_of(storage: Path, *names: str) -> Page:
    return Page(Report.of(page_facts(storage, list(names))).html())


def test_the_page_says_who_won_and_how_sure_that_is(runs: Path) -> None:
    text = page_of(runs, "alpha").text()
    assert "Trial 2 won: 90.0 ± 0.8% at 20,000 parameters (0% of the budget); none of the other 2 trials" in text
    assert "at epoch 2, a trial went on if it was among the best 50% so far (ASHA)" in text
    assert "On the test set it has 88.0%" in text
    assert "the run opened the test set 1 time" in text
    assert "The best of 6 trials" not in text  # which is for those that were not measured on the test set


def test_ties_are_counted(tmp_path: Path) -> None:
    configured(tmp_path / "a")
    with Record(tmp_path / "a") as record:
        start_session(record)
        for trial, value in enumerate((0.9, 0.895, 0.893, 0.5)):
            run_trial(record, trial, {2: 0.5, 4: value})
    assert "; 2 other trials are within noise." in page_of(tmp_path, "a").text()


def test_no_request_leaves_the_page(runs: Path) -> None:
    page = page_of(runs, "alpha")
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img"), tag
        assert not {name for name in attributes if name.startswith("on")}
        for name in ("src", "href", "action", "data", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)
    style = "".join(data for tag, data in page.texts if tag == "style")
    assert "@import" not in style
    assert "url(" not in style
    (policy,) = [it for tag, it in page.elements if it.get("http-equiv") == "Content-Security-Policy"]
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_names_errors_and_classes_stay_text(tmp_path: Path) -> None:
    name = "<script>alert(1)<"
    configured(tmp_path / name)
    with Record(tmp_path / name) as record:
        start_session(record)
        for trial in range(4):
            run_trial(record, trial, {2: 0.5, 4: 0.6 + trial / 10}, optimizer=EVIL if trial % 2 else "sgd")
        run_trial(record, 4, {}, "failed", error=EVIL)
        classes = [EVIL, "dog"]
        record.append(
            "evaluated",
            trial=3,
            epoch=4,
            test_accuracy=0.75,
            test_loss=0.4,
            classes=classes,
            confusion=[[3, 1], [1, 3]],
        )
    harmless, page = page_of(tmp_path, name), Report.of(page_facts(tmp_path, [name]))
    tags = [tag for tag, _ in harmless.elements]
    assert tags.count("script") == 2  # the data and ours
    assert "img" not in tags
    text = harmless.text()
    assert text.count(EVIL) >= 4  # the error, the class and the optimizer
    assert name in text
    page.write_figures(tmp_path / "figures")
    for path in (tmp_path / "figures").glob("*.svg"):
        assert not list(ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}script"))


def test_the_table_has_every_trial_and_the_numbers_of_the_leaderboard(runs: Path) -> None:
    page, board = page_of(runs, "alpha"), rank_trials(runs, ["alpha"])
    keys = [it["data-key"] for tag, it in page.elements if tag == "tr" and "data-key" in it]
    assert keys == [f"alpha/{trial}" for trial in board["trial"]]
    columns, values = (page.data()["plots"]["accuracy-params"][name] for name in ("columns", "values"))
    shown = dict(zip(columns, values, strict=True))
    known = board[board["rank"].notna()]
    ours = [place for place, trial in enumerate(shown["trial"]) if isinstance(trial, int)]
    for column, name in (
        ("trial", "trial"),
        ("params", "params"),
        ("val_accuracy", "val_accuracy"),
        ("low", "val_accuracy_low"),
    ):
        assert [shown[column][place] for place in ours] == known[name].tolist()
    assert [shown["epochs"][place] for place in ours] == known["rung_epoch"].tolist()


def test_figures_are_files_with_the_numbers_of_the_page(runs: Path, tmp_path: Path, capsys: Any) -> None:
    code = run_app(
        app, ["alpha", "--storage", str(runs), "-o", str(tmp_path / "r.html"), "--figures", str(tmp_path / "f")]
    )
    assert (code, capsys.readouterr().err) == (0, "")
    plots = Page((tmp_path / "r.html").read_text()).data()["plots"]
    files = {path.stem: path for path in (tmp_path / "f").glob("*.svg")}
    assert files.keys() == plots.keys()
    assert {
        "accuracy-params",
        "best-so-far-epochs",
        "best-so-far-time",
        "curves",
        "rungs",
        "timeline",
        "time",
    } <= files.keys()
    for name, path in files.items():
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        with path.with_suffix(".csv").open() as file:
            header, *rows = csv.reader(file)
        assert header == plots[name]["columns"]
        columns = [["" if value is None else str(value) for value in column] for column in plots[name]["values"]]
        assert [list(column) for column in zip(*rows, strict=True)] == columns


def test_fidelities_never_share_a_mark(runs: Path) -> None:
    plots = page_of(runs, "alpha").data()["plots"]
    best = dict(zip(plots["best-so-far-epochs"]["columns"], plots["best-so-far-epochs"]["values"], strict=True))
    by_rung: dict[int, list[float]] = {}
    for epoch, value in zip(best["rung_epoch"], best["best_val_accuracy"], strict=True):
        by_rung.setdefault(epoch, []).append(value)
    assert by_rung == {2: [0.6, 0.7], 4: [0.8, 0.9]}
    assert {name.rpartition("-")[2] for name in plots if name.startswith("slice-")} == {"2"}  # 4 has two trials
    front = dict(zip(plots["accuracy-params"]["columns"], plots["accuracy-params"]["values"], strict=True))
    assert {epoch for epoch, on in zip(front["epochs"], front["on_front"], strict=True) if on} == {4}


def test_the_flow_of_rungs_adds_up(runs: Path) -> None:
    rungs = page_of(runs, "alpha").data()["plots"]["rungs"]
    rows = [dict(zip(rungs["columns"], row, strict=True)) for row in zip(*rungs["values"], strict=True)]
    assert [row["reached"] for row in rows] == [5, 4, 2]
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        parts = ("went_on", "stopped", "failed", "open_or_other", "at_the_end")
        assert row["reached"] == sum(row[part] for part in parts)
        assert row["went_on"] == (following["reached"] if following else 0)
    assert [row["stopped"] for row in rows] == [0, 1, 0]
    assert [row["failed"] for row in rows] == [1, 1, 0]


def test_two_runs_are_compared(runs: Path) -> None:
    configured(runs / "beta", sampler="random")
    write_run(runs / "beta")
    page = page_of(runs, "alpha", "beta")
    text = page.text()
    assert "The best trials are tied: their 95% intervals overlap" in text
    assert 'sampler "tpe" "random"' in text
    assert len([it for tag, it in page.elements if tag == "tr" and "data-key" in it]) == 12
    assert {"curves-run-1", "curves-run-2", "best-so-far-epochs"} <= page.data()["plots"].keys()


def test_without_the_configuration_it_still_reads(tmp_path: Path) -> None:
    text = page_of(write_run(tmp_path / "alpha").parent, "alpha").text()
    assert "Trial 2 won: 90.0% at 20,000 parameters; how many images" in text


def test_where_validation_splits_differ_the_best_mean_wins(tmp_path: Path) -> None:
    configured(tmp_path / "a", validation_splits=3, replicates=3)
    with Record(tmp_path / "a") as record:
        start_session(record)
        for trial, value in enumerate((0.7, 0.8, 0.9, 0.79, 0.81, 0.83)):
            run_trial(record, trial, {2: 0.5, 4: value}, blocks=(1 + trial // 3, 2))
        record.append("session-ended", session=1, reason="done", wall_time_s=12.5)
    (run,) = page_facts(tmp_path, ["a"]).runs
    assert [(it.row["trial"], it.row["rank"]) for it in run.trials] == [(5, 1), (4, 1), (3, 1), (2, 2), (1, 2), (0, 2)]
    text = page_of(tmp_path, "a").text()
    assert "Blocks 2-2, channels 16-32 won: 81.0 ± 1.2% (mean and standard error of 3 trainings)" in text


def test_a_run_without_a_rung_has_no_winner(tmp_path: Path) -> None:
    configured(tmp_path / "a")
    with Record(tmp_path / "a") as record:
        start_session(record)
        run_trial(record, 0, {}, "failed", error="out")
    assert "No trial has reached a rung yet, so there is no winner." in page_of(tmp_path, "a").text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beta", "-o", "r.html"], "no run 'beta'"),
        (["alpha", "-o", "alpha/r.html"], "is in the folder of a run; name another folder"),
        (["alpha", "-o", "there.html"], "there.html exists; name another file, or replace it with --force"),
        (["alpha", "-o", "r.html", "--figures", "there.html"], "there.html is a file; name a folder"),
        (["alpha", "-o", "r.html", "--figures", "full"], "full is not empty; name a new folder"),
        (["empty", "-o", "r.html"], "empty: no trial yet"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    (runs / "there.html").write_text("mine")
    (runs / "full").mkdir()
    (runs / "full" / "mine.svg").write_text("mine")
    with Record(runs / "empty") as record:
        start_session(record)
    assert run_app(app, ["--storage", ".", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert (runs / "there.html").read_text() == "mine"


def test_it_needs_neither_torch_nor_ray(runs: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from results.pages.page import Report; "
        "from results.pages.run_facts import page_facts; "
        f"Report.of(page_facts(Path({str(runs)!r}), ['alpha'])).html(); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not {"torch", "ray", "optuna"} & set(loaded.split())


def test_a_thousand_trials_are_at_most_five_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # of 20,000 events, for a minute
    configured(tmp_path / "a", trials=1000, max_epochs=64, grace_epochs=4, reduction_factor=4)
    with Record(tmp_path / "a") as record:
        start_session(record)
        for trial in range(1000):
            last = (4, 16, 64)[(trial % 4 == 0) + (trial % 16 == 0)]
            rungs = {epoch: 0.4 + (trial * 7919 % 997) / 3333 + epoch / 400 for epoch in (4, 16, 64) if epoch <= last}
            run_trial(
                record, trial, rungs, "completed" if last == 64 else "stopped", params=10_000 + trial * 4_989,
                blocks=(1 + trial % 3, 1 + trial % 4, 1 + trial % 5), learning_rate=0.001 * (1 + trial),
                weight_decay=1e-6 * (1 + trial), label_smoothing=trial % 3 / 10, optimizer=("sgd", "muon")[trial % 2],
                dropout=trial % 7 / 10, mixup_alpha=trial % 11 / 10,
            )  # fmt: skip
    html = Report.of(page_facts(tmp_path, ["a"])).html()
    assert len(html.encode()) < 5_000_000
    assert sum(1 for _ in re.finditer("data-key=", html)) == 1000


def test_axes_hold_their_values_between_round_ends() -> None:
    axis = linear([0.93, 0.61], "accuracy", percent)
    assert (axis.low, axis.high) == (pytest.approx(0.6), pytest.approx(1.0))
    assert [text for _, text in axis.ticks] == ["60%", "70%", "80%", "90%", "100%"]
    assert axis.at(0.8) == pytest.approx(0.5)
    log = logarithmic([150_000, 4_900_000], "parameters", str)
    assert log.logarithmic
    assert (log.low, log.high) == (pytest.approx(100_000), pytest.approx(5_000_000))
    assert not logarithmic([3, 4], "", str).logarithmic
    for only in ([0.5], [0.0], [], [float("nan")]):
        assert 0 <= linear(only, "", percent).at(0.5 if only != [0.0] else 0.0) <= 1
    assert [place for place, _ in categories(["a", "b"], "").ticks] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25 s"), (45, "45 s"), (60, "1 min"), (3599, "1 h"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_durations_are_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_front_is_what_brute_force_finds() -> None:
    points: list[Any] = [((7 * n) % 11, (5 * n) % 13, n) for n in range(40)]
    found = pareto_front(points)
    best = {
        (cost, value)
        for cost, value, _ in points
        if not any((c <= cost and v >= value) and (c, v) != (cost, value) for c, v, _ in points)
    }
    assert {(cost, value) for cost, value, _ in found} == best


def test_importance_is_one_for_what_decides_and_none_for_what_does_not() -> None:
    accuracies = {trial: 0.5 + (trial % 2) / 10 + trial // 8 * 1e-9 for trial in range(16)}
    decides = SearchedField("optimizer", {trial: ("sgd", "muon")[trial % 2] for trial in accuracies}, False, False)
    nothing = SearchedField("cutout", {trial: trial // 2 % 2 for trial in accuracies}, True, False)
    assert explained(decides, accuracies) == pytest.approx(1)
    assert explained(nothing, accuracies) == 0
    assert explained(decides, {0: 0.5, 1: 0.6}) is None


def test_searched_fields_are_those_that_differ(runs: Path) -> None:
    (run,) = page_facts(runs, ["alpha"]).runs
    assert [field.name for field in run.fields] == ["stages", "stage 1 blocks", "stage 2 blocks"]
    assert searched_fields([run.trials[0].row], {}) == []
