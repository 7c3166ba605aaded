"""What is each element of a recipe worth at 200,000 parameters in a short training?

Usage: python -m benchmarks.recipe_ablation [--only NAME]... [--epochs 20] [--seeds 2] [--train-images N] [--threads 1]
       [--dataset cifar10] [--store runs/recipe-ablation.jsonl]

The baseline is the layout and recipe of configs/recipes/small-200k.toml. Each other row changes one element of the
recipe and is compared with the baseline of the same seed, by the validation accuracy of the last epoch, on the 5,000
images of CIFAR-10 by which searches decide. `--only` limits the rows, beside the baseline. Trainings run one after
another, and each is added to the store when it ends. Those that the store has are not repeated, so an interrupted run
continues. Prints a table and, as the last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.fixed_recipes import CONFIGS, Training, facts, only_training, setting, train
from benchmarks.training.arms import with_environment
from search.config import compose
from trainables.process_settings import environment
from trainables.recipe import Recipe

BASELINE: Final = "baseline"
ROWS: Final[dict[str, dict[str, Any]]] = {
    BASELINE: {},
    "progressive resizing": {"resizing_share": 0.5},  # from half of the full side, see `recipe_of`
    "mixup": {"mixup_alpha": 0.2},
    "growing mixup": {"mixup_alpha": 0.2, "mix_strength": "growing"},
    "strong growing mixup": {"mixup_alpha": 1.0, "mix_strength": "growing"},
    "fading mixup": {"mixup_alpha": 0.2, "mix_strength": "fading"},
    "trivialaugment": {"policy": "trivialaugment"},
    "averaged 0.99": {"ema_decay": 0.99},
    "averaged 0.999": {"ema_decay": 0.999},
    "cutout": {"cutout": 8},
    "no label smoothing": {"label_smoothing": 0.0},
}
"""The fields of the recipe that each row changes."""
TABLE_ROW: Final = "{:<22} {:>8} {:>8} {:>10}   {}\n"


def recipe_of(row: str, baseline: Recipe, side: int) -> Recipe:
    """The recipe of `row` for images of `side` pixels."""
    changes = dict(ROWS[row])
    if "resizing_share" in changes:
        changes["first_image_size"] = side // 2
    return Recipe(**baseline.model_dump() | changes)


def trainings(rows: Sequence[str], seeds: int, epochs: int, flags: dict[str, Any]) -> list[tuple[str, Training]]:
    """The trainings of `rows`, seed by seed, so that an interrupted run has all rows of the first seed."""
    path = CONFIGS / "recipes" / "small-200k.toml"
    lengths = {"max_epochs": epochs, "grace_epochs": epochs}
    side = min(compose(path, None, flags, []).space.image_size)
    found = []
    for seed in range(seeds):
        usual = only_training(BASELINE, path, {**flags, **lengths, "seed": seed})
        for row in rows:
            what = replace(usual, name=f"{row}, seed {seed}", recipe=recipe_of(row, usual.recipe, side))
            found.append((row, what))
    return found


def key(what: Training) -> dict[str, Any]:
    """What determines the result of a training, as JSON-compatible values."""
    data = {name: value for name, value in what.data.items() if name != "data_dir"}
    recipe = what.recipe.model_dump()
    return {"layout": what.layout.layout_id, "recipe": recipe, "epochs": what.epochs, "seed": what.seed, "data": data}


def read_store(store: Path) -> list[dict[str, Any]]:
    """The trainings in `store`, none if it does not exist; lines cut off by a kill are left out."""
    found = []
    for line in store.read_text(encoding="utf-8").splitlines() if store.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def completed(wanted: list[tuple[str, Training]], store: Path, threads: int) -> list[dict[str, Any]]:
    """What `store` holds of each of `wanted`, in their order; missing ones are trained and added to it."""
    stored = read_store(store)

    def holding(what: Training) -> list[dict[str, Any]]:
        return [line for line in stored if line["key"] == key(what)][:1]

    missing = [(row, what) for row, what in wanted if not holding(what)]
    if missing:
        store.parent.mkdir(parents=True, exist_ok=True)
        if store.exists() and not store.read_bytes().endswith(b"\n"):
            _append(store, "\n")  # ends the line that a kill cut off
        context = multiprocessing.get_context("spawn")
        with with_environment(environment()), ProcessPoolExecutor(1, context) as pool:
            for row, what in missing:
                before = setting()
                curve = pool.submit(train, what, what.epochs, threads).result()
                images = {"train_images": curve.train_images, "val_images": curve.val_images}
                line = {"row": row, **facts(what, curve), **images, "threads": threads, "setting": before}
                stored.append(line | {"key": key(what)})
                _append(store, json.dumps(stored[-1]) + "\n")
    return [line for _, what in wanted for line in holding(what)]


def summary(rows: Sequence[str], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object for each of `rows`: accuracies in percent by seed, and how far they are above the baseline's."""
    last = {(line["row"], line["seed"]): 100 * line["val_accuracy"][-1] for line in lines}
    found = []
    for row in rows:
        own = [line for line in lines if line["row"] == row]
        accuracies = [last[row, line["seed"]] for line in own]
        ahead = [last[row, line["seed"]] - last[BASELINE, line["seed"]] for line in own]
        found.append(
            {
                "row": row,
                "accuracies": [round(value, 2) for value in accuracies],
                "mean": round(_mean(accuracies), 2),
                "ahead_points": [round(value, 2) for value in ahead],
                "mean_ahead_points": round(_mean(ahead), 2),
                "training_s": round(_mean([line["training_s"] for line in own]), 1),
                "processor_s": round(_mean([line["processor_s"] for line in own]), 1),
            }
        )
    return found


def table(found: list[dict[str, Any]]) -> str:
    """A table with one line per row: mean accuracy, its distance from the baseline's, CPU seconds, and each seed's."""
    text = TABLE_ROW.format("", "mean", "points", "CPU s", "points by seed")
    for row in found:
        seeds = ", ".join(f"{value:+.2f}" for value in row["ahead_points"])
        ahead = "" if row["row"] == BASELINE else f"{row['mean_ahead_points']:+.2f}"
        mean = f"{row['mean']:.2f}%"
        text += TABLE_ROW.format(row["row"], mean, ahead, f"{row['processor_s']:,.0f}", seeds if ahead else "").rstrip()
        text += "\n"
    return text


def main(arguments: list[str]) -> None:
    """Trains what is missing and prints the table and the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe_ablation")
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="NAME", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--store", type=Path, default=Path("runs/recipe-ablation.jsonl"))
    given = parser.parse_args(arguments)
    flags = {"dataset": given.dataset}
    if given.train_images is not None:
        flags["train_images"] = given.train_images
    rows = [row for row in ROWS if row == BASELINE or given.only is None or row in given.only]
    lines = completed(trainings(rows, given.seeds, given.epochs, flags), given.store, given.threads)
    found = summary(rows, lines)
    sys.stdout.write(table(found))
    first = lines[0]
    figures = {
        **{name: first[name] for name in ("layout", "params", "train_images", "val_images")},
        "dataset": given.dataset,
        "epochs": given.epochs,
        "seeds": given.seeds,
        "rows": found,
        "setting": setting(),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _append(store: Path, text: str) -> None:
    with store.open("a", encoding="utf-8") as file:
        file.write(text)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main(sys.argv[1:])
