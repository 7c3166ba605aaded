"""The networks of the two student projects that this one replaces, as layouts."""

from __future__ import annotations

from model_zoo.layout import ResNetLayout

_QUARTERS = (64, 128, 256, 512)
_THIN = (32, 64, 128, 256)
_THREE = (64, 128, 256)

PRESETS: dict[str, ResNetLayout] = {
    "arora-resnet10": ResNetLayout((2, 1, 1, 1), _QUARTERS, conv_bias=True),
    "arora-resnet12": ResNetLayout((2, 2, 2), (16, 32, 64), skip_kernel=3),
    "arora-resnet14-4": ResNetLayout((2, 2, 2, 1), (16, 32, 64, 512), (1, 2, 2, 1), skip_kernel=3),
    "arora-resnet14-5": ResNetLayout((2, 3, 3, 1, 1), (16, 32, 64, 128, 512), (1, 2, 2, 1, 1), skip_kernel=3),
    "arora-resnet18": ResNetLayout((2, 2, 2, 2), _QUARTERS, conv_bias=True),
    "cerberus-resnet10": ResNetLayout((1, 1, 1, 1), _QUARTERS),
    "cerberus-resnet12": ResNetLayout((2, 1, 1, 1), _QUARTERS),
    "cerberus-resnet24": ResNetLayout((3, 5, 3), _THREE),
    "cerberus-resnet26": ResNetLayout((5, 4, 3), _THREE),
    "cerberus-resnet26-1": ResNetLayout((4, 5, 3), _THREE),
    "cerberus-resnet28-1": ResNetLayout((6, 4, 3), _THREE),
    "cerberus-resnet30": ResNetLayout((7, 4, 3), _THREE),
    "cerberus-resnet32": ResNetLayout((4, 4, 4, 3), _THIN),
    "cerberus-resnet32-trained": ResNetLayout((4, 4, 4, 3), _THIN, stem_channels=64),
    "cerberus-resnet56": ResNetLayout((16, 4, 4, 3), _THIN, stem_channels=64),
    "cerberus-resnet90": ResNetLayout((16, 16, 12), (32, 64, 128)),
}
"""Layouts by name; docs/measurements.md has their parameters and the accuracies that were reported.

`cerberus-resnet32` is as published; what was trained has a stem of 64 channels.
"""
