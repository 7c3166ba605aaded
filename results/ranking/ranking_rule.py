"""The rule that ranks trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

RANKING_RULE: Final = (
    "validation accuracy at the last rung reached; ties by validation loss, then fewer parameters, then run and trial"
)
"""The rule in words; how many epochs a trial was trained for is a column and does not change its rank."""

OVER_SEEDS: Final = "Means, with standard errors, over those seeds that reached the last rung of their row."
"""What the rows of a leaderboard over seeds contain, in words."""

ANNEALED_SCHEDULE: Final = "rung-annealed"
"""The schedule whose learning rate is zero at every rung."""

MID_COURSE: Final = "Mid-course: measured while the learning rate was above zero; more training may raise it a lot."
"""What the column `mid-course` means, in words."""

PER_DATA_SET: Final = "Each data set has ranks of its own: accuracies on different validation images are not compared."
"""Why a leaderboard of several data sets has several first ranks, in words."""

RANKED_STATUSES: Final = ("completed", "stopped", "running", "interrupted")


def is_ranked(status: str, rung: int) -> bool:
    """Whether a trial with this status that reached `rung` rungs has a rank."""
    return status in RANKED_STATUSES and rung >= 1


def is_mid_course(status: str, rung: int, schedule: str | None) -> bool:
    """Whether a trial's accuracy was measured before its schedule had reduced the learning rate to zero.

    At a rung, `rung-annealed` has; the other schedules may only have at the end of a completed trial.
    """
    return is_ranked(status, rung) and status != "completed" and schedule not in (None, ANNEALED_SCHEDULE)


def rule_key(
    val_accuracy: float | None, val_loss: float | None, params: int
) -> tuple[tuple[int, float], tuple[int, float], int]:
    """The sort key of a trial; smaller is better, None and NaN are worst. Equal keys are ordered by run and trial."""
    return (_or_worst(val_accuracy, -1), _or_worst(val_loss, 1), params)


def data_key(dataset: Any, data: Any) -> tuple[str, str]:
    """The key of a trial's data set: its name and the identity of its images, "" for what is unknown."""
    return dataset if isinstance(dataset, str) else "", data if isinstance(data, str) else ""


def ranks_within(keys: Sequence[Any]) -> list[int]:
    """The place of each row among the rows with its key, from 1."""
    seen: Counter[Any] = Counter()
    ranks = []
    for key in keys:
        seen[key] += 1
        ranks.append(seen[key])
    return ranks


def _or_worst(value: float | None, sign: int) -> tuple[int, float]:
    missing = value is None or math.isnan(value)
    return (1, 0.0) if missing else (0, sign * (value or 0.0))
