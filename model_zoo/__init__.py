"""Residual networks: their layouts, their exact costs in closed form, and the built modules."""

from model_zoo.building import build
from model_zoo.complexity import count_flops, count_params
from model_zoo.layout import LayoutError, ResNetLayout
from model_zoo.memory import count_activation_bytes
from model_zoo.presets import PRESETS

__all__ = [
    "PRESETS",
    "LayoutError",
    "ResNetLayout",
    "build",
    "count_activation_bytes",
    "count_flops",
    "count_params",
]
