"""The regret of runs on an objective with a known optimum, and the comparison of samplers over seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """The result of one sampler with one seed."""

    objective: str
    arm: str
    seed: int
    trials: int
    regrets: tuple[tuple[int, float], ...]
    """Each trial, from 1, that lowered the regret, with the new regret; the first entry is (0, that of the worst)."""
    infeasible: int
    """Trials outside the parameter window, including repeats."""
    duplicates: int
    """Trials inside the window that repeat an earlier trial."""
    wall_time_s: float

    def curve(self) -> NDArray[np.float64]:
        """The regret after each trial, (trials,); until a feasible trial, that of the worst feasible candidate."""
        curve = np.empty(self.trials)
        for trial, regret in self.regrets:
            curve[max(0, trial - 1) :] = regret
        return curve

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values; `from_dict` inverts it."""
        return asdict(self) | {"regrets": [list(step) for step in self.regrets]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Run:
        """The run whose `to_dict` is `values`."""
        return cls(**values | {"regrets": tuple((int(trial), float(regret)) for trial, regret in values["regrets"])})


@dataclass
class Tally:
    """The counts of a run in progress."""

    optimum: float
    worst: float
    """The lowest value of a feasible candidate."""
    regrets: list[tuple[int, float]] = field(init=False)
    infeasible: int = 0
    duplicates: int = 0
    trials: int = 0
    _seen: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.regrets = [(0, self.optimum - self.worst)]

    def add(self, key: Hashable, value: float | None) -> None:
        """Counts a trial of the candidate `key`; `value` is None if it is infeasible."""
        self.trials += 1
        if value is None:
            self.infeasible += 1
        elif key in self._seen:
            self.duplicates += 1
        elif self.optimum - value < self.regrets[-1][1]:
            self.regrets.append((self.trials, self.optimum - value))
        self._seen.add(key)


def mean_and_error(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean over the first axis and its standard error, which is NaN for a single row."""
    n = len(values)
    spread = values.std(axis=0, ddof=1) if n > 1 else np.full(values.shape[1:], math.nan)
    return values.mean(axis=0), spread / math.sqrt(n)


def by_arm(runs: Iterable[Run]) -> dict[str, dict[int, Run]]:
    """The runs by arm and seed, in order."""
    grouped: dict[str, dict[int, Run]] = {}
    for run in runs:
        grouped.setdefault(run.arm, {})[run.seed] = run
    return grouped


def figures(runs: Sequence[Run], reference: str, marks: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The figures of each arm over its seeds, for runs on one objective; regret is in points (0.01 of accuracy).

    `won` counts the seeds for which `reference` has the lower regret at the last mark. `behind` is the mean, over the
    common seeds, of the arm's regret minus that of the reference, with its standard error.
    """
    grouped = by_arm(runs)
    found: dict[str, dict[str, Any]] = {}
    for arm, seeds in grouped.items():
        curves = 100 * np.array([run.curve() for run in seeds.values()])
        mean, error = mean_and_error(curves)
        found[arm] = {
            "seeds": len(seeds),
            "regret": {str(mark): [_rounded(mean[mark - 1]), _rounded(error[mark - 1])] for mark in marks},
            "infeasible": round(float(np.mean([run.infeasible for run in seeds.values()])), 1),
            "duplicates": round(float(np.mean([run.duplicates for run in seeds.values()])), 1),
            "no_feasible_runs": sum(len(run.regrets) == 1 for run in seeds.values()),
            "ms_per_trial": round(float(np.mean([1000 * run.wall_time_s / run.trials for run in seeds.values()])), 1),
        }
        common = sorted(set(seeds) & set(grouped.get(reference, {})))
        if arm != reference and common:
            last = marks[-1] - 1
            gaps = 100 * np.array([seeds[s].curve()[last] - grouped[reference][s].curve()[last] for s in common])
            behind, behind_error = mean_and_error(gaps)
            found[arm] |= {
                "won": int((gaps > 0).sum()),
                "tied": int((gaps == 0).sum()),
                "lost": int((gaps < 0).sum()),
                "behind": [_rounded(behind), _rounded(behind_error)],
            }
    return found


def markdown(found: dict[str, dict[str, Any]], labels: dict[str, str], marks: Sequence[int]) -> str:
    """The figures as a Markdown table, with one line per arm."""
    heads = [
        "arm",
        *[f"regret at {mark}" for mark in marks],
        "won-tied-lost",
        "behind by",
        "infeasible",
        "repeats",
        "ms",
    ]
    lines = [" | ".join(heads), " | ".join(["---", *["---:"] * (len(heads) - 1)])]
    for arm, row in found.items():
        regrets = [_with_error(row["regret"][str(mark)]) for mark in marks]
        record = f"{row['won']}-{row['tied']}-{row['lost']}" if "won" in row else ""
        behind = _with_error(row["behind"]) if "behind" in row else ""
        counts = [f"{row[name]:.1f}" for name in ("infeasible", "duplicates", "ms_per_trial")]
        lines.append(" | ".join([labels.get(arm, arm), *regrets, record, behind, *counts]))
    return "\n".join(f"| {line} |" for line in lines)


def _rounded(value: Any) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def _with_error(pair: list[float | None]) -> str:
    mean, error = pair
    return f"{mean:.3f}" + ("" if error is None else f" ± {error:.3f}")
