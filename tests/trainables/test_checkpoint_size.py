"""A checkpoint's size in closed form against the file that a training writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given

from model_zoo import PRESETS, ResNetLayout, build
from model_zoo.complexity import count_norms
from tests.support.examples import examples
from tests.support.training_fixtures import small_recipe, small_trainer
from tests.support.zoo_fixtures import layouts
from trainables.checkpoints.size import checkpoint_bytes
from trainables.recipe import Optimizer

SMALL = {
    **{
        name: dataclasses.replace(
            preset,
            channels=tuple(width // 16 or 1 for width in preset.channels),
            stem_channels=preset.stem_channels // 16 or 1,
            blocks=tuple(min(blocks, 3) for blocks in preset.blocks),
            classes=4,
        )
        for name, preset in list(PRESETS.items())[::4]
    },
    "tiny": ResNetLayout((1, 1), (4, 4), classes=4),
    "biased": ResNetLayout((1, 2), (8, 16), conv_bias=True, classes=4),
    "deep": ResNetLayout((4, 5, 6), (4, 8, 8), skip_kernel=3, classes=4),
    "before": ResNetLayout((2, 1), (8, 16), block="preactivation", classes=4),
    "narrow": ResNetLayout((2, 1), (16, 32), block="bottleneck", squeeze=4, classes=4),
    "wide": ResNetLayout((1, 1, 1), (32, 48, 64), classes=4),
}


@examples(30)
@given(layouts())
def test_norms_and_their_channels_are_those_of_the_network(layout: ResNetLayout) -> None:
    norms, channels = count_norms(layout)
    buffers = list(build(layout, 0).buffers())
    assert sum(buffer.numel() for buffer in buffers) == 2 * channels + norms
    assert len(buffers) == 3 * norms


@pytest.mark.parametrize("layout", SMALL)
@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": name} for name in get_args(Optimizer)),
        {"ema_decay": 0.9},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "adam", "keep_weights": "best", "schedule": "constant"},
    ],
)
def test_the_closed_form_is_the_files_size(layout: str, changes: dict[str, object], tmp_path: Path) -> None:
    trainer = small_trainer(small_recipe(learning_rate=1e-3, **changes), layout=SMALL[layout], epochs=1)
    trainer.train_epoch()
    trainer.save(tmp_path / "checkpoint")
    size = (tmp_path / "checkpoint").stat().st_size
    assert checkpoint_bytes(SMALL[layout], trainer.recipe) == pytest.approx(size, rel=0.02)
