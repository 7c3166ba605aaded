"""Places and environments that a command cannot use: one line and exit code 2 before any work, and nothing written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import results.leaderboard
import results.runs
import results.show
import search.evaluate
import search.evaluation.final  # its modules keep the function that a test here replaces
import search.export
import search.refit
import search.refitting
import search.run
from tests.support.cli import command, environment
from tests.support.trained_run import write_trained_run

NOBODY = 65534
COMMANDS = {
    "run": (search.run.main, ["--trials=1"]),
    "dry run": (search.run.main, ["--dry-run"]),
    "resume": (search.run.main, ["--resume=mine"]),
    "refit": (search.refit.main, ["mine"]),
    "evaluate": (search.evaluate.main, ["mine"]),
    "export": (search.evaluate.main, ["mine", "--export=out.pt2"]),
    "predict": (search.evaluate.main, ["mine", "--predict=images", "--output=out.csv"]),
    "hand in": (search.export.main, ["mine", "--output=out.pt2"]),
    "leaderboard": (results.leaderboard.main, []),
    "runs": (results.runs.main, []),
    "show": (results.show.main, ["mine"]),
}
READS = {"export", "predict", "hand in", "leaderboard", "runs", "show"}
STARTS = {"run", "dry run"}
PLACES = {
    "a file": "is not a folder; name a folder",
    "below a file": "is not a folder; name a folder",
    "a link to nothing": "is a link to nothing; name a folder",
    "s3://bucket/runs": "is a URL",
    "gs://bucket": "is a URL",
    "file:///mnt/runs": "is a URL",
    "read-only": "cannot be written",
    "hidden": "cannot be read (permission denied)",
    "missing": "no run",
}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere, so that the body is another user's."""
    if os.geteuid():
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with one storage for each of `PLACES`; pytest's own cannot be read by other users."""
    folder = Path(tempfile.mkdtemp(prefix="places-", dir="/tmp"))
    folder.chmod(0o777)
    (folder / "a file").write_text("")
    (folder / "a link to nothing").symlink_to("nothing")
    for name in ("read-only", "hidden"):
        write_trained_run(folder / name / "mine")
    (folder / "read-only" / "mine").chmod(0o555)
    (folder / "read-only").chmod(0o555)
    (folder / "hidden").chmod(0)
    try:
        yield folder
    finally:
        for name in ("read-only/mine", "read-only", "hidden"):
            (folder / name).chmod(0o700) if (folder / name).exists() else None
        shutil.rmtree(folder)


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below `folder`."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_storage_that_cannot_be_used_is_one_line(
    name: str, where: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if (where == "read-only" and name in READS) or (where == "missing" and name in STARTS):
        pytest.skip("that works")
    main, flags = COMMANDS[name]
    storage = "a file/runs" if where == "below a file" else where
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", [name, *flags, f"--storage={storage}"])
    monkeypatch.setattr("trainables.data.cache.open_part", None)  # no data set is prepared
    before = everything(place)
    with unprivileged():
        code = main()
    shown = capfd.readouterr()
    assert (code, shown.out, shown.err.count("\n")) == (2, "", 1), shown.err
    assert shown.err.startswith("error: ")
    assert PLACES[where] in shown.err
    assert everything(place) == before


@pytest.mark.parametrize(
    ("name", "output"),
    [("export", "--export=out.pt2"), ("predict", "--output=out.csv"), ("hand in", "--output=out.pt2")],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    name: str, output: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    main, given = COMMANDS[name]
    flags = [flag for flag in given if flag.partition("=")[0] != output.partition("=")[0]]
    to = output.replace("=", "=read-only/")
    monkeypatch.setattr(sys, "argv", [name, *flags, to, "--storage=read-only"])
    with unprivileged():
        assert main() == 2
    shown = capfd.readouterr().err
    assert shown.count("\n") == 1
    assert "cannot be written (permission denied)" in shown


def test_a_leaderboard_of_a_read_only_storage_is_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["leaderboard", "--storage=read-only", "--format=csv"])
    with unprivileged():
        assert results.leaderboard.main() == 0
    assert "mine" in capfd.readouterr().out


def shell(line: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell's line, in which `$PYTHON` is this one."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=cwd,
        env=environment() | {"PYTHON": sys.executable} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


STREAMED = (
    *("results.leaderboard --storage read-only", "results.runs --storage read-only"),
    "results.show mine --storage read-only",
    *("search.space", "search.run --dry-run"),
)


@pytest.mark.parametrize("module", STREAMED)
@pytest.mark.parametrize(
    ("ending", "variables", "code"),
    [
        (">&-", {}, 0),
        ("2>&-", {}, 0),
        ("<&- >&- 2>&-", {}, 0),
        ("2>/dev/full", {}, 0),
        (">/dev/full", {}, 2),
        ("2>&1 | head -1", {}, 0),
        ("", {"PYTHONIOENCODING": "ascii"}, 0),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, 0),
    ],
)
def test_a_stream_that_fails_is_no_traceback(
    module: str, ending: str, variables: dict[str, str], code: int, place: Path
) -> None:
    outcome = shell(f"$PYTHON -m {module} {ending}", place, **variables)
    assert outcome.returncode == code, outcome.stderr
    assert "Traceback" not in outcome.stdout + outcome.stderr
    assert "Exception ignored" not in outcome.stderr
    if code:
        assert outcome.stderr.splitlines(keepends=True)[-1] == (
            "error: stdout cannot be written (No space left on device); "
            "free space, or send the output to another file\n"
        )


@pytest.mark.parametrize("module", ["search.run", "search.space", "search.evaluate", "search.export", "search.keys"])
def test_a_foreign_package_in_the_folder_is_named(module: str, tmp_path: Path) -> None:
    (tmp_path / "model_zoo").mkdir()
    (tmp_path / "model_zoo" / "__init__.py").write_text("")
    outcome = subprocess.run(command(module, "--help"), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (outcome.returncode, outcome.stderr.count("\n")) == (2, 1)
    assert f"model_zoo from {tmp_path / 'model_zoo'}" in outcome.stderr
