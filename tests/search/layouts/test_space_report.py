"""The report on a space: exact against brute force, estimates within their errors, and how it is printed."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from rich.console import Console

from model_zoo import LayoutError, ResNetLayout, count_params
from model_zoo.blocks import Form, canonical
from search.errors import EmptySpaceError
from search.layouts import LayoutSpace
from search.layouts.report import BINS, SpaceReport, make_report
from search.layouts.report_text import print_report
from tests.support.cli import run
from tests.support.examples import examples
from tests.support.zoo_fixtures import FIGURES, brute_force, combinations, even, spaces, unbounded

SMALL: dict[str, Any] = {
    "stages": [2, 3],
    "blocks": [1, 3],
    "channels": [8, 16, 24],
    "min_params": 5_000,
    "max_params": 40_000,
}
FILTERED: dict[str, Any] = {"max_depth": 16, "max_flops": 15_000_000, "max_activation_bytes": 550_000}


def printed(report: SpaceReport) -> str:
    text = io.StringIO()
    print_report(report, Console(file=text, width=120))
    return text.getvalue()


def row(layout: ResNetLayout, space: LayoutSpace) -> dict[str, Any]:
    figures = {name: figure(layout, space.image_size) for name, figure in FIGURES.items()}
    return figures | {"layout_id": layout.layout_id}


def misfitting(space: LayoutSpace) -> set[tuple[Any, ...]]:
    """The combinations of choices that cannot be built, stems by their channels."""
    found = set()
    for fields in combinations(space):
        stem, form = fields[4] or fields[1][0], canonical(Form(*fields[5:]))
        try:
            ResNetLayout(*fields[:5], **form._asdict())
        except LayoutError:
            found.add((*fields[:4], stem, form))
    return found


@examples(60)
@given(space=spaces())
def test_an_exact_report_is_that_of_brute_force_and_its_removals_sum_up(space: LayoutSpace) -> None:
    feasible = set(brute_force(space))
    if not feasible:
        with pytest.raises(EmptySpaceError):
            make_report(space, 3, 0)
        return
    report = make_report(space, 3, 0)
    anything = unbounded(space).model_copy(update={"channel_order": "free"})
    misfits = 0 if space.layouts else len(misfitting(anything))
    assert report.total == len(set(brute_force(anything))) + misfits
    in_order = 0 if space.layouts else len(misfitting(space))
    removed = {removal.by: removal.layouts for removal in report.removed}
    assert removed.get("choices of blocks and stem that do not fit the widths", 0) == in_order
    assert report.feasible == sum(report.counts) == len(feasible)
    assert report.total - sum(removal.layouts for removal in report.removed) == report.feasible
    assert {report.standard_error, *(removal.standard_error for removal in report.removed)} == {0.0}
    rows = [row(layout, space) for layout in feasible]
    params = [cells["params"] for cells in rows]
    assert (report.smallest["params"], report.largest["params"]) == (min(params), max(params))
    for cells in (report.smallest, report.largest, *report.samples):
        assert cells in rows
    assert (report.edges[0], report.edges[-1]) == (space.min_params, space.max_params)
    last = len(report.counts) - 1
    for i, count in enumerate(report.counts):
        low, high = report.edges[i : i + 2]
        assert count == sum(low <= p < high or (i == last and p == high) for p in params)
    assert len(report.samples) == len({cells["layout_id"] for cells in report.samples}) == min(3, len(feasible))
    assert SpaceReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


@pytest.mark.parametrize("changed", [{}, {"max_depth": 14}, {"predicate": even}])
def test_samples_are_no_more_than_there_are_layouts(changed: dict[str, Any]) -> None:
    space = LayoutSpace.model_validate(SMALL | {"stages": [2], "channels": [16, 24]} | changed)
    feasible = {layout.layout_id for layout in brute_force(space)}
    for samples in (0, 1, len(feasible) - 1, len(feasible), 10 * len(feasible)):
        shown = [cells["layout_id"] for cells in make_report(space, samples, 0).samples]
        assert len(shown) == len(set(shown)) == min(samples, len(feasible))
        assert set(shown) <= feasible


@pytest.mark.parametrize("predicate", [None, even])
@pytest.mark.parametrize("seed", range(5))
def test_estimates_are_within_five_standard_errors(
    seed: int, predicate: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = LayoutSpace.model_validate(SMALL | FILTERED | {"predicate": predicate})
    exact = make_report(space, 0, seed)
    for name, limit in (("MOST_WALKED", 50), ("MOST_ASKED", 50), ("DRAWN", 400), ("DRAWN_TO_ASK", 300)):
        monkeypatch.setattr(f"search.layouts.report.{name}", limit)
    report = make_report(space, 4, seed)
    assert report.total == exact.total
    assert report.standard_error > 0
    assert abs(report.feasible - exact.feasible) <= 5 * report.standard_error
    truths = {removal.by: removal for removal in exact.removed}
    estimated = [removal for removal in report.removed if removal.standard_error]
    assert len(estimated) == len(space.filters) + (predicate is not None)
    for removal in estimated:
        assert abs(removal.layouts - truths[removal.by].layouts) <= 5 * removal.standard_error
    for removal in report.removed:
        assert removal in estimated or removal == truths[removal.by]
    assert sum(report.counts) == pytest.approx(report.feasible, abs=BINS)
    for cells in (report.smallest, report.largest, *report.samples):
        assert exact.smallest["params"] <= cells["params"] <= exact.largest["params"]
    text = printed(report)
    assert f"about {report.feasible:,} ± {report.standard_error:,.0f} feasible" in text
    assert text.count("about ") == 1 + len(estimated)
    assert "about" not in printed(exact)


def test_an_estimate_of_none_or_all_is_no_certainty(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = LayoutSpace.model_validate(SMALL)
    within = len(set(brute_force(everything)))
    one = next(brute_force(everything))
    for name, limit in (("MOST_ASKED", 50), ("DRAWN_TO_ASK", 60)):
        monkeypatch.setattr(f"search.layouts.report.{name}", limit)
    rare = make_report(everything.model_copy(update={"predicate": one.__eq__}), 5, 0)
    common = make_report(everything.model_copy(update={"predicate": one.__ne__}), 5, 0)
    assert abs(rare.feasible - 1) <= 5 * rare.standard_error
    assert abs(common.feasible - (within - 1)) <= 5 * common.standard_error
    assert rare.feasible >= 1
    assert min(rare.standard_error, common.standard_error) > 0
    assert {cells["layout_id"] for cells in rare.samples} == {one.layout_id}
    assert rare.smallest == rare.largest == row(one, everything)
    for report in (rare, common):
        assert f"about {report.feasible:,} ± " in printed(report)


def test_the_report_on_a_large_unfiltered_space_is_exact() -> None:
    report = make_report(LayoutSpace(), 5, 0)
    assert report.standard_error == 0
    assert report.feasible == sum(report.counts) == 2_392_052
    assert report.total - sum(removal.layouts for removal in report.removed) == report.feasible
    # Without order: 11 widths and 16 blocks for each of 3 or 4 stages.
    assert report.total == math.prod([11 * 16] * 3) + math.prod([11 * 16] * 4)
    assert [removal.by for removal in report.removed] == [
        "channel_order = nondecreasing",
        "min_params = 4,000,000",
        "max_params = 5,000,000",
    ]
    assert "about" not in printed(report)


def test_what_is_printed_names_windows_and_shows_every_bin() -> None:
    space = LayoutSpace.model_validate(SMALL | {"min_depth": 8, "max_depth": 12, "min_flops": 10})
    report = make_report(space, 2, 0)
    text = printed(report)
    assert "depth from 8 to 12" in text
    assert f"{report.total:,} layouts, {report.feasible:,} feasible ({report.feasible / report.total:.2%})" in text
    for i, count in enumerate(report.counts):
        assert f"{report.edges[i]:,.0f} to {report.edges[i + 1]:,.0f}" in text
        assert f" {count:,}" in text
    for cells in (report.smallest, report.largest, *report.samples):
        assert cells["layout_id"] in text


def test_numbers_of_a_report_are_never_cut(tmp_path: Path) -> None:
    flags = ("--max-params=300000", "--set=space.block_types=[basic,bottleneck]", "--set=space.groups=[1,4]")
    outcome = run("search.space", "--dataset=cifar10", *flags, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    narrow = [line for line in outcome.stdout.splitlines() if "removes" in line]
    removed = {part["by"]: part["layouts"] for part in _report(flags, tmp_path)["removed"]}
    assert narrow
    assert all(any(f"{layouts:,}" in line for line in narrow) for layouts in removed.values())


def _report(flags: tuple[str, ...], cwd: Path) -> dict[str, list[dict[str, object]]]:
    outcome = run("search.space", "--dataset=cifar10", *flags, "--json", cwd=cwd)
    report: dict[str, list[dict[str, object]]] = json.loads(outcome.stdout)
    return report


def test_a_data_set_given_by_a_flag_wins_over_the_configuration(tmp_path: Path) -> None:
    keys = "space.stages = [2]\nspace.blocks = [1, 1]\nspace.channels = [8]\nspace.min_params = 0\n"
    (tmp_path / "search.toml").write_text(f'dataset = "cifar10"\n{keys}', encoding="utf-8")
    counted = {}
    for dataset in ("cifar100", "mnist"):
        outcome = run("search.space", "--config=search.toml", f"--dataset={dataset}", "--json", cwd=tmp_path)
        counted[dataset] = json.loads(outcome.stdout)["largest"]["params"]
    assert counted == {
        "cifar100": count_params(ResNetLayout((1, 1), (8, 8), classes=100)),
        "mnist": count_params(ResNetLayout((1, 1), (8, 8), in_channels=1)),
    }
