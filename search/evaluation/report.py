"""What the measurement of a trial on the test set says: facts for JSON, text for people, the confusion matrix."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import RunState, TrialState
from results.ranking.intervals import interval_text, wilson_interval
from results.record.files import replace_file
from results.wording import counted
from search.errors import SearchError
from search.runs.ranking import ranked

MOST_CLASSES: Final = 20
"""Most classes whose confusion matrix is printed; of more, the commonest mistakes are."""
MISTAKES: Final = 10
"""Number of the commonest mistakes that are printed instead."""


def test_facts(run: str, state: RunState, trial: TrialState, val_images: int | None) -> dict[str, Any]:
    """The facts of a measured trial as JSON-compatible values; null where the record of an older version lacks them."""
    test = trial.tests[trial.test_epoch or 0]
    then = {report.epoch: report.val_accuracy for report in state.reports[trial.trial]}
    confusion, names = test.confusion, test.classes
    images = sum(map(sum, confusion)) if confusion else None
    per_class = []
    for label, row in enumerate(confusion or []):
        right, of = row[label], sum(row)
        per_class.append({"class": (names or [])[label], "images": of, "correct": right} | _share(right, of))
    return {
        "run": run,
        "trial": trial.trial,
        "layout_id": trial.layout_id,
        "params": trial.params,
        "epoch": trial.test_epoch,
        "best_epoch": trial.recipe["keep_weights"] == "best",
        "flip": test.flip,
        "test_accuracy": test.accuracy,
        "test_interval": list(wilson_interval(test.accuracy, images)) if images else None,
        "test_images": images,
        "test_loss": test.loss,
        "val_accuracy": _known(then.get(trial.test_epoch or 0, trial.val_accuracy)),
        "val_images": val_images,
        "classes": per_class or None,
        "confusion": confusion,
        "openings": state.test_openings,
        "best_by_validation": next((other.trial for other in ranked(state)), None),
        "measured_trials": [other.trial for other in state.trials.values() if other.tests],
    }


def _known(accuracy: float | None) -> float | None:
    return None if accuracy is None or math.isnan(accuracy) else accuracy


def _share(right: int, of: int) -> dict[str, Any]:
    return {"accuracy": right / of, "interval": list(wilson_interval(right / of, of))} if of else {}


def test_text(facts: dict[str, Any]) -> RenderableType:
    """The facts for a terminal."""
    how = " with flip test-time augmentation," if facts["flip"] else ""
    which = ", its best," if facts["best_epoch"] else ""
    judged = "trained on all images"
    if facts["val_accuracy"] is not None:
        judged = f"validation {interval_text(facts['val_accuracy'], facts['val_images'])}"
    first = (
        f"{facts['run']} trial {facts['trial']}, {facts['layout_id']}, {facts['params']:,} parameters: test accuracy "
        f"{interval_text(facts['test_accuracy'], facts['test_images'])}{how} with the weights of epoch "
        f"{facts['epoch']}{which} ({judged})"
    )
    parts: list[RenderableType] = [*map(Text, _seeds(facts)), Text(first)]
    if facts["classes"]:
        images = counted(facts["test_images"], "test image")
        if facts["val_images"]:
            images += f", {facts['val_images']:,} for validation"
        parts += [Text(f"Brackets are 95% intervals, in percent: {images}."), Text(""), _class_table(facts)]
        parts += [Text(""), _confusion(facts), Text("")]
    return Group(*parts, Text(_openings(facts)))


def _seeds(facts: dict[str, Any]) -> list[str]:
    """A line on all seeds of a refit; none for a single trial."""
    if "seeds" not in facts:
        return []
    each = ", ".join(f"{seed['test_accuracy']:.2%}" for seed in facts["seeds"])
    mean, error = facts["test_mean"], facts["test_standard_error"]
    return [f"{len(facts['seeds'])} seeds: test accuracy {mean:.2%} ± {error:.2%} (mean, standard error): {each}", ""]


def _class_table(facts: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("class")
    for heading in ("images", "correct"):
        table.add_column(heading, justify="right")
    for row in facts["classes"]:
        table.add_row(
            Text(_printable(row["class"])),
            f"{row['images']:,}",
            Text(interval_text(row["accuracy"], row["images"]) if row["images"] else "no image"),
        )
    return table


def _confusion(facts: dict[str, Any]) -> RenderableType:
    names = [_printable(row["class"]) for row in facts["classes"]]
    matrix: list[list[int]] = facts["confusion"]
    if len(names) > MOST_CLASSES:
        wrong = sorted(
            ((n, names[i], names[j]) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j),
            key=lambda mistake: -mistake[0],
        )
        lines = [f"{counted(n, 'image')} of {true} taken for {taken}" for n, true, taken in wrong[:MISTAKES]]
        return Text("\n".join(["The commonest mistakes (--confusion FILE writes the whole matrix):", *lines]))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title="rows: true class; columns: predicted")
    table.title_justify = "left"
    table.add_column("")
    width = max(len(str(max(map(max, matrix)))), 4)
    for name in names:
        table.add_column(Text(name[:width]), justify="right", no_wrap=True)
    for name, row in zip(names, matrix, strict=True):
        table.add_row(Text(name), *(str(n) if n else "." for n in row))
    return table


def _openings(facts: dict[str, Any]) -> str:
    often = "once" if facts["openings"] == 1 else f"{facts['openings']} times"
    said = f"This run's test set has been opened {often}."
    others = facts["measured_trials"]
    if len(others) < 2:
        return said
    listed = ", ".join(map(str, others[:-1])) + f" and {others[-1]}"
    if "seeds" in facts:
        return f"{said} Trials {listed} are seeds of one network: report their mean, not the best of them."
    return (
        f"{said} Trials {listed} were measured: whoever chooses among them by test accuracy no longer tests. "
        f"The trial that validation chose is {facts['best_by_validation']}."
    )


def write_confusion(facts: dict[str, Any], output: Path) -> None:
    """Writes the confusion matrix to `output`: CSV with class names, or JSON with all facts.

    Raises:
        SearchError: the suffix is neither, or the record has no matrix.
        ResultsError: the file cannot be written.
    """
    require_confusion_suffix(output)
    if facts["confusion"] is None:
        raise SearchError(
            f"confusion: trial {facts['trial']} was measured by a version that kept no matrix, and each trial is "
            "measured once; leave --confusion out"
        )
    if output.suffix.lower() == ".json":
        replace_file(output, (json.dumps(facts, indent=2) + "\n").encode())
        return
    names = [row["class"] for row in facts["classes"]]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["true class", *names])
    table.writerows([name, *row] for name, row in zip(names, facts["confusion"], strict=True))
    replace_file(output, text.getvalue().encode())


def require_confusion_suffix(output: Path) -> None:
    """Checks that a confusion matrix can be written to a file of this name.

    Raises:
        SearchError: its suffix is neither .csv nor .json.
    """
    if output.suffix.lower() not in (".csv", ".json"):
        raise SearchError(f"confusion: {output} given; use a file that ends in .csv or .json")


def print_test(facts: dict[str, Any], console: Console) -> None:
    """Prints `test_text`; a line that is wider than the terminal continues in the next one."""
    console.print(test_text(facts), soft_wrap=True, highlight=False)


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)
