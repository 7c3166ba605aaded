"""Wording shared by the commands: numbers of things, and remedies for values that pydantic refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_KINDS: Final = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "use a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "use a number"),
    "finite_number": "use a finite number",
    **dict.fromkeys(("bool_parsing", "bool_type"), "use true or false"),
    "string_type": "use a string",
    "list_type": "use a list",
    **dict.fromkeys(("model_type", "dict_type"), "use a table of keys"),
}
BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""Limits of a number, as pydantic names them, in words."""
_BROKEN: Final = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
USUAL_NAMES: Final = {
    **dict.fromkeys(("lr", "alpha", "rate"), "recipe.learning_rate"),
    **dict.fromkeys(("bs", "batch"), "recipe.batch_size"),
    **dict.fromkeys(("wd", "decay", "l2"), "recipe.weight_decay"),
    **dict.fromkeys(("opt", "optim", "algorithm"), "recipe.optimizer"),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler"), "recipe.schedule"),
    **dict.fromkeys(("warmup",), "recipe.warmup_epochs"),
    **dict.fromkeys(("mixup",), "recipe.mixup_alpha"),
    **dict.fromkeys(("cutmix",), "recipe.cutmix_alpha"),
    **dict.fromkeys(("smoothing",), "recipe.label_smoothing"),
    **dict.fromkeys(("clipping", "grad_clip", "clip_grad"), "recipe.gradient_clipping"),
    **dict.fromkeys(("patience",), "recipe.patience_epochs"),
    **dict.fromkeys(("augment", "augmentation", "augmentations"), "recipe.policy"),
    **dict.fromkeys(("ema",), "recipe.ema_decay"),
    **dict.fromkeys(("width", "widths", "filters", "hidden"), "space.channels"),
    **dict.fromkeys(("depth", "depths", "layers", "num_layers"), "space.blocks"),
    **dict.fromkeys(("kernel", "kernel_size"), "space.kernels"),
    **dict.fromkeys(("stride",), "space.strides"),
    **dict.fromkeys(("activation",), "space.activations"),
    **dict.fromkeys(("block", "block_type"), "space.block_types"),
    **dict.fromkeys(("params", "parameters", "num_params", "budget"), "space.max_params"),
    **dict.fromkeys(("flops", "macs"), "space.max_flops"),
    **dict.fromkeys(("memory",), "space.max_activation_bytes"),
    **dict.fromkeys(("epochs", "epoch", "n_epochs", "num_epochs"), "max_epochs"),
    **dict.fromkeys(("num_trials", "n_trials", "num_samples", "samples"), "trials"),
    **dict.fromkeys(("grace_period", "min_epochs"), "grace_epochs"),
    **dict.fromkeys(("eta",), "reduction_factor"),
    **dict.fromkeys(("data", "data_set"), "dataset"),
    **dict.fromkeys(("resolution", "img_size"), "image_size"),
    **dict.fromkeys(("gpu", "gpus"), "gpus_per_trial"),
    **dict.fromkeys(("cpu", "cpus", "threads"), "cpus_per_trial"),
    **dict.fromkeys(("workers", "num_workers", "jobs", "n_jobs", "parallel"), "concurrency"),
    **dict.fromkeys(("time", "timeout", "time_limit", "max_time"), "time_budget_s"),
    **dict.fromkeys(("retries",), "max_retries"),
    **dict.fromkeys(("seeds", "repeats"), "replicates"),
}
"""What keys of the configuration are called elsewhere, with their names here."""


def counted(number: int, noun: str) -> str:
    """The number with its noun: `1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def remedy_of(item: Mapping[str, Any]) -> str:
    """The remedy for one of a ValidationError's `errors()`, such as `use at least 1`, or else its message."""
    kind: str = item["type"]
    if kind in _BROKEN:
        name = _BROKEN[kind]
        return f"use {BOUNDS[name]} {item['ctx'][name]}"
    if kind == "literal_error":
        return f"use {item['ctx']['expected'].replace(chr(39), '')}"
    message: str = item["msg"].removeprefix("Value error, ")
    return _KINDS.get(kind, message[:1].lower() + message[1:])
