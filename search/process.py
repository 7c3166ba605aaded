"""How a command's process starts and ends: a check that its packages are ours, and an exit that is safe with Ray."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PACKAGES = ("model_zoo", "results", "search", "trainables")


def foreign_packages() -> dict[str, str]:
    """Those of our packages that Python does not find beside `search`, each with the place where it is found."""
    home = Path(__file__).resolve().parent.parent
    foreign = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
        if home / name not in places:
            foreign[name] = str(places[0]) if places else (str(spec.origin) if spec else "nowhere")
    return foreign


def check_origin() -> None:
    """Exits with code 2 and one line when a package of the same name hides one of ours."""
    foreign = foreign_packages()
    if foreign:
        found = ", ".join(f"{name} from {place}" for name, place in foreign.items())
        print(  # noqa: T201  (the code that prints errors elsewhere is in `results`, which may be the hidden package)
            f"error: {found}, not from {Path(__file__).resolve().parent.parent}; leave that folder or uninstall the "
            "other distribution, or install parambudget in a virtual environment of its own",
            file=sys.stderr,
        )
        sys.exit(2)


def leave(code: int) -> NoReturn:
    """Ends this process with `code`; after Ray was used, it does so without the interpreter's own shutdown.

    Ray's native threads outlive `ray.shutdown`. They once aborted the interpreter of an interrupted session after it
    had written everything: exit code -6 after SIGTERM while Ray started, seen by benchmarks/chaos/command.py.
    """
    if "ray" not in sys.modules:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a pipe without a reader, a closed stream
            stream.flush()
    os._exit(code)
