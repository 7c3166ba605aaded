"""Is our network of at most 200,000 parameters better than the first student project's ResNet-12, in the same epochs?

Usage: python -m benchmarks.small_cifar10 [--epochs 10] [--seed 0] [--dataset cifar10] [--train-images N]

Both are trained at the same time, on one core each, on CIFAR-10's 45,000 training images, and validated after every
epoch on the 5,000 images by which searches decide. The project ("seed A") has the layout arora-resnet12 and the recipe
in configs/arora.toml that was reported best for it, SGD 0.1 multiplied by a third every 20 epochs; it is cut off here,
because its schedule is for 70 epochs. Ours is configs/recipes/small-200k.toml, made for ten epochs. Both compute in the
same arithmetic, bfloat16 if the CPU has it natively, so that times are comparable too. Prints a table and, as the last
line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.fixed_recipes import CONFIGS, Curve, Training, facts, only_training, setting, train, training
from benchmarks.training.arms import with_environment
from model_zoo import count_params
from search.config import compose
from trainables.process_settings import environment

MAX_PARAMS = 200_000
SEED_A, OURS = "seed A", "ours"


def seed_a(flags: dict[str, Any]) -> Training:
    """The first student project's ResNet-12 with SGD 0.1, in our arithmetic, under flags of `search.run`."""
    own = ["space.layouts=['arora-resnet12']", "recipe.precision='auto'"]
    config = compose(CONFIGS / "arora.toml", None, flags, own)
    (recipe,) = (r for r in config.recipe.in_order() if (r.optimizer, r.learning_rate) == ("sgd", 0.1))
    return training(SEED_A, config, config.space.listed_layouts[0], recipe)


def ours(epochs: int, flags: dict[str, Any]) -> Training:
    """Our layout and recipe, annealed at the end of `epochs` epochs, under flags of `search.run`.

    Raises:
        ValueError: the layout has more parameters than `MAX_PARAMS`.
    """
    path = CONFIGS / "recipes" / "small-200k.toml"
    found = only_training(OURS, path, flags | {"max_epochs": epochs, "grace_epochs": epochs})
    if (params := count_params(found.layout)) > MAX_PARAMS:
        raise ValueError(f"{path.name}: {params:,} parameters exceed {MAX_PARAMS:,}; give a smaller layout")
    return found


def trained_together(trainings: list[Training], epochs: int) -> list[Curve]:
    """The curves of `trainings`, in this order, each trained in its own process on one core."""
    context = multiprocessing.get_context("spawn")
    with with_environment(environment()), ProcessPoolExecutor(len(trainings), context) as pool:
        return list(pool.map(train, trainings, [epochs] * len(trainings)))


def table(trainings: list[Training], curves: list[Curve]) -> str:
    """A table with one row per epoch: accuracies, and seconds since the first step."""
    names = [what.name for what in trainings]
    lines = ["epoch  " + "".join(f"{name:>10}{'s':>9}" for name in names)]
    for epoch in range(len(curves[0].val_accuracy)):
        cells = "".join(f"{curve.val_accuracy[epoch]:>10.2%}{curve.seconds[epoch]:>9.1f}" for curve in curves)
        lines.append(f"{epoch + 1:>5}  {cells}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Trains both and prints the table and the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_cifar10")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--train-images", type=int)
    given = parser.parse_args(arguments)
    flags = {"dataset": given.dataset, "train_images": given.train_images, "seed": given.seed}
    flags = {name: value for name, value in flags.items() if value is not None}
    before = setting()
    trainings = [seed_a(flags), ours(given.epochs, flags)]
    curves = trained_together(trainings, given.epochs)
    sys.stdout.write(table(trainings, curves) + "\n")
    last, best = ([pick(curve.val_accuracy) for curve in curves] for pick in (lambda found: found[-1], max))
    figures = {
        "dataset": given.dataset,
        "train_images": curves[0].train_images,
        "val_images": curves[0].val_images,
        "epochs": given.epochs,
        **{
            what.name.lower().replace(" ", "_"): facts(what, curve)
            for what, curve in zip(trainings, curves, strict=True)
        },
        "ahead_points": round(100 * (last[1] - last[0]), 2),
        "ahead_of_best_epoch_points": round(100 * (last[1] - best[0]), 2),
        "setting": before,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
