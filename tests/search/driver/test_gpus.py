"""GPUs in a session, shown without one: shares on different GPUs, and the second try after memory ran out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from rich.console import Console

from benchmarks.flatness.zero_work import ZeroWork
from results import read_record
from search.config import compose
from search.config.views import Resources
from search.driver.disk_watch import PatientRecord
from search.driver.display import SilentDisplay
from search.driver.ray_session import ray_session, roomier
from search.driver.session import run_session
from search.errors import ResourceError
from search.gpus import Gpu, Gpus, gpus, seen_by_torch
from search.planning.preparation import Prepared
from search.planning.resources import available_concurrency, spread
from search.runs.folder import write_run_file
from search.runs.reuse import ReusableResults
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


class Breaking(ZeroWork):  # type: ignore[misc]  # Ray ships no types
    """Breaks its CUDA context at the first step of trial 0, and notes its process and its GPUs at every step."""

    def step(self) -> dict[str, Any]:
        """The report of one epoch."""
        notes = Path(self._config["checkpoint"]).parents[1] / "notes"
        first = not notes.exists() or all(json.loads(line)[0] for line in notes.read_text().splitlines())
        with notes.open("a") as file:
            file.write(json.dumps([self._config["trial"], os.getpid(), ray.get_gpu_ids()]) + "\n")
        if self._config["trial"] == 0 and first:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return dict(super().step())


@pytest.mark.search
def test_a_broken_context_ends_its_process_and_the_trial_is_tried_again_on_a_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("machine", "planning.resources"):
        monkeypatch.setattr(f"search.{module}.gpus", lambda: TWO)
    monkeypatch.setattr("search.planning.resources.available_cpus", lambda: 2)
    monkeypatch.setattr("search.driver.ray_session.available_cpus", lambda: 2)
    given = {"trials": 4, "concurrency": 2, "gpus_per_trial": 0.5, "max_epochs": 2, "grace_epochs": 2, "confirm": 0}
    config, folder = compose(None, None, given, []), tmp_path / "broken"
    write_run_file(folder, config)
    with PatientRecord(folder) as record:
        prepared, reusable = Prepared(config, folder, 2, [], [], {}), ReusableResults(config, {}, {})
        display = SilentDisplay(Console(stderr=True))
        end = run_session(prepared, record, None, reusable, display, pytest.fail, Breaking)
    assert end.reason == "done"
    state = read_record(folder)
    assert {trial.status for trial in state.trials.values()} == {"completed"}
    assert {number: trial.retried for number, trial in state.trials.items() if trial.retried} == {0: {"lost": 1}}
    notes = [json.loads(line) for line in (folder / "notes").read_text().splitlines()]
    broke = next(place for place, (trial, _, _) in enumerate(notes) if trial == 0)
    later = {pid for _, pid, _ in notes[broke + 1 :]}
    assert notes[broke][1] not in later  # neither this trial nor another runs there again
    assert {str(places) for _, _, places in notes} >= {"[0]", "[1]"}
    assert [session.resources["gpu"] for session in state.sessions.values()] == [1.0]


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
