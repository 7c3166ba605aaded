"""Spaces that are lists of layouts: what the entries stand for, and which lists are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from model_zoo import PRESETS, ResNetLayout
from search.layouts import LayoutSpace, enumerate_layouts
from search.sampling.neighbours import Neighbours


def test_a_list_of_layouts_is_the_space_of_those_layouts_alone() -> None:
    space = LayoutSpace.model_validate(
        {"layouts": ["cerberus-resnet24", "3-5-3x64-128-256", "2-2x8-16+stem4"], "min_params": 0, "classes": 7}
    )
    own = ResNetLayout((2, 2), (8, 16), stem_channels=4, classes=7)
    assert space.listed_layouts == (ResNetLayout((3, 5, 3), (64, 128, 256), classes=7), own)
    assert set(enumerate_layouts(space)) == set(space.listed_layouts)
    assert space.contains(own)
    assert not space.contains(PRESETS["cerberus-resnet24"])  # for images of ten classes
    ten = space.model_copy(update={"classes": 10})
    assert ten.contains(PRESETS["cerberus-resnet24"])
    assert LayoutSpace.model_validate_json(space.model_dump_json()) == space


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        ({"layouts": "cerberus-resnet24"}, ["layouts: 'cerberus-resnet24' given; use a list of preset names"]),
        ({"layouts": 5}, ["layouts: 5 given; use a list of preset names"]),
        (
            {"layouts": ["resnet-1000", 7, ["x"], "1-1x8", "1-1x8-8"]},
            [
                "'resnet-1000' is no layout's id; write blocks and channels as in 3-5-3x64-128-256",
                "7 given; use preset names or layout ids",
                "['x'] given; use preset names or layout ids",
                "channels: 1 values for 2 stages; give one per stage",
                f"presets: {', '.join(PRESETS)}",
            ],
        ),
        (
            {"layouts": ["1-1x8-8"], "channels": [8, 16], "blocks": [1, 1], "kernels": [5]},
            ["layouts: given together with channels, kernels; a list of layouts replaces them"],
        ),
        ({"layouts": ["1-1x8-8"], "in_channels": 0}, ["in_channels"]),
        ({"layouts": ["1-1x8-70000"]}, ["channels.1"]),
        ({"layouts": ["1-1x8-8"], "min_params": 9, "max_params": 8}, ["min_params 9 exceeds max_params 8"]),
    ],
)
def test_a_wrong_list_of_layouts_is_refused(table: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        LayoutSpace.model_validate(table)
    for message in messages:
        assert message in str(caught.value)


def test_a_long_list_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    from_id = ResNetLayout.from_id

    def counted(text: str) -> ResNetLayout:
        read.append(text)
        return from_id(text)

    monkeypatch.setattr(ResNetLayout, "from_id", counted)
    ids = [f"{a}-{b}x16-32" for a in range(1, 51) for b in range(1, 51)]
    space = LayoutSpace.model_validate({"layouts": ids, "min_params": 0, "max_params": 2**40})
    nearest = next(Neighbours(space).around({"blocks_1": 40, "blocks_2": 7}))
    assert nearest == (0, from_id("40-7x16-32"))
    assert all(space.contains(layout) for layout in enumerate_layouts(space))
    assert len(read) == 2 * len(ids)  # once for the choices they are made of, once for the list
