"""The rule that ranks trials."""

from __future__ import annotations

import math
from typing import Final

RANKING_RULE: Final = (
    "annealed accuracy at the last rung reached, rungs at more epochs first; "
    "ties by validation loss, then fewer parameters, then run and trial"
)
"""The rule in words; it compares epochs instead of rung numbers, so that runs with other rungs are comparable."""

OVER_SEEDS: Final = "Means, with standard errors, over those seeds that reached the last rung of their row."
"""What the rows of a leaderboard over seeds contain, in words."""

RANKED_STATUSES: Final = ("completed", "stopped", "running", "interrupted")


def is_ranked(status: str, rung: int) -> bool:
    """Whether a trial with this status that reached `rung` rungs has a rank."""
    return status in RANKED_STATUSES and rung >= 1


def rule_key(
    rung_epoch: int | None, val_accuracy: float | None, val_loss: float | None, params: int
) -> tuple[int, tuple[int, float], tuple[int, float], int]:
    """The sort key of a trial; smaller is better, None and NaN are worst. Equal keys are ordered by run and trial."""
    return (-(rung_epoch or 0), _or_worst(val_accuracy, -1), _or_worst(val_loss, 1), params)


def _or_worst(value: float | None, sign: int) -> tuple[int, float]:
    missing = value is None or math.isnan(value)
    return (1, 0.0) if missing else (0, sign * (value or 0.0))
