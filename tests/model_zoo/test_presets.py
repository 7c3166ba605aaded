"""The presets: their parameter counts to the digit, and that each runs."""

import pytest
import torch

from model_zoo import PRESETS, build, count_params

PARAMS = {
    "arora-resnet10": 4_980_234,
    "arora-resnet12": 195_738,
    "arora-resnet14-4": 3_152_410,
    "arora-resnet14-5": 4_130_458,
    "arora-resnet18": 11_178_762,
    "cerberus-resnet10": 4_903_242,
    "cerberus-resnet12": 4_977_226,
    "cerberus-resnet24": 4_918_602,
    "cerberus-resnet26": 4_771_146,
    "cerberus-resnet26-1": 4_992_586,
    "cerberus-resnet28-1": 4_845_130,
    "cerberus-resnet30": 4_919_114,
    "cerberus-resnet32": 4_754_218,
    "cerberus-resnet32-trained": 4_766_474,
    "cerberus-resnet56": 4_989_194,
    "cerberus-resnet90": 4_946_474,
}
"""Trainable parameters as the two student projects' networks have them; ResNet-90 with the stem that can run."""


def test_each_preset_has_a_known_count() -> None:
    assert {name: count_params(layout) for name, layout in PRESETS.items()} == PARAMS


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_builds_and_runs(name: str) -> None:
    network = build(PRESETS[name])
    assert sum(p.numel() for p in network.parameters()) == PARAMS[name]
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, 8, 8))
    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()
