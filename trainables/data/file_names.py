"""Names of files in messages and tables, where they may hold any bytes and any character."""

import os
from pathlib import Path


def utf8_name(name: str) -> str:
    r"""Return `name` with the bytes that are not UTF-8 written as \xe9, so that it can be encoded."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def shown(path: Path | str) -> str:
    r"""Return `path` for one line of a message: as `utf8_name`, and with line breaks and the like written as \n."""
    text = utf8_name(str(path))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
