"""Every command of the README runs as written."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import ROOT, run

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith(("python -m ", "make "))]
ON_DIGITS = [line for line in COMMANDS if re.search(" first| sure|leaderboard --where", line)]
MAKE = [line for line in COMMANDS if line.startswith("make ")]
OTHERS = [line for line in COMMANDS if line not in ON_DIGITS and line not in MAKE]


def test_the_readme_names_every_command() -> None:
    modules = {line.split()[2] for line in COMMANDS if line.startswith("python")}
    assert modules == {"search.run", "search.space", "search.evaluate", "results.leaderboard"}
    assert MAKE == ["make search", "make test"]
    assert len(ON_DIGITS) + len(OTHERS) + len(MAKE) == len(COMMANDS)


@pytest.mark.parametrize("line", MAKE)
def test_make_knows_its_targets(line: str) -> None:
    plan = subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"make search": "python -m search.run", "make test": "python -m pytest"}[line] in plan


def test_the_commands_on_digits_work_in_their_order(tmp_path: Path) -> None:
    for line in ON_DIGITS:
        module, *arguments = shlex.split(line)[2:]
        outcome = run(module, *arguments, cwd=tmp_path)
        assert outcome.returncode == 0, (line, outcome.stderr)
        assert "Traceback" not in outcome.stderr
        assert outcome.stdout


@pytest.mark.parametrize("line", OTHERS)
def test_the_other_commands_are_understood(line: str, tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    module, *arguments = shlex.split(line)[2:]
    if module == "search.run" and "--dry-run" not in arguments:
        arguments.append("--dry-run")  # hours of CIFAR-10; the plan reads and checks every flag
    outcome = run(module, *arguments, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "feasible" in outcome.stdout


def test_every_key_the_readme_names_exists() -> None:
    from search.layouts import LayoutSpace
    from trainables.recipe import Recipe

    for owner, key in re.findall(r"`(space|recipe)\.(\w+)`", README):
        assert key in {"space": LayoutSpace, "recipe": Recipe}[owner].model_fields


@pytest.mark.parametrize("module", ["search.run", "search.space", "search.evaluate", "results.leaderboard"])
def test_every_flag_beside_a_command_is_one_of_its_own(module: str, tmp_path: Path) -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", run(module, "--help", cwd=tmp_path).stdout))
    given = {flag for line in COMMANDS if module in line for flag in re.findall(r"--[a-z][a-z-]+", line)}
    assert given <= known


def test_every_file_of_the_map_exists() -> None:
    tree = README.split("## Files")[1].split("## Extending")[0]
    package = ""
    for line in tree.splitlines():
        found = re.match(r"(\w+)/", line)
        package = found[1] if found else package
        for name in re.findall(r"\b(\w+\.(?:py|md))\b", line):
            assert (ROOT / package / name).is_file(), f"{package}/{name}"


def test_the_toml_example_is_a_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "run.toml").write_text(example)
    outcome = run("search.run", "--config=run.toml", "--dataset=cifar10", "--dry-run", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "200,000 to 205,000" in outcome.stdout
