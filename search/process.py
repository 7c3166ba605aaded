"""How a command's process starts and ends: a check that its packages are ours, and an exit that is safe with Ray."""

from __future__ import annotations

import importlib.util
import os
import pwd
import stat
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


SOCKET_ROOM = 41
"""Most characters of the folder in which Ray makes its own: a socket's path has at most 107."""


def repair_environment() -> None:
    """Gives this process a home and a folder for Ray's sockets where its environment has no usable ones.

    Ray writes a token to the home and ends where it cannot; the data sets are cached there too.
    """
    from results.record.storage import permits  # after check_origin

    def usable(folder: Path) -> bool:
        return os.path.isdir(folder) and permits(folder, os.R_OK | os.W_OK | os.X_OK)

    os.environ.setdefault("RAY_TMPDIR", os.environ.get("TMPDIR") or "/tmp")
    place = os.environ["RAY_TMPDIR"]
    ray = Path(place, "ray")
    if (
        len(os.fsencode(os.path.abspath(place))) > SOCKET_ROOM
        or not usable(Path(place))
        or (os.path.lexists(ray) and not usable(ray))
    ):
        os.environ["RAY_TMPDIR"] = own_folder()
    try:
        account = pwd.getpwuid(os.geteuid())
    except KeyError:  # a container's user that no file names
        account = None
        os.environ.setdefault("USER", f"user-{os.geteuid()}")
    home = os.environ.get("HOME") or (account.pw_dir if account else "")
    if not home or Path(home).resolve() == Path("/") or not os.path.isdir(home):
        home = own_folder()
    os.environ["HOME"] = home


def own_folder() -> str:
    """A short folder in /tmp that only this user can write; made if it is missing."""
    folder = Path("/tmp", f"parambudget-{os.geteuid()}")
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    with suppress(OSError):
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022:
            return str(folder)
    import tempfile  # it loads the random module, and hardly any command gets here

    return tempfile.mkdtemp(prefix="parambudget-", dir="/tmp")  # the name is another user's


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
