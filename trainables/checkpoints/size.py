"""The size of a trial's checkpoint in closed form, without building a network."""

from __future__ import annotations

import json

from model_zoo import ResNetLayout, count_params
from model_zoo.complexity import count_norms, count_param_tensors
from trainables.recipe import Recipe

FLOAT, COUNTER = 4, 8
"""Bytes of a float32, and of the int64 in which a BatchNorm counts its batches."""
NETWORK_ENTRY, MOMENT_ENTRY, STEP_ENTRY = 82, 79, 50
"""Mean bytes of a tensor's entry in the header of safetensors, without its two offsets."""
HEADER = 650
"""Bytes of the header without entries, layout and recipe: the last report, the rungs, the data's hash."""


def checkpoint_bytes(layout: ResNetLayout, recipe: Recipe) -> int:
    """Bytes of the file that `trainables.checkpoints.files` writes for a trial, accurate to 2%."""
    norms, channels = count_norms(layout)
    tensors = count_param_tensors(layout)
    return file_bytes(count_params(layout), tensors, norms, channels, recipe) + text_bytes(layout, recipe)


def text_bytes(layout: ResNetLayout, recipe: Recipe) -> int:
    """Bytes of `layout` and `recipe` in a checkpoint's header."""
    return sum(len(json.dumps(json.dumps(part))) for part in (layout.to_dict(), recipe.model_dump()))


def state_tensors(recipe: Recipe) -> tuple[int, int]:
    """Numbers of tensors that the optimizer of `recipe` keeps per parameter: of its size, and of a single float32."""
    match recipe.optimizer:
        case "sgd" | "nesterov" | "muon":
            return (1 if recipe.momentum else 0), 0
        case "adam" | "adamw" | "adadelta":
            return 2, 1


def file_bytes(params: int, weights: int, norms: int, channels: int, recipe: Recipe) -> int:
    """Bytes of a checkpoint without the texts of layout and recipe.

    The network has `params` parameters in `weights` tensors, and `norms` BatchNorms with `channels` channels in total.
    """
    moments, steps = state_tensors(recipe)
    networks = 1 + (recipe.keep_weights == "best") + (recipe.ema_decay > 0)
    data = FLOAT * (params * (networks + moments) + weights * steps + networks * 2 * channels)
    data += networks * COUNTER * norms
    offsets = 2 * len(str(data))
    entries = networks * (weights + 3 * norms) * (NETWORK_ENTRY + offsets)
    entries += weights * (moments * (MOMENT_ENTRY + offsets) + steps * (STEP_ENTRY + offsets))
    return data + entries + HEADER
