"""How many examples a property test tries: all of them in `make check`, a quarter in `make test`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

FULL: Final = "full"
QUICK: Final = "quick"
"""Profiles of hypothesis, chosen by `pytest --hypothesis-profile`."""

_EXAMPLES: Final = {FULL: 100, QUICK: 25}


def register_profiles() -> None:
    """Makes both known; no test is timed, and continuous integration tries the same examples every time."""
    for name, count in _EXAMPLES.items():
        settings.register_profile(
            name,
            max_examples=count,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            derandomize="CI" in os.environ,
        )


def some_of(values: Sequence[T], first: int) -> Sequence[T]:
    """All `values` in `make check`, every fourth in `make test`, from the one numbered `first` on, modulo four."""
    return values if settings().max_examples == _EXAMPLES[FULL] else values[first % 4 :: 4]


def examples(count: int) -> settings:
    """Decorates a property test that tries `count` examples where others try 100."""
    return settings(max_examples=-(-count * settings().max_examples // _EXAMPLES[FULL]))
