"""A user's mistake is one line with the value, the limit and the remedy, and exit code 2; nothing is launched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import search.cli
import search.run
from tests.support.cli import COMMANDS, ROOT, command, environment, run

MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "all problems at once": (
        ["--trials=0", "--max-params=-5", "--set=recipe.momentum=2", "--set=recipe.optimiser=sgd"],
        ["4 problems", "trials: 0", "space.max_params: -5", "recipe.momentum: 2", "did you mean optimizer"],
    ),
    "unknown flag": (["--trails=3"], ["--trails", "did you mean --trials?"]),
    "a flag like none": (["--pareto"], ["no such option --pareto (see "]),
    "a flag that is a key": (["--lr=3"], ["no such option --lr; did you mean --set recipe.learning_rate=VALUE?"]),
    "a data set like none": (["--dataset=nosuch"], ["an existing folder; use a known one (known: digits, "]),
    "not a number": (["--trials=many"], ["many"]),
    "unknown data set": (["--dataset=cifar11"], ["cifar11", "did you mean 'cifar10'?"]),
    "unknown sampler": (["--sampler=best"], ["sampler", "best", "tpe"]),
    "unknown sampler of Optuna": (["--sampler=optuna:Best"], ["sampler: optuna:Best", "use optuna:CmaEsSampler, "]),
    "too many cores": (["--cpus-per-trial=4096"], ["4096 requested", "this machine has", "lower --cpus-per-trial"]),
    "too many at a time": (["--concurrency=4096"], ["concurrency: 4096", "room for", "lower --concurrency"]),
    "nothing fits the budget": (["--max-params=100", "--min-params=0"], ["max_params", "smallest", "budget of 100"]),
    "nothing is large enough": (
        ["--max-params=2000000000", "--min-params=1000000000"],
        ["min_params", "largest", "floor of 1,000,000,000"],
    ),
    "window upside down": (["--max-params=10", "--min-params=20"], ["min_params 20 exceeds max_params 10"]),
    "grace beyond the end": (["--max-epochs=4", "--grace-epochs=5"], ["grace_epochs: 5", "max_epochs (4)"]),
    "epochs in the recipe": (["--set=recipe.epochs=3"], ["recipe.epochs: no such key", "set the run's max_epochs"]),
    "classes in the space": (["--set=space.classes=3"], ["space.classes: 3", "digits has 10"]),
    "set without a value": (["--set=recipe.momentum"], ["recipe.momentum", "key=value"]),
    "duration": (["--time-budget=soon"], ["soon", "1h30m"]),
    "no size": (["--disk-quota=lots"], ["disk_quota: 'lots'", "20G"]),
    "a quota that holds no search": (["--disk-quota=100K"], ["disk_quota: 100 KiB given", "raise --disk-quota to"]),
    "no such file": (["--config=absent.toml"], ["absent.toml", "cannot be read"]),
    "no such run": (["--resume=absent"], ["no run 'absent'"]),
    "name of a path": (["--name=a/b"], ["name: 'a/b'"]),
    "resume with a new name": (["--resume=absent", "--name=other"], ["--name", "--resume"]),
    "unreachable cluster": (["--address=127.0.0.1:1"], ["127.0.0.1:1", "cannot be reached"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    flags, expected = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["search.run", *flags])
    assert search.run.main() == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    for text in expected:
        assert text in shown.err
    assert not (tmp_path / "runs").exists()


def test_broken_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("trials = [")
    outcome = run("search.run", "--config=broken.toml", cwd=tmp_path)
    assert (outcome.returncode, outcome.stderr.count("\n")) == (2, 1)
    assert "broken.toml: not valid TOML" in outcome.stderr


def test_an_existing_name_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    outcome = run("search.run", "--name=mine", cwd=tmp_path)
    assert outcome.returncode == 2
    assert "--resume mine" in outcome.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_help_ends_with_examples(module: str, tmp_path: Path) -> None:
    outcome = run(module, "--help", cwd=tmp_path)
    assert outcome.returncode == 0
    assert "Example:" in outcome.stdout
    assert f"python -m {module}" in outcome.stdout
    assert outcome.stderr == ""


GROUP: Any = typer.main.get_command(search.cli.app)
COMMANDS: dict[str, Any] = GROUP.commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_the_help_has_a_text_and_no_default_is_in_the_words_of_python(name: str) -> None:
    context = COMMANDS[name].make_context(name, [], resilient_parsing=True)
    for parameter in COMMANDS[name].get_params(context):
        _, text = parameter.get_help_record(context)
        assert text.lstrip("[")[:1].isupper(), parameter.name
    assert not re.search(r"\[default: (\(\)|None|\[\])", COMMANDS[name].get_help(context))


def test_the_options_of_a_search_are_in_groups() -> None:
    context = COMMANDS["run"].make_context("run", [], resilient_parsing=True)
    shown = COMMANDS["run"].get_help(context)
    titles = re.findall(r"^([A-Z][\w ]+):$", shown, flags=re.MULTILINE)
    assert titles == ["Arguments", *search.run.GROUPS]
    options = [it for it in COMMANDS["run"].get_params(context) if it.param_type_name == "option"]
    assert sorted(name for names in search.run.GROUPS.values() for name in names) == sorted(it.name for it in options)
    found = [shown.index(f"\n  {option.opts[0]} ") for option in options]
    assert len(set(found)) == len(options)


def test_a_package_of_the_same_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "__init__.py").write_text("")
    outcome = subprocess.run(
        command("search.run", "--help"),
        cwd=ROOT,
        env=environment() | {"PYTHONPATH": f"{tmp_path}", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2, outcome.stdout
    assert f"results from {tmp_path / 'results'}" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_the_console_script_holds_every_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("parambudget")
    outcome = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = {line.split()[0] for line in outcome.stdout.partition("Commands:")[2].splitlines() if line.strip()}
    assert names == {"run", "space", "leaderboard", "runs", "report", "show", "refit", "evaluate", "export"}
    mistake = subprocess.run([script, "space", "--max-params=1"], cwd=tmp_path, capture_output=True, text=True)
    assert mistake.returncode == 2
    assert mistake.stderr.startswith("error: ")
    assert mistake.stderr.count("\n") == 1
