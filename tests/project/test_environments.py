"""Environments of containers and clusters: no home, an unknown user, long folders, CPU quotas, hangups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.config.composition import read_toml
from search.driver.stopping import StopRequest, sigterm_kept, stop_on_signals, terminated_like_interrupted
from search.errors import ConfigError
from search.machine import available_cpus, cpu_quota
from search.process import SOCKET_ROOM, own_folder, repair_environment
from tests.support.cli import TINY, environment, events


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, restored after the test also where `repair_environment` adds to it."""
    for name in ("HOME", "RAY_TMPDIR", "TMPDIR", "USER"):
        monkeypatch.setenv(name, os.environ.get(name, "/tmp"))
    return monkeypatch


@pytest.mark.parametrize("home", ["/", "//", "/nonexistent", ""])
def test_a_home_that_is_none_is_replaced(home: str, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("HOME", home)
    variables.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid")))
    repair_environment()
    assert os.environ["HOME"] == own_folder()
    assert Path.home().stat().st_mode & 0o777 == 0o700


def test_a_user_without_home_and_name_gets_both(variables: pytest.MonkeyPatch) -> None:
    variables.delenv("HOME")
    variables.delenv("USER")
    variables.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid")))
    repair_environment()
    assert os.environ["HOME"] == own_folder()
    assert os.environ["USER"] == f"user-{os.geteuid()}"


def test_a_good_home_is_kept(tmp_path: Path, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("HOME", str(tmp_path))
    repair_environment()
    assert os.environ["HOME"] == str(tmp_path)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_folders_that_ray_cannot_use_are_replaced(variable: str, tmp_path: Path, variables: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * SOCKET_ROOM)
    long.mkdir()
    (tmp_path / "file").write_text("")
    for value in (long, tmp_path / "absent", tmp_path / "file"):
        variables.delenv("RAY_TMPDIR", raising=False)
        variables.setenv(variable, str(value))
        repair_environment()
        assert os.environ["RAY_TMPDIR"] == own_folder()
        assert len(own_folder()) <= SOCKET_ROOM


def test_a_name_in_tmp_that_another_user_took_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4_000_001)  # the folder will belong to another user than this one
    taken = Path("/tmp/parambudget-4000001")
    taken.mkdir()
    try:
        given = Path(own_folder())
        assert given != taken
        given.rmdir()
    finally:
        taken.rmdir()


def cgroup(root: Path, files: dict[str, str], membership: str) -> tuple[Path, Path]:
    """A fake hierarchy and membership file."""
    for name, content in files.items():
        (root / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "fs" / name).write_text(content)
    (root / "membership").write_text(membership)
    return root / "fs", root / "membership"


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, "0::/a/b\n", 0.5),
        ({"cpu.max": "100000 100000"}, "0::/docker/not-mounted-here\n", 1.0),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, "3:cpu,cpuacct:/\n", 2.0),
        ({"cpu,cpuacct/x/cpu.cfs_quota_us": "1000", "cpu,cpuacct/x/cpu.cfs_period_us": "4000"}, "3:cpu:/x\n", 0.25),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu:/\n0::/\n", None),
        ({"cpu.max": "nonsense"}, "nonsense\n", None),
        ({}, "", None),
    ],
)
def test_a_cpu_quota_of_either_version_counts(
    files: dict[str, str], membership: str, quota: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = cgroup(tmp_path, files, membership)
    assert cpu_quota(*places) == quota
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cpus(*places) == {1.5: 2, 2.0: 2, None: 8}.get(quota, 1)


def test_a_quota_above_the_bound_cores_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert available_cpus(*cgroup(tmp_path, {"cpu.max": "900000 100000"}, "0::/\n")) == 2


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_toml_with_a_byte_order_mark_is_read(ending: str, tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_bytes(f"trials = 3{ending}[space]{ending}".encode("utf-8-sig"))
    assert read_toml(tmp_path / "windows.toml") == {"trials": 3, "space": {}}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_toml_in_another_encoding_is_named(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_bytes("trials = 3\n".encode(encoding))
    with pytest.raises(ConfigError, match=r"windows.toml: is in UTF-16 or UTF-32, .* save it as UTF-8"):
        read_toml(tmp_path / "windows.toml")


def test_a_hangup_is_a_stop_like_sigterm() -> None:
    stop = StopRequest(None)
    with stop_on_signals(stop):
        signal.raise_signal(signal.SIGHUP)
    assert stop.reason == "interrupted"
    with pytest.raises(KeyboardInterrupt), terminated_like_interrupted():
        signal.raise_signal(signal.SIGHUP)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    stop, before = StopRequest(None), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_like_interrupted(), stop_on_signals(stop):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stop.reason is None


def test_a_hangup_of_the_terminal_does_not_end_the_processes_of_ray() -> None:
    kill = [sys.executable, "-c", "import os; os.kill(os.getpid(), 1); print('alive')"]
    with sigterm_kept():
        inside = subprocess.run(kill, capture_output=True, text=True, check=False)
    assert (inside.returncode, inside.stdout) == (0, "alive\n")
    assert subprocess.run(kill, capture_output=True, check=False).returncode == -signal.SIGHUP


@pytest.mark.search
def test_a_search_outlives_its_reader_in_a_poor_environment(tmp_path: Path) -> None:
    """The reader leaves after one line, there is no home, and the folder for temporary files has a long path."""
    long = tmp_path / ("x" * SOCKET_ROOM)
    long.mkdir()
    flags = " ".join(f"'{flag}'" for flag in TINY)
    outcome = subprocess.run(
        ["bash", "-c", f'$PYTHON -m search.run {flags} --name=mine 2>&1 | head -1; exit "${{PIPESTATUS[0]}}"'],
        cwd=tmp_path,
        env=environment() | {"PYTHON": sys.executable, "HOME": "/", "TMPDIR": str(long)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stdout.count("\n") == 1
    ended = events(tmp_path / "runs" / "mine")
    assert ended[-1]["event"] == "session-ended"
    assert ended[-1]["reason"] == "done"
    assert len({event["trial"] for event in ended if event["event"] == "suggested"}) == 4
