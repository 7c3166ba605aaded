"""A search that is killed goes on as if it had not been: real kills, and every prefix of a real record."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos.between import ACTIONS
from benchmarks.chaos.campaign import Campaign, plan, plan_actions
from benchmarks.chaos.checks import differences, problems
from benchmarks.chaos.command import main
from benchmarks.chaos.losses import Kill, Saved, settle_accounts, wrong_ending
from benchmarks.chaos.points import AT_THE_END, POINTS
from benchmarks.chaos.processes import clear, find_process, processes_of, stop, wait_until
from results import read_record, write_tables
from results.record.folders import RUN_FILE
from results.record.record import RECORD_NAME
from search.config import compose
from search.machine import available_cpus
from search.runs import read_config
from search.runs.folder import new_run_folder, write_run_file
from tests.support.cli import LIMIT_S, environment
from tests.support.examples import examples
from tests.support.processes import session
from tests.support.simulated_sessions import comparable, drive, write_checkpoint

TRIALS = 12
"""More than the sampler's ten random ones, so that its model has to be rebuilt too."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Kill]]:
    """The folder of a finished search, one trial at a time, that was hit thrice and twice torn, and the kills."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as ray_folder:  # a socket's path must be short
        storage = tmp_path_factory.mktemp("chaos")
        campaign = Campaign(storage, TRIALS, 0, Path(ray_folder), ("--concurrency=1",), ["both", "record"])
        return campaign.folder, campaign.run(["worker-checkpoint", "sigterm", "last"])


def costs(kill: Kill) -> tuple[int, int, int]:
    return kill.lost, kill.repeated, kill.redone


@pytest.mark.search
def test_a_killed_search_loses_and_repeats_nothing(killed: tuple[Path, list[Kill]]) -> None:
    folder, kills = killed
    assert problems(folder, TRIALS) == []
    assert [kill.between for kill in kills] == [None, "both", "record"]
    assert kills[-1].point in AT_THE_END
    assert all(kill.record for kill in kills)
    assert [(kill.lost, kill.repeated, kill.notes, kill.hung) for kill in kills] == [(0, 0, [], False)] * 3
    assert max(kill.redone for kill in kills) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags", [["--kills=12", "--seed=1", "--compare"], ["--kills=18", "--seed=2"]], ids=["one at a time", "two"]
)
def test_a_search_killed_many_times_ends_like_a_whole_one(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = main([*flags, f"--folder={tmp_path}"])
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["problems"] == []
    assert outcome == 0
    assert (facts["lost"], facts["repeated"], facts["hung"]) == (0, 0, 0)
    assert f"--kills={facts['kills']}" in flags
    assert facts["at_a_time"] == (1 if "--compare" in flags else min(2, available_cpus()))
    assert facts["same_leaderboard"] == (True if "--compare" in flags else None)


@pytest.mark.search
@examples(20)
@given(data=st.data())
def test_a_search_goes_on_from_any_byte_of_its_record_to_the_same_end(
    killed: tuple[Path, list[Kill]], data: st.DataObject
) -> None:
    content = (killed[0] / RECORD_NAME).read_bytes()
    whole = read_record(killed[0])
    cut = data.draw(st.integers(0, len(content)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(killed[0] / RUN_FILE, folder)
        (folder / RECORD_NAME).write_bytes(content[:cut])
        for number, reports in read_record(folder).reports.items():
            if reports:
                write_checkpoint(folder, number, len(reports))
        state, _ = drive(folder, lambda given, epoch: whole.reports[given["trial"]][epoch - 1]._asdict())
        assert comparable(state) == comparable(whole)
        written = (folder / RECORD_NAME).read_bytes()
        assert written.startswith(content[: content.rfind(b"\n", 0, cut) + 1])
        assert read_record(folder).skipped == []


def edit(change: Callable[[list[dict[str, Any]]], None]) -> Callable[[Path], None]:
    """A damage to the lines of a record."""

    def damage(folder: Path) -> None:
        path = folder / RECORD_NAME
        events = [json.loads(line) for line in path.read_text().splitlines()]
        change(events)
        path.write_text("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events))

    return damage


def first(events: list[dict[str, Any]], name: str, trial: int) -> dict[str, Any]:
    return next(event for event in events if event["event"] == name and event["trial"] == trial)


def repeat_report(events: list[dict[str, Any]]) -> None:
    events.append(first(events, "report", 3))


def repeat_point(events: list[dict[str, Any]]) -> None:
    first(events, "suggested", 4).update({k: first(events, "suggested", 2)[k] for k in ("layout", "recipe", "seed")})


def start_twice(events: list[dict[str, Any]]) -> None:
    place = events.index(first(events, "started", 5))
    events.insert(place, events[place])


def start_two(events: list[dict[str, Any]]) -> None:
    events.insert(events.index(first(events, "ended", 5)), {**first(events, "started", 5), "trial": 0})


def drop_ending(events: list[dict[str, Any]]) -> None:
    events.remove(first(events, "ended", 5))


def change_accuracy(events: list[dict[str, Any]]) -> None:
    first(events, "report", 0)["val_accuracy"] = 1.0


def spoil_checkpoint(folder: Path) -> None:
    path = min((folder / "checkpoints").iterdir())
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.search
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (edit(repeat_report), "epochs: trial 3 reported epoch 1 twice"),
        (edit(repeat_point), "trials: suggested twice"),
        (edit(start_twice), "sessions: trial 5 started twice in session"),
        (edit(start_two), "sessions: trials [0, 5] running"),
        (edit(drop_ending), "trials: 5 not ended"),
        (edit(change_accuracy), "epochs.parquet: differs from the reports in the record"),
        (spoil_checkpoint, "not readable as a checkpoint"),
    ],
    ids=[
        "repeated report",
        "repeated point",
        "two launches",
        "too many",
        "no ending",
        "other accuracy",
        "spoilt checkpoint",
    ],
)
def test_the_checks_find_what_is_wrong(
    damage: Callable[[Path], None], named: str, killed: tuple[Path, list[Kill]], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(killed[0], folder, ignore=shutil.ignore_patterns("ray"))
    damage(folder)
    assert any(named in sentence for sentence in problems(folder, TRIALS))


@pytest.mark.search
def test_two_runs_differ_by_their_values_and_not_by_their_times(
    killed: tuple[Path, list[Kill]], tmp_path: Path
) -> None:
    def later(events: list[dict[str, Any]]) -> None:
        for event in events:
            event["time_s"] += 1000

    def better(events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["event"] == "report" and event["trial"] == 0:
                event["val_accuracy"] = 1.0

    for name, change in (("one", lambda events: None), ("later", later), ("other", better)):
        shutil.copytree(killed[0], tmp_path / name, ignore=shutil.ignore_patterns("ray"))
        edit(change)(tmp_path / name)
        write_tables(tmp_path / name, read_record(tmp_path / name), (tmp_path / name / RECORD_NAME).stat().st_size)
    assert differences(tmp_path, "one", "later") == []
    derived = ("tied", "val_accuracy_low", "val_accuracy_high")
    found = [what for what in differences(tmp_path, "one", "other") if what.split()[1] not in derived]
    assert found == [f"{what}: val_accuracy differs between one and other" for what in ("leaderboards", "epochs")]


@pytest.mark.search
def test_every_kill_is_charged_for_what_it_cost(killed: tuple[Path, list[Kill]]) -> None:
    folder, kills = killed
    state, content = read_record(folder), (folder / RECORD_NAME).read_bytes()
    number, reports = next((n, reports) for n, reports in state.reports.items() if len(reports) > 2)
    time_s = reports[1].train_time_s
    blank = replace(kills[1], record=b"", slots=1, between=None, lost=0, repeated=0, redone=0, notes=[])
    for saved, expected in (
        (Saved(1, 1, None, launched=True), (0, 0, 1)),  # the second epoch was in flight
        (Saved(1, 1, None, launched=False), (0, 0, 0)),
        (Saved(1, 2, time_s, launched=True), (0, 0, 0)),  # saved, then reported as it was
        (Saved(1, 2, time_s + 1e-9, launched=True), (0, 1, 0)),  # saved, and trained again
        (Saved(2, 0, None, launched=True), (2, 0, 0)),
        (Saved(len(reports), len(reports), None, launched=True), (0, 0, 0)),
    ):
        kill = replace(blank, trials={number: saved}, notes=[])
        settle_accounts([kill], state, content)
        assert costs(kill) == expected
        assert len(kill.notes) == (kill.lost + kill.repeated > 0)
    forgotten = replace(blank, record=b"{}\n", trials={}, notes=[])
    settle_accounts([forgotten], state, content)
    assert costs(forgotten) == (1, 0, 0)


@pytest.mark.search
def test_more_epochs_redone_than_trials_at_a_time_are_a_problem(killed: tuple[Path, list[Kill]]) -> None:
    folder, kills = killed
    state = read_record(folder)
    open_trials = {n: Saved(0, 0, None, launched=True) for n in sorted(state.reports)[:2]}
    kill = replace(kills[1], record=b"", trials=open_trials, slots=1, notes=[], hung=True)
    settle_accounts([kill], state, b"")
    assert kill.notes == ["2 epochs redone, but 1 trials at a time", "the driver did not end by itself"]


@pytest.mark.search
def test_an_ending_that_is_not_the_expected_one_is_named(killed: tuple[Path, list[Kill]]) -> None:
    folder, _ = killed
    stopped = next(s.pid for s in read_record(folder).sessions.values() if s.reason == "interrupted")
    assert wrong_ending(folder, "sigterm", stopped, 130, "") == []
    assert wrong_ending(folder, "sigterm", stopped, 0, "") == ["the driver's exit code is 0, expected 130"]
    assert wrong_ending(folder, "sigterm", stopped, 15, "") == ["the driver's exit code is 15, expected 130"]
    assert wrong_ending(folder, "epoch", stopped, -9, "Traceback") == ["the driver printed a traceback"]
    assert wrong_ending(folder, "gcs", stopped, -9, "") == [
        "the driver's exit code is -9, expected 1",
        'the driver did not print "Ray\'s gcs_server died"',
    ]


KILLED_WHILE_WRITING = """
import itertools, os, signal, sys
from pathlib import Path
from search.run import main

def die_before(step):
    seen = itertools.count(1)
    def on_event(event, arguments):
        path = str(arguments[0]).removeprefix(f"{Path.cwd()}/") if arguments else ""
        if event not in ("os.mkdir", "open", "os.rename") or not path.startswith("runs"):
            return
        if path.startswith("runs/new/") and not path.endswith(".json"):
            os._exit(0)  # the session begins
        if next(seen) == step:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(on_event)

for step in itertools.count(1):
    folder = Path(str(step))
    folder.mkdir()
    driver = os.fork()
    if driver == 0:
        os.chdir(folder)
        sys.argv = ["run", "--name=new", "--quiet"]
        die_before(step)
        os._exit(main())
    code = os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1])
    print(code, flush=True)
    if code != -signal.SIGKILL:
        break
"""
"""Starts a search again and again, each killed before one more step of its writing to `runs`."""


def test_a_search_killed_at_any_step_of_writing_its_run_file_can_be_started_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_WRITING]
    with session(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE) as drivers:
        *killed, last = drivers.communicate(timeout=LIMIT_S)[0].split()
    assert (set(killed), last) == ({str(-signal.SIGKILL)}, "0")
    found = []
    for step in range(1, len(killed) + 1):
        folder = tmp_path / str(step) / "runs" / "new"
        there = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.exists() else []
        found.append([".new.tmp" if name.startswith(".new.") else name for name in there])
        if not folder.exists():
            assert new_run_folder(folder.parent, "new", "digits") == folder
            write_run_file(folder, compose(None, None, {}, []))
        assert read_config(folder).trials
        assert [path.name for path in folder.parent.iterdir()] == ["new"]
    assert [there for there, _ in itertools.groupby(found)] == [[], [".new.tmp"], ["new"]]


@given(kills=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_plan_holds_every_kind_of_kill_in_an_order_that_can_come(kills: int, seed: int) -> None:
    planned = plan(kills, seed)
    assert len(planned) == kills
    assert not any(POINTS[name].survived and POINTS[after].early for name, after in pairwise(planned))
    assert set(planned) == set(POINTS) or kills < len(POINTS) + 1
    ends = [name for name in planned if name in AT_THE_END]
    assert planned[len(planned) - len(ends) :] == ends
    assert plan(kills, seed) == planned


@given(kills=st.integers(1, 60), seed=st.integers(0, 99), compared=st.booleans())
def test_planned_actions_are_all_of_them_and_leave_a_compared_search_as_it_was(
    kills: int, seed: int, compared: bool
) -> None:
    planned = plan_actions(kills, seed, compared=compared)
    names = {name for name, action in ACTIONS.items() if not (compared and action.flags)}
    assert set(planned) <= names
    assert set(planned) == names or len(planned) < len(names)
    assert plan_actions(kills, seed, compared=compared) == planned


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    """A process that leads a session, with a child."""
    with session(["sh", "-c", "sleep 600 & echo; wait"], stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None
        leader.stdout.readline()
        yield leader


def test_a_dead_drivers_processes_are_found_and_ended(family: subprocess.Popen[str]) -> None:
    assert wait_until(lambda: {process.name for process in processes_of(family.pid)} == {"sh", "sleep"}, 60)
    members = processes_of(family.pid)
    stop(members)
    assert {process.state for process in processes_of(family.pid)} == {"T"}
    family.kill()
    family.wait()
    assert clear(family.pid, 30) == 1
    assert [find_process(process.pid) for process in members] == [None, None]
