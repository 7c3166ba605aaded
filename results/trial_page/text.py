"""The page of a trial as text for a terminal, and as one JSON object."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Final

from results.ranking.intervals import interval_text
from results.trial_page.facts import Part, TrialFacts
from results.trial_page.training_again import recipe_toml
from results.wording import counted

LEVELS: Final = "▁▂▃▄▅▆▇█"
PLAIN_LEVELS: Final = "._-=+*%#"
"""The levels of a sparkline where the output's encoding has no blocks."""
CURVE_WIDTH: Final = 72
BAR_WIDTH: Final = 16


def page_json(facts: TrialFacts) -> str:
    """The fields of `facts` as one JSON object; a number that is not finite is null."""
    text = json.dumps(dataclasses.asdict(facts))
    return json.dumps(json.loads(text, parse_constant=lambda _: None), indent=2, ensure_ascii=False) + "\n"


def page_text(facts: TrialFacts, encoding: str = "utf-8") -> str:
    """The page of a trial, for an output with this encoding."""
    levels, error = levels_for(encoding), (facts.trial["error"] or "").strip().splitlines()
    sections = [
        _heading(facts),
        layout_lines(facts, levels[-1]),
        ["Recipe", *_indented(recipe_toml(facts.trial).splitlines())],
        _curve(facts, levels),
        _time(facts),
        _again(facts),
        ["Error", *_indented(error)] if len(error) > 1 else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def levels_for(encoding: str) -> str:
    """The characters of a sparkline, lowest first, that an output with this encoding can show."""
    try:
        LEVELS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN_LEVELS
    return LEVELS


def sparkline(values: Sequence[float], width: int, levels: str = LEVELS) -> str:
    """The values as a line of at most `width` characters from the lowest to the highest of `levels`.

    Of more values than that, each character shows the last one of its share; what is not a number is a blank.
    """
    count = min(width, len(values))
    shown = [values[(place + 1) * len(values) // count - 1] for place in range(count)]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    step = (high - low) / (len(levels) - 1) or 1.0
    return "".join(levels[round((value - low) / step)] if math.isfinite(value) else " " for value in shown)


def _heading(facts: TrialFacts) -> list[str]:
    trial = facts.trial
    known = []
    if trial["val_accuracy"] is not None:
        accuracy = interval_text(trial["val_accuracy"], facts.val_images)
        known.append(f"validation accuracy {accuracy} at epoch {trial['rung_epoch']}")
    if trial["test_accuracy"] is not None:
        flipped = " with --flip" if trial["test_flip"] else ""
        accuracy = interval_text(trial["test_accuracy"], trial["test_images"])
        known.append(f"test accuracy {accuracy}{flipped} at epoch {trial['test_epoch']}")
    known.append(f"rank {facts.rank} of {facts.ranked} in its run" if facts.rank else "no rank")
    if trial["reused"]:
        known.append(f"{counted(facts.time.reused_epochs, 'epoch')} reused from {trial['reused']}")
    return [f"{facts.run} trial {trial['trial']}: {facts.ending}", "; ".join([*known, f"seed {trial['seed']}"])]


def layout_lines(facts: TrialFacts, block: str = LEVELS[-1]) -> list[str]:
    """The layout drawn part by part with its costs; `block` is what the bars are made of."""
    depth = f", {facts.trial['depth']} weighted layers deep" if facts.trial["depth"] else ""
    lines, parts = [f"Layout {facts.trial['layout_id']}{depth}"], facts.parts
    if not parts:
        return lines
    most = max(part.params for part in parts)
    rows = [["", "", "output", "parameters", "", "FLOPs", "saved"]]
    for part in parts:
        size = "" if part.size is None else f" x {part.size[0]}x{part.size[1]}"
        params, *rest = _costs(part)
        bar = block * max(1, round(BAR_WIDTH * part.params / most))
        rows.append([part.name, part.what, f"{part.channels}{size}", params, bar, *rest])
    params, *rest = _costs(_total(parts))
    rows.append(["total", "", "", params, "", *rest])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left, right = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)], {3, 5, 6}
        cells = [row[place].rjust(widths[place]) if place in right else text for place, text in enumerate(left)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    if facts.activation_bytes is not None:
        batch = facts.trial["recipe_batch_size"]
        whole = f", {_bytes(batch * facts.activation_bytes)} for a batch of {batch}" if batch else ""
        lines += [
            "  FLOPs: one forward pass on one image; saved: what a training step keeps for backward, per image in",
            f"  float32; with the gradients in flight it takes {_bytes(facts.activation_bytes)} per image{whole}",
        ]
    return lines


def _total(parts: Sequence[Part]) -> Part:
    def total(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    flops, saved = total([part.flops for part in parts]), total([part.saved_bytes for part in parts])
    return Part("total", "", 0, None, sum(part.params for part in parts), flops, saved)


def _costs(part: Part) -> list[str]:
    flops = "" if part.flops is None else f"{part.flops / 1e6:,.2f} M"
    return [f"{part.params:,}", flops, "" if part.saved_bytes is None else _bytes(part.saved_bytes)]


def _bytes(size: int) -> str:
    return f"{size / 1024:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"


def _curve(facts: TrialFacts, levels: str) -> list[str]:
    values = [row["val_accuracy"] for row in facts.epochs]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ["Curve", "  no validation accuracy" if values else "  no epoch yet"]
    count = min(CURVE_WIDTH, len(values))
    marks = [" "] * count
    for rung in facts.rungs:
        place = next(i for i, row in enumerate(facts.epochs) if row["epoch"] == rung.epoch)
        marks[place * count // len(values)] = str(rung.rung % 10)
    lines = [
        f"Curve: validation accuracy of {counted(len(values), 'epoch')}, from {min(finite):.2%} to {max(finite):.2%}",
        f"  {sparkline(values, CURVE_WIDTH, levels)}",
        f"  {''.join(marks)}".rstrip(),
    ]
    for rung in facts.rungs:
        line = f"  rung {rung.rung}, epoch {rung.epoch}: {rung.val_accuracy:.2%}"
        if rung.needed is not None:
            line += f"; {rung.needed:.2%} needed after {counted(rung.earlier, 'trial')} before it"
        lines.append(line)
    return [line for line in lines if line]


def _time(facts: TrialFacts) -> list[str]:
    spent = facts.time
    if not spent.epochs:
        return []
    line = (
        f"Time: training {spent.train_s:,.1f} s, validation {spent.eval_s:,.1f} s, "
        f"{(spent.train_s + spent.eval_s) / spent.epochs:,.2f} s per epoch"
    )
    if spent.wall_s is None or spent.other_s is None:
        return [line]
    pauses = f", and pauses between {spent.sessions} sessions" if spent.sessions > 1 else ""
    rest = f"the start of its process, checkpoints and waiting{pauses}"
    return [f"{line};", f"  {spent.wall_s:,.1f} s from launch to end, of which {spent.other_s:,.1f} s were {rest}"]


def _again(facts: TrialFacts) -> list[str]:
    git, versions = facts.trained_with.get("git"), facts.trained_with.get("versions", {})
    commit = [f"commit {git['commit'][:12]}{' with changes' if git['dirty'] else ''}"] if git else []
    named = [f"{name} {versions[name]}" for name in ("parambudget", "torch") if name in versions]
    cpu = facts.trained_with.get("hardware", {}).get("cpu")
    with_what = ", ".join([*commit, *named, *([cpu] if cpu else [])])
    lines = [f"Train it again{f' (it was trained with {with_what})' if with_what else ''}"]
    lines.append(f"  {facts.command or 'run.json is missing, so the data set and the rungs are not known'}")
    return lines


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
