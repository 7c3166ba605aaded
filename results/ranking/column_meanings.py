"""What each column of the leaderboard holds: its unit, its meaning, and whether larger or smaller values are better."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from results.ranking.column_names import HEADINGS
from results.record.events import RECIPE_FIELDS, TRIAL_ENDS
from results.record.trial_state import OPEN_STATUSES

Better = Literal["larger", "smaller"]


class Meaning(NamedTuple):
    """What a column holds."""

    unit: str
    """Empty for texts and for numbers without a unit."""
    text: str
    better: Better | None = None
    """Which values are better; None where none are."""


_SHARE, _S = "share, 0 to 1", "seconds"
_RECIPE_UNITS: Final = {
    **{name: "epochs" for name in RECIPE_FIELDS if name.endswith("epochs")},
    **dict.fromkeys(("crop_padding", "cutout"), "pixels"),
    **{"batch_size": "images", "rotation_degrees": "degrees", "lookahead_steps": "steps"},
}
MEANINGS: Final[dict[str, Meaning]] = {
    "rank": Meaning("", "place among the trials of the same validation images, from 1", "smaller"),
    "run": Meaning("", "name of the run"),
    "trial": Meaning("", "number of the trial in its run, from 0"),
    "trials": Meaning("", "over seeds: the trainings of the row"),
    "seeds": Meaning("trainings", "over seeds: the trainings that the means are over"),
    "status": Meaning("", f"one of {', '.join((*OPEN_STATUSES, *TRIAL_ENDS))}"),
    "layout_id": Meaning("", "the layout in one word: blocks, channels and what differs from the default layout"),
    "blocks": Meaning("per stage", "number of blocks"),
    "channels": Meaning("per stage", "number of channels"),
    "strides": Meaning("per stage", "stride of the first block"),
    "kernels": Meaning("per stage", "side of the kernels"),
    "stem_channels": Meaning("channels", "channels of the first convolution"),
    "skip_kernel": Meaning("", "side of the kernels of projections"),
    "conv_bias": Meaning("", "whether convolutions have biases"),
    "in_channels": Meaning("channels", "channels of the images"),
    "classes": Meaning("", "number of classes"),
    "block": Meaning("", "kind of block"),
    "groups": Meaning("", "groups of the convolutions in a block"),
    "squeeze": Meaning("", "ratio of squeeze-and-excitation; 0 is without"),
    "activation": Meaning("", "activation function"),
    "expansion": Meaning("", "ratio of a block's inner to its outer channels; 0 is the one of its kind"),
    "skip_pool": Meaning("", "whether skips average where the shape changes"),
    "stem_depth": Meaning("", "convolutions of the stem"),
    "stem_stride": Meaning("", "stride of the stem"),
    "params": Meaning("parameters", "trainable parameters", "smaller"),
    "flops": Meaning("FLOPs", "of one forward pass on one image", "smaller"),
    "depth": Meaning("layers", "weighted layers on the longest path", "smaller"),
    **{
        f"recipe_{name}": Meaning(_RECIPE_UNITS.get(name, ""), f"the recipe's {name}, see docs/configuration.md")
        for name in RECIPE_FIELDS
    },
    "seed": Meaning("", "seed of the training"),
    "epochs": Meaning("epochs", "trained so far", "smaller"),
    "rung": Meaning("", "number of the last rung reached, from 1; 0 before the first"),
    "rung_epoch": Meaning("epochs", "epoch of the last rung reached", "smaller"),
    "val_accuracy": Meaning(_SHARE, "validation accuracy at the last rung reached", "larger"),
    "val_accuracy_error": Meaning(_SHARE, "over seeds: standard error of the mean validation accuracy", "smaller"),
    "val_accuracy_low": Meaning(_SHARE, "lower end of the 95% interval of the validation accuracy", "larger"),
    "val_accuracy_high": Meaning(_SHARE, "upper end of the 95% interval of the validation accuracy", "larger"),
    "val_loss": Meaning("nats", "validation loss at the last rung reached", "smaller"),
    "tests": Meaning("trainings", "over seeds: the trainings that were measured on the test set"),
    "test_accuracy": Meaning(_SHARE, "accuracy on the test set, where search.evaluate measured it", "larger"),
    "test_accuracy_error": Meaning(_SHARE, "over seeds: standard error of the mean test accuracy", "smaller"),
    "test_accuracy_low": Meaning(_SHARE, "lower end of the 95% interval of the test accuracy", "larger"),
    "test_accuracy_high": Meaning(_SHARE, "upper end of the 95% interval of the test accuracy", "larger"),
    "train_time_s": Meaning(_S, "time of training, all epochs", "smaller"),
    "eval_time_s": Meaning(_S, "time of validation, all epochs", "smaller"),
    "test_epoch": Meaning("epochs", "epoch whose weights were measured on the test set"),
    "test_flip": Meaning("", "whether each test image was judged together with its mirror image"),
    "test_images": Meaning("images", "number of test images"),
    "started_s": Meaning("Unix seconds", "first launch"),
    "ended_s": Meaning("Unix seconds", "end"),
    "confirmed": Meaning("", "whether it was stopped early and then trained to the end"),
    "retries": Meaning("", "how often it was started again after a failure", "smaller"),
    "reused": Meaning("", "RUN/NUMBER of the earlier trial whose epochs were reused"),
    "error": Meaning("", "why it failed"),
    "within_limits": Meaning("", "whether it is within the present limits of its run"),
    "dataset": Meaning("", "name or folder of the data set"),
    "data": Meaning("", "identity of the images and of their validation split"),
    "train_images": Meaning("images", "number of training images"),
    "val_images": Meaning("images", "number of validation images"),
    "val_splits": Meaning("", "number of validation splits"),
    "refit_of": Meaning("", "RUN:NUMBER of the trial that the run trains again"),
    "mid_course": Meaning("", "whether the learning rate was above zero when the accuracy was measured"),
    "tied": Meaning("", "whether the validation images cannot tell it from the first one"),
}
"""Every column of the leaderboard, of trials or of means over seeds."""


def short_name(column: str) -> str:
    """What the table calls the column, or the recipe's field; else empty."""
    heading = next((heading for heading, source in HEADINGS.items() if source == column), "")
    return column.removeprefix("recipe_") if column.startswith("recipe_") else "" if heading == column else heading


def columns_text() -> str:
    """A line for each column: name, short name, unit and meaning, aligned."""
    rows = [("name", "short name", "unit", "meaning")]
    rows += [(name, short_name(name), meaning.unit, meaning.text) for name, meaning in MEANINGS.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"
