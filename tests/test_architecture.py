"""The house stays straight: arrows go down only, Ray is where it is said to be, packages start light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import ROOT

PACKAGES = ("model_zoo", "results", "search", "trainables")
ALLOWED = {
    "model_zoo": {"model_zoo"},
    "results": {"results"},
    "trainables": {"trainables", "model_zoo"},
    "search": set(PACKAGES),
}
RAY_FILES = {
    "search/asha.py",
    "search/ray_session.py",
    "search/searcher.py",
    "search/tuning.py",
    "trainables/ray_trainable.py",
}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level names a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    names = imported(path)
    assert names & set(PACKAGES) <= ALLOWED[package]
    assert "ray" not in names or str(path.relative_to(ROOT)) in RAY_FILES
    if package == "results":
        assert not names & {"torch", "torchvision", "optuna"}
    if package == "model_zoo":
        assert not names & {"pandas", "pyarrow", "optuna", "numpy", "os", "pathlib"}


def test_the_ray_files_are_named_in_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    using = {str(path.relative_to(ROOT)) for path in MODULES if "ray" in imported(path)}
    assert using == RAY_FILES
    assert all(name in text for name in RAY_FILES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for_and_none_hides_a_standard_one(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("search.run", {"torch", "ray", "pandas", "optuna", "duckdb"}),
        ("results.leaderboard", {"torch", "ray", "pandas", "optuna", "duckdb"}),
        ("search.space", {"torch", "ray", "pandas", "optuna"}),
        ("model_zoo", {"torch"}),
        ("trainables.ray_trainable", {"torch", "torchvision", "plotly"}),
    ],
)
def test_heavy_libraries_are_imported_only_when_needed(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not absent & set(loaded.split())
