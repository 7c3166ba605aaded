"""The house stays straight: arrows go down only, Ray and Optuna are where they are said to be, packages start light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT
from tests.support.imports import imported

PACKAGES = ("model_zoo", "results", "search", "trainables")
ALLOWED = {
    "model_zoo": {"model_zoo"},
    "results": {"results", "model_zoo"},
    "trainables": {"trainables", "model_zoo"},
    "search": set(PACKAGES),
    "benchmarks": {*PACKAGES, "benchmarks"},
}
PARTS = {
    "search": (
        *("errors", "text", "gpus", "machine", "process"),
        *("layouts", "recipes"),
        *("config", "sampling"),
        "runs",
        *("planning", "evaluation"),
        "driver",
        *("summary", "launch"),
        "refitting",
        *("run", "space", "refit", "evaluate", "export"),
        *("keys", "cli"),
    ),
    "trainables": (
        *("errors", "recipe", "schedule", "plateau", "image_sizes"),
        *("data", "augmentation", "optimization", "checkpoints"),
        *("devices", "process_settings", "network_setup", "host_images"),
        *("evaluation", "training", "ray_trainable"),
    ),
    "model_zoo": ("blocks", "widths", "layout", "complexity", "memory", "network", "building", "presets"),
    "results": (
        *("errors", "wording", "streams", "console", "record", "ranking", "trial_page", "pages"),
        *("leaderboard", "runs", "show", "report"),
    ),
}
"""The parts of a package, each of which imports earlier ones alone."""
ONLY_IN = {
    "ray": ("search/driver/", "trainables/ray_trainable.py"),
    "optuna": ("search/sampling/",),
}
"""Where a library may be imported."""
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in (*PACKAGES, "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODULES = [path for name, path in FILES.items() if name.partition(".")[0] in PACKAGES]


def targets(name: str) -> set[str]:
    """The modules of this project that the module `name` imports."""
    return {target for target in imported(FILES[name]) if target in FILES} - {name}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other, of two and more."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [*graph[start]]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += graph[node]
        return found

    reach = {node: reached(node) for node in graph}
    return sorted({tuple(sorted(b for b in graph if b in reach[a] and a in reach[b])) for a in graph if a in reach[a]})


def test_no_module_imports_itself_in_a_circle() -> None:
    # Other packages import what an __init__ exports; the modules beside it import each other directly.
    graph = {name: targets(name) for name in FILES}
    inits = {name for name, path in FILES.items() if path.name == "__init__.py"}
    plain = {name: {*(found - inits), *(t for i in found & inits for t in graph[i])} for name, found in graph.items()}
    assert circles({name: found for name, found in plain.items() if name not in inits}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [("b", "c")]


@pytest.mark.parametrize("package", PARTS)
def test_every_part_imports_earlier_ones_alone(package: str) -> None:
    order = PARTS[package]
    own = {name: name.split(".")[1] for name in FILES if name.startswith(f"{package}.")}
    assert set(own.values()) == set(order)
    upwards = [
        f"{name} imports {target}"
        for name, part in own.items()
        for target in targets(name)
        if target in own and own[target] != part and order.index(own[target]) > order.index(part)
    ]
    assert upwards == []


@pytest.mark.parametrize("path", FILES.values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    file = str(path.relative_to(ROOT))
    package = file.partition("/")[0]
    names = {name.partition(".")[0] for name in imported(path)}
    assert names & {*PACKAGES, "benchmarks", "tests"} <= ALLOWED[package]
    if package == "benchmarks":
        return
    for library, places in ONLY_IN.items():
        assert library not in names or file.startswith(places), f"{file} imports {library}"
    if package == "results":
        assert not names & {"torch", "torchvision"}
        assert "model_zoo" not in names or file.startswith("results/trial_page/")
    if package == "model_zoo":
        assert not names & {"pandas", "pyarrow", "numpy", "os", "pathlib"}


def test_the_places_of_ray_and_optuna_are_named_in_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for library, places in ONLY_IN.items():
        using = {
            str(path.relative_to(ROOT)) for path in MODULES if library in {n.split(".")[0] for n in imported(path)}
        }
        assert using
        assert all(any(file.startswith(place) for file in using) for place in places)
        assert all(f"`{place}`" in text for place in places)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for_and_none_hides_a_standard_one(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("search.run", {"torch", "ray", "pandas", "optuna", "duckdb", "results.record.events"}),
        ("results.leaderboard", {"torch", "ray", "pandas", "optuna", "duckdb", "pydantic"}),
        ("results.runs", {"torch", "ray", "pandas", "optuna", "duckdb", "pydantic", "pyarrow"}),
        ("results.show", {"torch", "ray", "pandas", "optuna", "duckdb", "pydantic", "pyarrow"}),
        ("results.report", {"torch", "ray", "pandas", "optuna", "duckdb", "pydantic", "pyarrow", "jinja2"}),
        ("results.trial_page.text", {"torch", "ray", "optuna", "pandas"}),
        ("search.space", {"torch", "ray", "pandas", "optuna"}),
        ("search.export", {"torch", "ray", "pandas", "optuna"}),
        ("search.keys", {"torch", "ray", "pandas", "optuna"}),
        ("model_zoo", {"torch"}),
        ("trainables.ray_trainable", {"torch", "torchvision", "plotly"}),
    ],
)
def test_heavy_libraries_are_imported_only_when_needed(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not absent & set(loaded.split())
