"""What stops a session, and what a new one settles before it starts: trials decided but not ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results import Record
from results.record.trial_state import Limits
from search.config.views import Ladder
from search.driver.reconcile import reconcile
from search.driver.session import RequestedStop
from search.driver.stopping import StopRequest, sigterm_kept, stop_on_signals, terminated_like_interrupted
from search.runs.rungs import AshaRungs
from tests.support.cli import ROOT
from tests.support.results_fixtures import run_trial, start_session


def test_a_deadline_stops_everything_once_it_is_past() -> None:
    assert not StopRequest(None).stop_all()
    assert not StopRequest(time.monotonic() + 3600).stop_all()
    halt = StopRequest(time.monotonic() - 1)
    assert halt.stop_all()
    assert halt.reason == "time-budget"
    assert not RequestedStop(halt)("trial", {"epoch": 1})
    assert RequestedStop(halt).stop_all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_the_stop_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    halt = StopRequest(time.monotonic() + 3600)
    with stop_on_signals(halt):
        os.kill(os.getpid(), number)
        assert halt.stop_all()
        assert halt.reason == "interrupted"
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_does_not_wait() -> None:
    halt = StopRequest(None)
    with stop_on_signals(halt):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_before_there_is_a_session_is_a_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminated_like_interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def take_sigterm(*, sent: bool) -> None:
    """As Ray's start does, with a handler that exits; `sent` while it starts."""
    with sigterm_kept():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        if sent:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_start_that_takes_sigterm_for_itself_gives_it_back() -> None:
    halt = StopRequest(None)
    with stop_on_signals(halt):
        take_sigterm(sent=False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert halt.reason == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            take_sigterm(sent=True)


def test_trials_decided_before_their_driver_died_are_ended(tmp_path: Path) -> None:
    """The driver died after trial 2's report at the first rung and after trial 3's last epoch."""
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {2: 0.6, 4: 0.8})
        run_trial(record, 1, {2: 0.7}, status=None)  # above the median: it goes on
        run_trial(record, 2, {2: 0.1}, status=None)  # below: it was to be stopped
        run_trial(record, 3, {2: 0.9, 4: 0.9}, status=None)
        run_trial(record, 4, {}, status=None)
        reconcile(record, Limits(0, 10**6, 4), AshaRungs(Ladder((2, 4), 2)), checkpoints=3)
        statuses = {number: trial.status for number, trial in record.state.trials.items()}
    assert statuses == {0: "completed", 1: "running", 2: "stopped", 3: "completed", 4: "running"}


def test_a_trial_that_was_let_on_is_not_stopped_by_those_that_came_later(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {2: 0.3}, status=None)
        run_trial(record, 1, {2: 0.9}, status=None)
        run_trial(record, 2, {2: 0.95}, status=None)
        reconcile(record, Limits(0, 10**6, 4), AshaRungs(Ladder((2, 4), 2)), checkpoints=3)
        assert {trial.status for trial in record.state.trials.values()} == {"running"}


@pytest.mark.parametrize(("imported", "code"), [("ray", 7), ("json", -signal.SIGABRT)])
def test_a_process_that_used_ray_leaves_before_anything_can_abort_its_end(imported: str, code: int) -> None:
    script = (
        f"import atexit, os, {imported}\n"
        "from search.process import leave\n"
        "atexit.register(os.abort)\n"
        "print('all is said')\n"
        "leave(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout == "all is said\n"
