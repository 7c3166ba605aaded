"""The processes of one search in Linux's /proc, found by their session and never by their name alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.002
"""Seconds between two checks of a condition."""


@dataclass(frozen=True)
class Process:
    """One process; its start time distinguishes it from a later one with the same id."""

    pid: int
    parent: int
    session: int
    """Id of the process that leads its session, which is the driver; Ray's own processes stay in that session."""
    state: str
    """As in /proc: R, S, D, T (stopped), Z (dead but not yet waited for)."""
    started: int
    """Start time in clock ticks since the machine started."""
    name: str
    """The first word of its command line without the folder; `ray::...` for a worker of Ray."""


def find_process(pid: int) -> Process | None:
    """The process `pid`; None if there is none or it has already exited."""
    folder = Path("/proc", str(pid))
    try:
        # The command's name is in parentheses and may itself contain parentheses and spaces.
        _, _, rest = (folder / "stat").read_text().rpartition(") ")
        command = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = rest.split()
    name = command if command.startswith("ray::") else command.rpartition("/")[2]
    process = Process(pid, int(fields[1]), int(fields[3]), fields[0], int(fields[19]), name)
    return None if process.state in "ZX" else process


def processes_of(leader: int) -> list[Process]:
    """The live processes of the session of `leader`, dead or alive, and their descendants."""
    found = {
        pid: process for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if (process := find_process(pid))
    }
    inside = {pid for pid, process in found.items() if process.session == leader}
    while more := {pid for pid, process in found.items() if process.parent in inside} - inside:
        inside |= more
    return [found[pid] for pid in sorted(inside)]


def is_worker(process: Process) -> bool:
    """Whether the process runs trials."""
    return process.name.startswith("ray::") and "Trainable" in process.name


def send(process: Process, number: signal.Signals) -> None:
    """Sends a signal, unless the process no longer exists."""
    current = find_process(process.pid)
    if current is not None and current.started == process.started:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def interrupt(leader: int) -> None:
    """Sends SIGINT to the whole process group of `leader`, as a terminal does for Ctrl-C."""
    try:
        os.killpg(leader, signal.SIGINT)
    except ProcessLookupError:
        return


def wait_until(happened: Callable[[], bool], limit_s: float) -> bool:
    """Waits until `happened` returns True, at most `limit_s` seconds; returns whether it did."""
    deadline = time.monotonic() + limit_s
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def stop(processes: Iterable[Process]) -> None:
    """Suspends processes where SIGKILL would end them; returns when none of them runs any more."""
    stopped = list(processes)
    for process in stopped:
        send(process, signal.SIGSTOP)
    wait_until(lambda: all(p is None or p.state in "Tt" for p in (find_process(s.pid) for s in stopped)), 10)


def clear(leader: int, patience_s: float) -> int:
    """Waits until no worker of a dead driver runs a trial, kills the other processes, and returns how many it killed.

    Workers that outlast `patience_s` are killed too. Ray's daemons, and workers without a trial, linger for minutes.
    """
    wait_until(lambda: not any(map(is_worker, processes_of(leader))), patience_s)
    left = processes_of(leader)
    for process in left:
        send(process, signal.SIGKILL)
    wait_until(lambda: not processes_of(leader), patience_s)
    return len(left)
