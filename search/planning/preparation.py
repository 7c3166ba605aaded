"""What every start, resume and dry run does first, in one order, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import RunNotFoundError, RunState
from search.config import RunConfig
from search.errors import ResourceError
from search.layouts import require_feasible
from search.planning.disk import forecast, require_room
from search.planning.gpu_sharing import with_share
from search.planning.resources import available_concurrency
from search.runs.reuse import sources_of
from search.runs.warm_start import first_candidates, stored_candidates
from search.sampling import Candidate

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may be started or continued."""

    config: RunConfig
    """`gpus_per_trial` is a number."""
    folder: Path
    concurrency: int
    """Trials at a time; of a cluster it is known only once Ray is connected to it."""
    first: list[Candidate]
    """What is tried before the sampler is asked."""
    left_out: list[str]
    """A sentence for everything that a warm start names and that is not tried."""
    reused: dict[str, Path]
    """Folders of the runs whose results stand for trainings, by the name to show."""


def prepare(
    config: RunConfig,
    folder: Path,
    state: RunState,
    storage: Path,
    address: str | None,
    *,
    say: Say,
    stored: Sequence[dict[str, Any]] | None = None,
    idle: bool = False,
    keeps_reuse: bool = False,
    only_plan: bool = False,
) -> Prepared:
    """Checks all that can be checked without Ray and without the data set, for a run in `folder` with this `state`.

    `stored` are the first candidates of a run that was started earlier. `idle` says that no trial will run, so that no
    room is needed. With `keeps_reuse`, runs to reuse that have gone since the start are a note, since their results can
    be had by training. With `only_plan`, resources that are not here are a note, since a search for a larger machine
    may be planned on this one.

    Raises:
        SearchError: the space is empty, the resources are not there, or a run that is named is absent.
    """
    config = with_share(config, address)
    require_feasible(config.space)
    reused = _reused(config, storage, lenient=keeps_reuse, say=say)
    concurrency = config.concurrency or 1
    try:
        concurrency = available_concurrency(config.resources, address)
        if not idle:
            # A larger max_epochs opens ended trials again.
            running = min(concurrency, state.left(config.trials) or concurrency)
            require_room(config.disk_quota, folder, forecast(config, running, len(state.open_trials)))
    except ResourceError as error:
        if not only_plan:
            raise
        say(f"note: {error}")
    if stored is None:
        first, left_out = first_candidates(config, storage)
    else:
        first, left_out = stored_candidates(config, stored), []
    return Prepared(config, folder, concurrency, first, left_out, reused)


def _reused(config: RunConfig, storage: Path, *, lenient: bool, say: Say) -> dict[str, Path]:
    if not lenient:
        return sources_of(config.reuse, storage)
    found: dict[str, Path] = {}
    for name in config.reuse:
        try:
            found |= sources_of([name], storage)
        except RunNotFoundError as error:
            say(f"note: reuse: {error}")
    return found
