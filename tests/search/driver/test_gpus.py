"""GPUs in a session, shown without one: shares on different GPUs, and the second try after memory ran out."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from search.config.views import Resources
from search.driver.ray_session import ray_session, roomier
from search.errors import ResourceError
from search.gpus import Gpu, Gpus, gpus, seen_by_torch
from search.planning.resources import available_concurrency, spread
from tests.support.cli import run

TWO = Gpus(usable=(Gpu("A", 10**10, 10**10, 80, bfloat16=True),) * 2, present=2)
BROKEN = Gpus(present=1, refusal="gpus_per_trial: a GPU is requested, but torch cannot use one: the driver is too old")


@pytest.mark.parametrize(
    ("share", "concurrency", "count", "reserved"),
    [(0.5, 2, 2, 1.0), (0.5, 4, 2, 0.5), (0.25, 3, 2, 0.5), (0.1, 5, 4, 0.5), (1.0, 2, 2, 1.0), (0.0, 2, 2, 0.0)],
)
def test_what_is_reserved_leaves_no_gpu_idle(share: float, concurrency: int, count: int, reserved: float) -> None:
    resources = Resources(cpus=2, gpus=share, concurrency=None)
    assert spread(resources, concurrency, count) == Resources(cpus=2, gpus=reserved, concurrency=None)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("trials", range(1, 17))
def test_no_gpu_has_room_for_more_trials_than_it_must_take(trials: int, count: int) -> None:
    share = spread(Resources(1, 0.0625, None), trials, count).gpus
    assert int(1 / share) == -(-trials // count)


@pytest.mark.search
def test_ray_places_shares_on_different_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.planning.resources.gpus", lambda: TWO)
    monkeypatch.setattr("search.planning.resources.available_cpus", lambda: 2)
    monkeypatch.setattr("search.driver.ray_session.available_cpus", lambda: 2)
    with ray_session(Resources(cpus=1, gpus=0.5, concurrency=2), None, trials=100) as (concurrency, reserved):
        holds = ray.remote(num_cpus=reserved.cpus, num_gpus=reserved.gpus)(Holder)
        actors = [holds.remote() for _ in range(concurrency)]
        places = ray.get([actor.place.remote() for actor in actors])
        alone = roomier(Resources(cpus=1, gpus=0.25, concurrency=8), 8)
    assert sorted(places) == [[0], [1]]
    assert alone == {"cpu": 1, "gpu": 1.0}  # at eight on a GPU, twice the share would leave six neighbours
    assert roomier(Resources(cpus=1, gpus=1.0, concurrency=2), 2) is None


class Holder:
    """An actor that holds its share until the session ends."""

    def place(self) -> list[int]:
        """The GPUs that Ray gave it."""
        return [int(number) for number in ray.get_gpu_ids()]


def test_a_gpu_that_torch_cannot_use_is_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.planning.resources.gpus", lambda: BROKEN)
    with pytest.raises(ResourceError, match=r"^gpus_per_trial: a GPU is requested, .* the driver is too old$"):
        available_concurrency(Resources(cpus=1, gpus=0.5, concurrency=None), None)
    assert available_concurrency(Resources(cpus=1, gpus=0.0, concurrency=1), None) == 1


def test_a_gpu_that_the_driver_lists_counts_only_if_torch_starts_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020). Please update")

    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.init", too_old)
    found = seen_by_torch()
    assert (found.present, found.usable) == (1, ())
    assert "cannot use one: The NVIDIA driver on your system is too old (found version 12020); " in found.refusal
    assert found.cuda in found.refusal


@pytest.mark.search
def test_this_process_has_no_cuda_context_after_it_asked_for_gpus() -> None:
    import torch

    found = gpus()
    assert found.present == torch.cuda.device_count()
    assert (found.refusal == "") == bool(found.usable)
    assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


@pytest.mark.search
def test_a_search_on_a_gpu_where_there_is_none_is_one_line_with_torchs_reason(tmp_path: Path) -> None:
    if gpus().count:
        pytest.skip("there is a GPU")
    outcome = run("search.run", "--gpus-per-trial=0.5", cwd=tmp_path)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("error: gpus_per_trial: a GPU is requested, but torch ")
    assert len(outcome.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
