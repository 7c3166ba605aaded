"""A terminal that wraps what it shows again when its width changes, for tests of what is drawn in place."""

from __future__ import annotations

import re

_CODES = re.compile(r"\x1b\[(\?25[hl]|[0-9]*[A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Terminal:
    """Endless rows of text; each knows whether the terminal has wrapped it, so that a new width wraps it anew."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[tuple[str, bool]] = [("", False)]
        self.row = self.column = 0

    def feed(self, written: str) -> None:
        """Shows what a program has written.

        Raises:
            ValueError: the terminal does not know an escape sequence.
        """
        for match in _CODES.finditer(written):
            token = match.group()
            if token == "\r":
                self.column = 0
            elif token == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.rows):
                    self.rows.append(("", False))
            elif token.endswith("A"):
                self.row = max(0, self.row - int(token[2:-1]))
            elif token == "\x1b[2K":
                self.rows[self.row] = ("", False)
            elif token.startswith("\x1b[?25"):
                continue
            elif token.startswith("\x1b"):
                raise ValueError(f"{token!r} is not known")
            else:
                self._write(token)

    def resize(self, width: int) -> None:
        """Wraps the rows down to the cursor, which is behind the last one, at `width`; those below must be empty.

        Raises:
            ValueError: they are not.
        """
        if any(text.strip() for text, _ in self.rows[self.row + 1 :]):
            raise ValueError("there is text below the cursor")
        self.rows = self.rows[: self.row + 1]
        lines = "".join(text + ("" if wrapped else "\n") for text, wrapped in self.rows).split("\n")[:-1]
        self.width, self.rows = width, []
        for line in lines:
            pieces = [line[start : start + width] for start in range(0, max(1, len(line)), width)]
            self.rows += [(piece, place < len(pieces)) for place, piece in enumerate(pieces, start=1)]
        self.row, self.column = len(self.rows) - 1, len(self.rows[-1][0])

    @property
    def lines(self) -> list[str]:
        """The rows without trailing spaces."""
        return [text.rstrip() for text, _ in self.rows]

    def _write(self, text: str) -> None:
        before, _ = self.rows[self.row]
        whole = before[: self.column].ljust(self.column) + text
        assert len(whole) <= self.width, f"the terminal would wrap {whole!r}"
        self.rows[self.row] = (whole + before[len(whole) :], False)
        self.column = len(whole)
