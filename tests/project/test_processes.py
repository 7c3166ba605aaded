"""The processes that tests start are gone with their test, and with pytest however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from benchmarks.chaos.processes import Process, find_process, processes_of, wait_until
from tests.support.cli import environment
from tests.support.processes import END_S, session

FAMILY = ["sh", "-c", "sleep 600 & setsid sleep 600 & echo; wait"]
"""A process with a child, and one that has left its session."""
KILLED = """
import os, signal
from tests.support.processes import session
with session(["sleep", "600"]) as process:
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_session_ends_with_a_test_that_fails() -> None:
    family: list[Process] = []

    def test() -> None:
        with session(FAMILY, stdout=subprocess.PIPE) as leader:
            assert leader.stdout is not None
            leader.stdout.readline()
            assert wait_until(lambda: len(processes_of(leader.pid)) == 3, END_S)
            family.extend(processes_of(leader.pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        test()
    assert [find_process(process.pid) for process in family] == [None] * 3


def test_a_session_ends_when_the_process_that_started_it_is_killed() -> None:
    with session([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, env=environment()) as starter:
        assert starter.stdout is not None
        started = int(starter.stdout.readline())
        assert starter.wait() == -signal.SIGKILL
        assert wait_until(lambda: find_process(started) is None, END_S)
