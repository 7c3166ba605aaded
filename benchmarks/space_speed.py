"""How fast the default CIFAR-10 space is counted, walked, drawn from and projected onto, on one core.

Usage: python -m benchmarks.space_speed

The last line is one JSON object: seconds, layouts a second, and milliseconds a proposal.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from search.config import compose
from search.encoding import distributions
from search.enumeration import count_feasible, count_total, enumerate_layouts
from search.feasible import FeasibleSet

PROPOSALS = 200
WALKED = 200_000


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def main() -> dict[str, Any]:
    """The figures."""
    space = compose(None, None, {"dataset": "cifar10"}, []).space
    feasible, count_s = timed(lambda: count_feasible(space))
    _, walk_s = timed(lambda: sum(1 for _ in itertools.islice(enumerate_layouts(space), WALKED)))
    layouts, index_s = timed(lambda: FeasibleSet(space))
    draw = np.random.default_rng(0)
    drawn, draw_s = timed(lambda: {layouts.draw(draw, frozenset()) for _ in range(PROPOSALS)})
    dimensions = distributions(space, max(space.stages))
    proposals = [
        {name: int(draw.integers(dimension.low, dimension.high + 1)) for name, dimension in dimensions.items()}
        for _ in range(PROPOSALS)
    ]
    used = {layout for layout in drawn if layout is not None}
    _, nearest_s = timed(lambda: [layouts.nearest(proposal, used) for proposal in proposals])
    return {
        "total": count_total(space),
        "feasible": feasible,
        "count_s": round(count_s, 3),
        "walked_per_s": round(WALKED / walk_s),
        "index_s": round(index_s, 3),
        "draw_ms": round(1000 * draw_s / PROPOSALS, 2),
        "nearest_ms": round(1000 * nearest_s / PROPOSALS, 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
