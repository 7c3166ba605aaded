"""How many seconds does one fixed recipe train until it has 99% validation accuracy on scikit-learn's digits?

Usage: python -m benchmarks.digits_speed [--seeds 3] [--epochs N]

Layout and recipe are those of configs/recipes/digits-99.toml. Each seed is trained to the end of the recipe on one
core, one after the other. The seconds are those of training steps and validation, as wall-clock and as CPU time,
without the start of the process and the loading of data. The validation split has 144 images, so at 99% at most one is
wrong. Prints a table and, as the last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks.fixed_recipes import CONFIGS, Curve, facts, only_training, setting, train

TARGET = 0.99
ROW = "{:>4} {:>9} {:>8} {:>12} {:>8} {:>8} {:>12}\n"


def reached(curve: Curve) -> dict[str, Any]:
    """The first epoch at `TARGET`, or None, with the seconds until its end, and the figures of the last epoch."""
    epoch = curve.epochs_until(TARGET)
    return {
        "epoch": epoch,
        "seconds": None if epoch is None else round(curve.seconds[epoch - 1], 2),
        "processor_s": None if epoch is None else round(curve.processor_s[epoch - 1], 2),
        "last_accuracy": round(curve.val_accuracy[-1], 4),
        "last_seconds": round(curve.seconds[-1], 2),
        "last_processor_s": round(curve.processor_s[-1], 2),
    }


def main(arguments: list[str]) -> None:
    """Trains with every seed, and prints the table and the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.digits_speed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args(arguments)
    lengths = {} if given.epochs is None else {"max_epochs": given.epochs, "grace_epochs": given.epochs}
    before = setting()
    rows, details = [], []
    sys.stdout.write(ROW.format("seed", f"{TARGET:.0%} at", "s", "processor s", "last", "s", "processor s"))
    for seed in range(given.seeds):
        what = only_training(f"seed {seed}", CONFIGS / "recipes" / "digits-99.toml", {"seed": seed, **lengths})
        curve = train(what, what.epochs)
        rows.append(row := reached(curve))
        details.append(facts(what, curve))
        cells = ["never" if row["epoch"] is None else f"epoch {row['epoch']}", row["seconds"], row["processor_s"]]
        cells += [f"{row['last_accuracy']:.2%}", row["last_seconds"], row["last_processor_s"]]
        sys.stdout.write(ROW.format(seed, *("" if cell is None else cell for cell in cells)))
    figures = {
        "target": TARGET,
        "val_images": curve.val_images,
        "train_images": curve.train_images,
        "epochs": what.epochs,
        "seeds": rows,
        "trainings": details,
        "setting": before,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
