"""The record among processes: one driver at a time, nothing lost with a killed one, no part of a refused line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from results.errors import RecordLockedError
from results.record.record import Record, read_record
from tests.support.processes import ROOT, session
from tests.support.results_fixtures import start_session


def in_python(code: str, *arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return session(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


HOLD = """
import sys, time
from pathlib import Path
from results import Record
with Record(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_driver_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    with in_python(HOLD, tmp_path) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        with pytest.raises(RecordLockedError) as caught:
            Record(tmp_path)
        driver.kill()
    assert f"process {driver.pid} on {os.uname().nodename}" in str(caught.value)
    with Record(tmp_path) as record:
        start_session(record)
        with pytest.raises(RecordLockedError, match=f"process {os.getpid()} on"):
            Record(tmp_path)


APPEND = """
import sys
from pathlib import Path
from results import Record
from tests.support.results_fixtures import start_session, suggestion
with Record(Path(sys.argv[1])) as record:
    start_session(record, len(record.state.sessions) + 1)
    while True:
        trial = len(record.state.trials)
        record.append("suggested", **suggestion(trial))
        print(trial, flush=True)
"""


def test_what_a_killed_driver_appended_is_there(tmp_path: Path) -> None:
    for _ in range(3):
        with in_python(APPEND, tmp_path) as driver:
            assert driver.stdout is not None
            acknowledged = [int(driver.stdout.readline()) for _ in range(20)]
            driver.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in driver.stdout]
        trials = read_record(tmp_path).trials
        assert set(acknowledged) <= set(trials)
        assert sorted(trials) == list(range(len(trials)))


FILL = """
import resource, sys
from pathlib import Path
from results import Record
from tests.support.results_fixtures import start_session, suggestion
with Record(Path(sys.argv[1])) as record:
    start_session(record)
    resource.setrlimit(resource.RLIMIT_FSIZE, (record.size + 100, resource.RLIM_INFINITY))
    try:
        record.append("suggested", **suggestion(0))
    except OSError:
        print(record.path.stat().st_size == record.size, sorted(record.state.trials))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(record.append("suggested", **suggestion(0)))
"""


def test_a_line_that_the_disk_refuses_leaves_no_part(tmp_path: Path) -> None:
    with in_python(FILL, tmp_path) as driver:
        output, _ = driver.communicate(timeout=60)
    assert output.split("\n")[:2] == ["True []", "True"]
    assert read_record(tmp_path).skipped == []
