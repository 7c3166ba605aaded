"""`--version` of every command."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from results.console import version_of
from tests.support.cli import COMMANDS, ROOT, environment, run

VERSION = f"parambudget {metadata.version('parambudget')}\n"


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_prints_the_version(module: str, tmp_path: Path) -> None:
    outcome = run(module, "--version", cwd=tmp_path)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, VERSION, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["run"], ["space"], ["evaluate"], ["export"], ["leaderboard"], ["show"]])
def test_the_console_script_and_its_commands_print_it_too(command: list[str], tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("parambudget")
    given = [script, *command, "--version"]
    outcome = subprocess.run(given, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, VERSION, "")


def test_a_mistake_beside_it_does_not_matter(tmp_path: Path) -> None:
    assert run("search.run", "--version", "--resume=absent", cwd=tmp_path).stdout == VERSION


def test_without_an_installation_it_is_that_of_the_source_or_unknown(tmp_path: Path) -> None:
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version_of("no-such-distribution", ROOT) == written
    assert version_of("no-such-distribution", tmp_path) == "unknown"
    for content in ("[project", "[project]\n", ""):
        (tmp_path / "pyproject.toml").write_text(content)
        assert version_of("no-such-distribution", tmp_path) == "unknown"
