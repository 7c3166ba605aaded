"""The README and the pages beside it say what is so: their commands run, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import results.leaderboard
import results.runs
import results.show
import search.cli
import search.evaluate
import search.export
import search.refit
import search.run
import search.space
from results import read_record, write_tables
from results.console import run_app
from results.ranking.ranking_rule import RANKING_RULE
from results.record.events import TRIAL_ENDS
from results.record.trial_state import OPEN_STATUSES
from search.config import compose
from search.config.changes import CHANGEABLE
from search.layouts import LayoutSpace
from tests.support.cli import ROOT, run
from tests.support.trained_run import write_trained_run
from trainables.errors import TrainablesError
from trainables.recipe import Recipe

LOGS = {"decisions.md", "measurements.md"}
"""Pages that keep what was once run; their commands are not those of today."""
EVERY_PAGE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {page.name: page.read_text() for page in EVERY_PAGE if page.name not in LOGS}
APPS = {
    "search.run": search.run.app,
    "search.space": search.space.app,
    "search.refit": search.refit.app,
    "search.evaluate": search.evaluate.app,
    "search.export": search.export.app,
    "results.leaderboard": results.leaderboard.app,
    "results.runs": results.runs.app,
    "results.show": results.show.app,
}
MOST_LINES = 120


def blocks(language: str, page: str) -> list[str]:
    """The fenced blocks of `language` in the text `page`; those without one have the language ''."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text for given, text in found if given == language]


def commands(page: str) -> list[str]:
    """The lines of the page's fenced blocks that are commands."""
    return [line for text in blocks("", page) for line in text.splitlines() if line.startswith(("python -m ", "make "))]


EVERYDAY = [line for line in commands(PAGES["README.md"]) if " first" in line]
OTHERS = sorted({line for page in PAGES.values() for line in commands(page)} - set(EVERYDAY))
MAKE = [line for line in OTHERS if line.startswith("make ")]
OTHERS = [line for line in OTHERS if line not in MAKE]


def flags_of(app: typer.Typer) -> set[str]:
    """The flags of a command, or of all commands of a group of them."""
    command: Any = typer.main.get_command(app)
    members = [command, *getattr(command, "commands", {}).values()]
    parameters = [parameter for member in members for parameter in member.params]
    return {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}


def test_the_readme_is_short_and_names_every_command() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES
    assert {line.split()[2] for line in EVERYDAY + OTHERS} == APPS.keys()
    assert len(EVERYDAY) == 4
    assert set(commands(PAGES["README.md"])) >= {"make search", "make test"}


@pytest.mark.parametrize("line", MAKE)
def test_make_knows_its_targets(line: str) -> None:
    plan = subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"make search": "python -m search.run", "make test": "python -m pytest", "make check": "ruff"}[line] in plan


@pytest.mark.search
def test_the_everyday_commands_work_in_their_order(tmp_path: Path) -> None:
    for line in EVERYDAY:
        module, *arguments = shlex.split(line)[2:]
        outcome = run(module, *arguments, cwd=tmp_path)
        assert outcome.returncode == 0, (line, outcome.stderr)
        assert "Traceback" not in outcome.stderr
        assert outcome.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of: the runs `first` and `sure`, images of classes, images without."""
    folder = tmp_path_factory.mktemp("reader")
    write_trained_run(folder / "runs" / "first", blocks=(1, 1, 2), channels=(8, 16, 24))
    record = folder / "runs" / "first" / "record.jsonl"
    write_tables(record.parent, read_record(record.parent), record.stat().st_size)
    (folder / "configs").symlink_to(ROOT / "configs")
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 24, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        place = folder / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    shutil.copytree(folder / "pictures" / "cat", folder / "new-images")
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `prepared` as the working directory."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    return folder


@pytest.mark.parametrize("line", OTHERS)
def test_the_other_commands_work(line: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module, *arguments = shlex.split(line)[2:]
    planned = module in ("search.run", "search.refit")
    if planned and "--dry-run" not in arguments:
        arguments.append("--dry-run")  # the plan reads and checks every flag
    if not planned:
        shutil.copytree("runs/first", "runs/sure")  # which the pages start by a command, planned above
    before = set(here.iterdir())
    code = run_app(APPS[module], arguments, user_errors=(TrainablesError,))
    shown = capfd.readouterr()
    assert code == 0, shown.err
    assert shown.out or set(here.iterdir()) > before
    assert not planned or "Nothing was launched." in shown.out


@pytest.mark.parametrize("module", APPS)
def test_every_flag_beside_a_command_is_one_of_its_own(module: str) -> None:
    given = {flag for line in EVERYDAY + OTHERS if module in line for flag in re.findall(r"--[a-z][a-z-]+", line)}
    assert given <= flags_of(APPS[module])


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_in_the_text_is_one_of_some_command(page: str) -> None:
    known = set().union(*map(flags_of, [*APPS.values(), search.cli.app])) | {"--help"}
    quoted = re.findall(r"`([^`\n]+)`", PAGES[page])
    assert {flag for text in quoted for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)} <= known


@pytest.mark.parametrize("page", PAGES)
def test_every_key_in_the_text_exists(page: str) -> None:
    known = {"space": LayoutSpace.model_fields.keys(), "recipe": Recipe.model_fields.keys() | {"families"}}
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)  # one shows a wrong key refused
    for table, key in re.findall(r"(?<![\w./])(space|recipe)\.([a-z_]+)", text):
        assert key in known[table], f"{table}.{key}"


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end in, as GitHub makes it of their text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target


def test_the_index_of_decisions_has_every_decision() -> None:
    page = ROOT / "docs" / "decisions.md"
    index = set(re.findall(r"^- \[.+\]\(#(.+)\)$", page.read_text(), re.MULTILINE))
    assert index == anchors(page) - {"decisions"}


def test_the_toml_examples_are_configurations(tmp_path: Path) -> None:
    examples = [text for page in PAGES.values() for text in blocks("toml", page)]
    assert examples
    for text in examples:
        (tmp_path / "run.toml").write_text(text)
        compose(tmp_path / "run.toml", None, {}, [])
    config = compose(tmp_path / "run.toml", None, {}, [])
    assert (config.space.min_params, config.space.max_params) == (200_000, 250_000)
    assert len(config.recipe.values_of("cutmix_alpha")) == 2


ELSEWHERE = "export.md"
"""The page whose Python runs in tests/search/evaluation/test_export_formats.py, without this project."""


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if blocks("python", text) and name != ELSEWHERE])
def test_the_python_examples_run(page: str, here: Path) -> None:
    for text in blocks("python", PAGES[page]):
        names: dict[str, object] = {"__name__": page}
        exec(compile(text, page, "exec"), names)
        assert len(names) > 2, "an example defines or imports something"  # beside its name and the builtins


def test_what_the_pages_list_is_all_there_is() -> None:
    for page in ("README.md", "leaderboard.md"):
        assert f"Ranked by {RANKING_RULE}." in " ".join(PAGES[page].split())
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGES["leaderboard.md"].split("## Statuses")[1], re.MULTILINE)
    assert set(rows) == {*OPEN_STATUSES, *TRIAL_ENDS}
    table = PAGES["resuming.md"].split("## What a resume may change")[1].split("\n\n")[1]
    named = {text.removeprefix("--").replace("-", "_") for text in re.findall(r"`([^`]+)`", table)}
    assert named == {key.rpartition(".")[2].removesuffix("_s") for key in CHANGEABLE}
