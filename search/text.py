"""Quantities as short text: FLOPs, bytes and durations."""

from __future__ import annotations


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
