"""The checks that every start, resume and dry run begins with, in one order and before anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results import RunNotFoundError, RunState
from search.config import RunConfig
from search.errors import ConfigError, ResourceError
from search.gpus import Gpus, gpus
from search.layouts import require_feasible
from search.planning.cost import epoch_images, passes_per_epoch
from search.planning.disk import forecast, require_room
from search.planning.gpu_sharing import with_share
from search.planning.opening import folder_lines, opening_lines
from search.planning.resources import available_concurrency, spread
from search.runs.reuse import sources_of
from search.runs.warm_start import first_candidates, stored_candidates
from search.sampling import Candidate
from search.sampling.samplers import require_sampler
from search.text import size_text
from trainables.process_settings import room_for_images

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may be started or continued."""

    config: RunConfig
    """`gpus_per_trial` is a number."""
    folder: Path
    concurrency: int
    """Trials at a time; for a cluster it is known only after Ray has connected to it."""
    first: list[Candidate]
    """Candidates to try before the sampler proposes any."""
    left_out: list[str]
    """A sentence for each candidate that the warm start names but the run does not try as it is."""
    reused: dict[str, Path]
    """Folders of the runs whose results are reused, by the name to show."""
    opening: list[str] = field(default_factory=list)
    """The lines that a run begins with."""


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
    """Checks everything that can be checked without Ray and the data set, for a run in `folder` with this `state`.

    `stored` are the first candidates of a run that was started earlier. With `idle` no trial will run, so no disk space
    is needed. With `keeps_reuse`, a run to reuse that no longer exists is only a note, since its results can be trained
    again. With `only_plan`, missing resources are only a note, since a search for a larger machine may be planned here.

    Raises:
        SearchError: Optuna has no such sampler, the space is empty, resources are missing, a named run does not exist,
            or no layout of the warm start can be tried.
    """
    config = with_share(config, address)
    require_sampler(config.sampler)
    require_feasible(config.space)
    reused = _reused(config, storage, lenient=keeps_reuse, say=say)
    concurrency = config.concurrency or 1
    try:
        concurrency = available_concurrency(config.resources, address)
        if not idle:
            # A larger max_epochs re-opens ended trials, so there may be trials to run although none is left.
            running = min(concurrency, state.left(config.trials) or concurrency)
            require_room(config.disk_quota, folder, forecast(config, running, len(state.open_trials)))
    except ResourceError as error:
        if not only_plan:
            raise
        say(f"note: {error}")
    if stored is None:
        first, left_out = first_candidates(config, storage)
        if config.warm_start and not first:
            reasons = "; ".join(sentence.removeprefix("warm start: ") for sentence in left_out)
            raise ConfigError(f"warm_start: no layout of it can be tried: {reasons or 'no trial has reached a rung'}")
    else:
        first, left_out = stored_candidates(config, stored), []
    if stored is None:
        passes_per_epoch(config)  # refuses more training images than there are
    opening = opening_lines(config) if stored is None else folder_lines(config)
    if address is None:
        opening += _images_on_the_host(config, concurrency)
    for line in opening:
        say(line)
    return Prepared(config, folder, concurrency, first, left_out, reused, opening)


def _images_on_the_host(config: RunConfig, concurrency: int) -> list[str]:
    """A line on images that take too much of a trial's share of the GPU; nothing if they fit or there is none."""
    found = gpus() if config.resources.gpus else Gpus()
    if not found.usable:
        return []
    images, share = sum(epoch_images(config)), spread(config.resources, concurrency, found.count).gpus
    taken = images * math.prod(config.dataset_facts.image_shape)
    room = room_for_images(min(gpu.memory_bytes for gpu in found.usable), share)
    if taken <= room:
        return []
    line = (
        f"note: {images:,} images are {size_text(taken)}, more than {size_text(room)}, a third of a trial's share of "
        "the GPU; they stay on the host, and each batch is copied while the one before is trained"
    )
    return [line]


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
