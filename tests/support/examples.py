"""How many examples a property test tries: all of them in `make check`, a quarter in `make test`."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

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


def examples(count: int) -> settings:
    """Decorates a property test that tries `count` examples where others try 100."""
    return settings(max_examples=-(-count * settings().max_examples // _EXAMPLES[FULL]))
