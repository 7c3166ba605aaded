"""A wheel built from this tree runs the everyday commands in an environment of its own, far from the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.cli import ROOT, TINY

pytestmark = [pytest.mark.slow, pytest.mark.network]
UV = Path(sys.executable).with_name("uv")


def done(*command: str | Path, cwd: Path) -> str:
    """What `command` writes to stdout, in an environment that knows nothing of this one."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    outcome = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, (command, outcome.stdout, outcome.stderr)
    assert "Traceback" not in outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done(UV, "build", "--wheel", "--quiet", "--out-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_of_the_tree(wheel: Path) -> None:
    packages = ("model_zoo", "results", "search", "trainables")
    expected = {str(path.relative_to(ROOT)) for name in packages for path in (ROOT / name).rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.endswith(".py")}
    assert held == expected


def test_the_everyday_commands_run_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    done(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "env", cwd=tmp_path)
    locked = ("--constraint", ROOT / "requirements.lock")
    done(UV, "pip", "install", "--quiet", "--python", python, *locked, wheel, cwd=tmp_path)
    home = tmp_path / "elsewhere"
    home.mkdir()
    place = done(python, "-c", "import search; print(search.__file__)", cwd=home)
    assert Path(place.strip()).is_relative_to(tmp_path / "env")
    assert "trials" in done(python, "-m", "search.run", "--name=first", *TINY, cwd=home)
    assert "rank" in done(python, "-m", "results.leaderboard", "first", cwd=home)
    assert "test accuracy" in done(python, "-m", "search.evaluate", "first", cwd=home)
    assert "5 trials" in done(python, "-m", "search.run", "--resume=first", "--trials=5", cwd=home)
    assert "parambudget" in done(python.with_name("parambudget"), "--version", cwd=home)
