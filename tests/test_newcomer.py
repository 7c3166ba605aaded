"""What somebody new tries first: lists without quotes, suffixes for formats, headings for columns."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from results.console import run_app
from results.errors import ResultsError
from results.leaderboard import app
from results.ranking.query import rank_trials
from results.ranking.rendering import OutputFormat, format_of
from search.config import compose
from search.errors import ConfigError
from search.planning.plan import make_plan
from tests.cli import run
from tests.results_fixtures import write_run


def test_a_list_of_words_needs_no_quotes() -> None:
    config = compose(None, None, {}, ["recipe.optimizer=[nesterov, muon]", "space.block_types=[basic,bottleneck]"])
    assert config.recipe.values_of("optimizer") == ["nesterov", "muon"]
    assert config.space.block_types == ("basic", "bottleneck")
    listed = compose(None, None, {}, ["space.layouts=[1-1-3x16-16-16, 2-1x8-12+actsilu]"]).space.listed_layouts
    assert [layout.layout_id for layout in listed] == [
        "1-1-3x16-16-16+in1",
        "2-1x8-12+actsilu+in1",
    ]
    with pytest.raises(ConfigError, match="adamm"):
        compose(None, None, {}, ["recipe.optimizer=[sgd,adamm]"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "csv"), ("a.JSON", "json"), ("a.md", "markdown"), ("a.parquet", "parquet"), ("a", "table")],
)
def test_the_suffix_is_the_format(name: str, expected: str) -> None:
    assert format_of(Path(name)) is OutputFormat(expected)
    assert format_of(None) is OutputFormat.table


def test_a_suffix_without_a_format_is_refused() -> None:
    with pytest.raises(ResultsError, match=r"output: \.xlsx stands for no format; use \.csv"):
        format_of(Path("board.xlsx"))


def test_a_csv_file_holds_every_column(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one")
    assert run_app(app, ["one", "--storage", str(tmp_path / "runs"), "--output", str(tmp_path / "board.csv")]) == 0
    assert {"recipe_optimizer", "retries", "reused"} <= set(pd.read_csv(tmp_path / "board.csv").columns)


def test_a_heading_sorts_as_its_column(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one")
    boards = [rank_trials(tmp_path / "runs", sort=name)["trial"].tolist() for name in ("-val", "-val_accuracy")]
    assert boards[0] == boards[1]


def test_a_second_pass_at_every_step_costs_twice_the_training(tmp_path: Path) -> None:
    plain, sam = (make_plan(compose(None, None, {}, sets), tmp_path) for sets in ([], ["recipe.sam_radius=0.05"]))
    assert 1.8 < sam["training_flops"] / plain["training_flops"] < 2


def test_a_dry_run_refuses_a_run_to_reuse_that_is_not_there(tmp_path: Path) -> None:
    outcome = run("search.run", "--dry-run", "--reuse=nosuch", "--json", cwd=tmp_path)
    assert outcome.returncode == 2
    assert "no run 'nosuch'" in outcome.stderr


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
