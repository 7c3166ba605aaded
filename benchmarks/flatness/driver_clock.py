"""Runs a driver with clocks around its functions, over trials that do no work.

Usage: python -m benchmarks.flatness.driver_clock search FOLDER TRIALS SAMPLER
       python -m benchmarks.flatness.driver_clock resume FOLDER TRIALS

The last line is one JSON object. "Recording a report" is all that this project does between a result and Ray's next
action: the scheduler, then the searcher with the fsync of the record, and for the last report of a trial also its end
and the removal of a checkpoint. Memory is the driver's resident set.
"""

from __future__ import annotations

import os
import sys
import time

PROCESS_STARTED = time.perf_counter()

import json  # noqa: E402
from array import array  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402

from benchmarks.flatness.zero_work import ZeroWork  # noqa: E402
from search.config import RunConfig, compose  # noqa: E402
from search.config.changes import changed  # noqa: E402
from search.driver import session  # noqa: E402
from search.driver.disk_watch import PatientRecord  # noqa: E402
from search.driver.display import SilentDisplay  # noqa: E402
from search.driver.scheduler import AshaScheduler  # noqa: E402
from search.driver.searcher import RecordSearcher  # noqa: E402
from search.planning.preparation import prepare  # noqa: E402
from search.runs import read_config  # noqa: E402
from search.runs.folder import change_config, write_run_file  # noqa: E402
from search.runs.reuse import ReusableResults  # noqa: E402

STRETCH = 100
"""Trials per row of figures."""
SETTINGS = (
    "space.stages=[2,3]",
    "space.blocks=[1,6]",
    "space.channels=[8,12,16,24,32,48,64]",
    "space.min_params=20_000",
    "space.max_params=400_000",
    'recipe.optimizer=["nesterov","adamw"]',
    "recipe.learning_rate={low=0.002,high=0.2,log=true}",
    "recipe.weight_decay={low=1e-5,high=1e-2,log=true}",
    "recipe.momentum={low=0.8,high=0.95}",
    "recipe.rotation_degrees=[0.0,10.0]",
)
"""A space with more layouts and recipes than any search has trials."""


class Clock:
    """The seconds of calls by their kind, each with the number of trials that had ended."""

    def __init__(self) -> None:
        self.ended = 0
        self.calls: dict[str, array[float]] = {}
        """Ended trials and seconds, alternating; an array, so that the clock adds little to the memory it measures."""
        self.marks = [self._mark()]
        """Wall-clock time, CPU time and memory at the start of the search and after every stretch."""

    def around(self, owner: type, name: str, what: str) -> None:
        """Times every call of the method `name` of `owner` as `what`."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                self.calls.setdefault(what, array("d")).extend((self.ended, time.perf_counter() - started))

        setattr(owner, name, timed)

    def count_endings(self) -> None:
        """Counts the trials that end, and adds a mark after every stretch."""
        end = RecordSearcher._end

        def counted(searcher: RecordSearcher, *arguments: Any) -> None:
            end(searcher, *arguments)
            self.ended += 1
            if self.ended % STRETCH == 0:
                self.marks.append(self._mark())

        RecordSearcher._end = counted  # type: ignore[method-assign, assignment]

    def _mark(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), resident_mib()

    def seconds(self, what: str, first: int, last: int) -> list[float]:
        """Seconds of the calls made while `first` to `last` trials had ended."""
        calls = self.calls.get(what, array("d"))
        return [s for ended, s in zip(calls[::2], calls[1::2], strict=True) if first <= ended < last]

    def milliseconds(self, what: str, quantile: float, first: int, last: int) -> float:
        """A quantile of the seconds of those calls, in milliseconds."""
        return round(1000 * float(np.quantile(self.seconds(what, first, last), quantile)), 2)

    def stretches(self) -> list[dict[str, float]]:
        """The figures of each stretch."""
        rows = []
        for number in range(1, len(self.marks)):
            first, last = (number - 1) * STRETCH, number * STRETCH
            rows.append(
                {
                    "ended": last,
                    "trials_per_s": round(STRETCH / (self.marks[number][0] - self.marks[number - 1][0]), 1),
                    "cpu_ms_a_trial": round(1000 * (self.marks[number][1] - self.marks[number - 1][1]) / STRETCH, 1),
                    "driver_mib": round(self.marks[number][2], 1),
                    "report_p50_ms": self.milliseconds("report", 0.5, first, last),
                    "report_p99_ms": self.milliseconds("report", 0.99, first, last),
                    "decision_p50": self.milliseconds("decision", 0.5, first, last),
                    "ending_p50_ms": self.milliseconds("ending", 0.5, first, last),
                    "suggest_p50_ms": self.milliseconds("suggest", 0.5, first, last),
                    "step_end_p50": self.milliseconds("step end", 0.5, first, last),
                    "snapshot_s": round(sum(self.seconds("snapshot", first, last)), 2),
                }
            )
        return rows


def resident_mib() -> float:
    """The process's resident set in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ray_died(process: str) -> None:
    sys.stderr.write(f"error: {process} died\n")
    os._exit(1)


def search(folder: Path, trials: int, sampler: str) -> dict[str, Any]:
    """Runs a new search and returns its figures."""
    from ray.tune.execution.tune_controller import TuneController

    config = compose(
        None, None, {"trials": trials, "max_epochs": 9, "grace_epochs": 1, "sampler": sampler}, list(SETTINGS)
    )
    write_run_file(folder, config)
    clock = Clock()
    clock.around(AshaScheduler, "on_trial_result", "decision")
    clock.around(RecordSearcher, "on_trial_result", "report")
    clock.around(RecordSearcher, "on_trial_complete", "ending")
    clock.around(RecordSearcher, "suggest", "suggest")
    clock.around(session.Progress, "on_step_end", "step end")
    clock.around(TuneController, "save_to_dir", "snapshot")
    clock.count_endings()
    before = resident_mib()
    started = time.perf_counter()
    with PatientRecord(folder) as record:
        _session(config, record)
    whole_s = time.perf_counter() - started
    stretches = clock.stretches()
    return {
        "search_s": round(whole_s, 1),
        "after_last_ending_s": round(started + whole_s - clock.marks[-1][0], 1),
        "reports": (len(clock.calls["report"]) + len(clock.calls["ending"])) // 2,
        "driver_before_mib": round(before, 1),
        "driver_first_100_mib": stretches[0]["driver_mib"],
        "driver_last_mib": stretches[-1]["driver_mib"],
        "driver_end_mib": round(resident_mib(), 1),
        "report_ms": {"100": recorded(clock, 0, STRETCH), str(trials): recorded(clock, trials - STRETCH, trials)},
        "cpu_ms_a_trial": {"200": stretches[1]["cpu_ms_a_trial"], str(trials): stretches[-1]["cpu_ms_a_trial"]},
        "trials_per_s": {"100": stretches[0]["trials_per_s"], str(trials): stretches[-1]["trials_per_s"]},
        "stretches": stretches,
    }


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def _session(config: RunConfig, record: PatientRecord) -> None:
    """Runs a session of trials that do no work over `record`."""
    prepared = prepare(config, record.folder, record.state, record.folder.parent, None, say=_say, stored=[])
    reusable = ReusableResults(config, {}, {})
    session.run_session(prepared, record, None, reusable, SilentDisplay(Console(stderr=True)), _ray_died, ZeroWork)


def recorded(clock: Clock, first: int, last: int) -> dict[str, float]:
    """Milliseconds of recording a report: the decision and the record, and for a trial's last report also its end."""
    decisions = clock.seconds("decision", first, last)
    records = [s for what in ("report", "ending") for s in clock.seconds(what, first, last)]
    return {
        "p50": round(1000 * (float(np.median(decisions)) + float(np.median(records))), 2),
        "p99": round(1000 * (float(np.quantile(decisions, 0.99)) + float(np.quantile(records, 0.99))), 2),
    }


def resume(folder: Path, trials: int) -> dict[str, Any]:
    """Resumes a run until it ends, and times the steps to its first suggestion."""
    times: dict[str, float] = {}
    started = time.perf_counter()
    change = changed(read_config(folder), {"trials": trials})
    change_config(folder, change)
    config = change.config
    ray_session, suggest = vars(session)["ray_session"], RecordSearcher.suggest

    @contextmanager
    def timed_session(*arguments: Any) -> Iterator[Any]:
        before = time.perf_counter()
        with ray_session(*arguments) as reserved:
            times["ray"] = time.perf_counter() - before
            yield reserved

    def timed_suggest(searcher: RecordSearcher, trial_id: str) -> Any:
        suggestion = suggest(searcher, trial_id)
        times.setdefault("first", time.perf_counter() - started)
        return suggestion

    vars(session)["ray_session"] = timed_session
    RecordSearcher.suggest = timed_suggest  # type: ignore[method-assign, assignment]
    with PatientRecord(folder) as record:
        times["record"] = time.perf_counter() - started
        _session(config, record)
    return {
        "imports_s": round(started - PROCESS_STARTED, 2),
        "record_s": round(times["record"], 2),
        "ray_start_s": round(times["ray"], 2),
        "first_suggestion_s": round(times["first"], 2),
        "first_suggestion_without_ray_s": round(times["first"] - times["ray"], 2),
    }


if __name__ == "__main__":
    command, run, count, *rest = sys.argv[1:]
    figures = search(Path(run), int(count), rest[0]) if command == "search" else resume(Path(run), int(count))
    sys.stdout.write(json.dumps(figures) + "\n")
