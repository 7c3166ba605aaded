"""The predicate of a space, found by its import path; what is wrong with the path is said in one line."""

from __future__ import annotations

import difflib
import importlib
from typing import Any


def imported_predicate(path: str) -> Any:
    """The callable at the import path `package.module.function`.

    Raises:
        ValueError: the path's module or function is not there, importing it fails, or it is not callable.
    """
    module_name, _, name = path.strip().replace(":", ".").rpartition(".")
    if not module_name or not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise ValueError(f"{path!r} given; use the import path of a function, package.module.function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed(path, module_name, error) from error
        raise ValueError(
            f"{path!r} given; there is no module {error.name!r}; run the command where it is, or set PYTHONPATH"
        ) from error
    except Exception as error:  # whatever the user's module raises
        raise _failed(path, module_name, error) from error
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, dir(module), n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else "; check its name"
        raise ValueError(f"{path!r} given; module {module_name!r} has no {name!r}{meant}")
    found = getattr(module, name)
    if not callable(found):
        kind = type(found).__name__
        raise ValueError(f"{path!r} given; it has type {kind}; name a function that takes a layout")
    return found


def _failed(path: str, module_name: str, error: Exception) -> ValueError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return ValueError(f"{path!r} given; importing module {module_name!r} failed ({reason}); fix the module")
