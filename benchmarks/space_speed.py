"""How fast are spaces of up to 10^11 layouts counted, and the default space enumerated and sampled, on one core?

Usage: python -m benchmarks.space_speed

Layouts per second are given for integer columns (blocks, channels, strides, kernels, stem, parameters) and for
`ResNetLayout` objects. The last line is one JSON object; memory is the process's peak so far, including imports.
"""

from __future__ import annotations

import functools
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from search.layouts import LayoutSpace, count_feasible, enumerate_layouts, sample_uniform
from search.layouts.dimensions import layout_bounds
from search.layouts.enumeration import count_total, enumerate_batches
from search.layouts.index import ChainIndex, index_of_space
from search.sampling.neighbours import Neighbours

PROPOSALS = 100
WALKED = 200_000
DRAWN = 1_000_000

SPACES: dict[str, dict[str, Any]] = {
    "default": {},
    "kernels and strides": {"kernels": [3, 5], "strides": [1, 2]},
    "3 to 5 stages, strides": {"stages": [3, 4, 5], "strides": [1, 2]},
    "6 stages": {"stages": [6]},
    "every choice": {
        "kernels": [3, 5],
        "strides": [1, 2],
        "first_strides": [1, 2],
        "skip_kernels": [1, 3],
        "conv_biases": [False, True],
        "stem_channels": [0, 16, 32, 64],
    },
}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of `work` and the seconds it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def counted(choices: dict[str, Any]) -> dict[str, Any]:
    """The size of one space, its number of feasible layouts, and the seconds and memory for counting them."""
    space = LayoutSpace.model_validate(choices)
    feasible, seconds = timed(lambda: count_feasible(space))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"total": count_total(space), "feasible": feasible, "count_s": round(seconds, 3), "peak_mib": peak_mib}


def nearest_ms(choices: dict[str, Any]) -> float:
    """Median milliseconds to find the feasible layout nearest to a uniform proposal, most of which are infeasible."""
    space = LayoutSpace.model_validate(choices)
    neighbours, draw, times = Neighbours(space), np.random.default_rng(0), []
    for _ in range(PROPOSALS):
        proposal = {name: int(draw.integers(low, high + 1)) for name, (low, high) in layout_bounds(space).items()}
        times.append(timed(functools.partial(next, neighbours.around(proposal)))[1])
    return round(1000 * float(np.median(times)), 2)


def main() -> dict[str, Any]:
    """Measures all spaces and returns the figures."""
    spaces = {name: counted(choices) for name, choices in SPACES.items()}
    space = LayoutSpace()
    _, index_s = timed(lambda: ChainIndex(space))
    index_of_space(space)
    walked, walk_s = timed(lambda: sum(len(batch) for batch in enumerate_batches(space)))
    _, objects_s = timed(lambda: sum(1 for _ in itertools.islice(enumerate_layouts(space), WALKED)))
    _, draw_s = timed(lambda: sample_uniform(space, DRAWN, np.random.default_rng(0)))
    return {
        "spaces": spaces,
        "index_s": round(index_s, 3),
        "walked_per_s": round(walked / walk_s),
        "objects_per_s": round(WALKED / objects_s),
        "drawn_per_s": round(DRAWN / draw_s),
        "nearest_ms": {name: nearest_ms(choices) for name, choices in SPACES.items()},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
