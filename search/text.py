"""Short text: FLOPs, bytes and durations, and lines for a terminal's width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence


def flops_text(flops: float) -> str:
    """FLOPs with three digits and a prefix."""
    for power, prefix in ((18, "EFLOP"), (15, "PFLOP"), (12, "TFLOP"), (9, "GFLOP")):
        if flops >= 10**power:
            return f"{flops / 10**power:.3g} {prefix}"
    return f"{flops / 1e6:.3g} MFLOP"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size_text(size: float) -> str:
    """Bytes with three digits and a binary prefix."""
    for power, prefix in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:.3g} {prefix}"
    return f"{size / 1024:.3g} KiB"


def wrapped(sentence: str, width: int) -> list[str]:
    """The sentence in lines of at most `width` columns, broken at spaces only; a longer word has a line to itself."""
    indent = sentence[: len(sentence) - len(sentence.lstrip())]
    lines = textwrap.wrap(
        sentence.strip(),
        max(1, width),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def fitted(parts: Sequence[str], width: int, between: str = ", ") -> str:
    """The first of the `parts` in one line of at most `width` columns, without those from the first that does not fit.

    If not even the first one fits, it loses words.
    """
    text = wrapped(parts[0], width)[0]
    for part in parts[1:]:
        if len(text) + len(between) + len(part) > width:
            break
        text += between + part
    return text


def command_lines(parts: Sequence[str], width: int | None) -> list[str]:
    """A shell command in lines of at most `width` columns that can be pasted, broken between its `parts` only.

    With None for the width it is one line.
    """
    lines = [f"  {parts[0]}"]
    for place, part in enumerate(parts[1:], start=2):
        mark = 2 if place < len(parts) else 0  # ` \` at the end of a line that is not the last
        if width is None or len(lines[-1]) + 1 + len(part) + mark <= width:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {part}")
    return lines
