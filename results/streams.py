"""Standard streams that cannot end a command: closed from the start, not UTF-8, full, or left by their reader."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, Final

_ENDS: Final = {"stdout": 1, "stderr": 2}


class _SilencedFile(io.FileIO):
    """A file that writes to /dev/null from its first failure on, so that no program of this process sees one."""

    def write(self, content: Any, /) -> int:
        """Writes `content`, and reports it as written also if it was not."""
        try:
            return super().write(content) or 0
        except OSError:  # no reader, a full disk, a terminal that is gone
            discard(self.fileno())
            return memoryview(content).nbytes


def prepare_streams() -> None:
    """Opens closed streams on /dev/null, escapes characters that a stream cannot encode, and silences stderr."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened, such as a record, gets what is printed
            discard(number)
    for name in _ENDS:
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
    silence("stderr")


def silence(name: str) -> None:
    """Makes the standard stream `name`, stdout or stderr, drop what it cannot write instead of failing."""
    stream = getattr(sys, name)
    # only the process's own stream, not one that a program has put in its place
    if not isinstance(stream, io.TextIOWrapper) or stream is not getattr(sys, f"__{name}__"):
        return
    with suppress(OSError):
        stream.flush()
    silenced = io.TextIOWrapper(
        io.BufferedWriter(_SilencedFile(_ENDS[name], "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, silenced)


def discard(number: int) -> None:
    """Makes what is written to the file descriptor `number` go to /dev/null."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    else:
        os.set_inheritable(number, True)
