"""Which trials of a leaderboard cannot be told from its first by the validation images."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from results.ranking.intervals import SIGNIFICANCE, mcnemar_p, wilson_interval

TIES: Final = "= is a tie: the validation images cannot tell the row from the first one."
"""What the mark of a tie means, in words."""


class Judged(NamedTuple):
    """What is known of how a trial did on its validation images."""

    data_key: Any
    """Equal for trials with the same validation images."""
    accuracy: float | None
    images: int | None
    """Number of validation images."""
    answers: str | None
    """`Report.answers`."""


def ties(ranked: Iterable[Judged]) -> Iterator[bool | None]:
    """For each trial, best first in its data set: whether it is tied with the first one; None where nothing says so."""
    firsts: dict[Any, Judged] = {}
    for trial in ranked:
        yield is_tied(firsts.setdefault(trial.data_key, trial), trial)


def is_tied(first: Judged, other: Judged) -> bool | None:
    """Whether two trials on the same validation images are within noise; None if an accuracy or the images are unknown.

    They are not if their 95% intervals are apart. Where they overlap, McNemar's test decides if the answers of both are
    known.
    """
    if first.accuracy is None or other.accuracy is None or not first.images or first.images != other.images:
        return None
    (low, high), (other_low, other_high) = (wilson_interval(t.accuracy or 0.0, t.images or 1) for t in (first, other))
    if other_high < low or high < other_low:
        return False
    one, two = (correct_bits(trial.answers, first.images) for trial in (first, other))
    if one is None or two is None:
        return True
    return mcnemar_p((one & ~two).bit_count(), (two & ~one).bit_count()) >= SIGNIFICANCE


def correct_bits(answers: str | None, images: int) -> int | None:
    """The answers as a number with one bit per image; None if there are none or they are damaged."""
    try:
        packed = zlib.decompress(base64.b64decode(answers or "", validate=True))
    except (binascii.Error, zlib.error, ValueError):
        return None
    return int.from_bytes(packed, "big") if len(packed) == -(-images // 8) else None
