"""What an image folder holds, in one line: its classes, its images by their use, and what is missing or not used."""

import numpy as np

from trainables.data.file_names import shown
from trainables.data.known_datasets import DatasetInfo
from trainables.data.splits import VAL_FRACTION, held_out_counts


def counts_line(info: DatasetInfo, validation_share: float | None = VAL_FRACTION) -> str:
    """Return that line for an image folder whose validation split, unless it has its own, is `validation_share`.

    None stands for a training on all images, those of its own validation part too.

    Raises DatasetError when nothing can be held out for validation.
    """
    train = [count.train for count in info.class_counts]
    val = [count.val for count in info.class_counts]
    if validation_share is None:
        train, val = [sum(pair) for pair in zip(train, val, strict=True)], [0] * len(val)
    elif not info.val_images:
        val = held_out_counts(np.array(train), validation_share)
        train = [images - held_out for images, held_out in zip(train, val, strict=True)]
    test = [count.test for count in info.class_counts]
    uses = [("to train on", train, True), ("for the test", test, info.own_test)]
    if validation_share is not None:
        uses.insert(1, ("for validation", val, bool(info.val_images)))
    used = ", ".join(f"{sum(counts):,} {use}{'' if own else ' (drawn)'}" for use, counts, own in uses)
    names = [count.name for count in info.class_counts]
    missing = [
        f"classes without an image {use}: {_few([name for name, n in zip(names, counts, strict=True) if not n], 5)}"
        for use, counts, _ in uses[1:]
        if not all(counts)
    ]
    passed_over = [f"passed over: {info.passed_over}"] if info.passed_over else []
    found = f"{len(names):,} classes ({_few(names, 10)}), {info.train_images + info.test_images:,} images: {used}"
    return "; ".join([f"{shown(info.name)}: {found}", *passed_over, *missing])


def _few(names: list[str], most: int) -> str:
    more = "" if len(names) <= most else f" and {len(names) - most:,} more"
    return f"{', '.join(map(shown, names[:most]))}{more}"
