"""Layouts: what is refused and how, what equal means, and the forms they are stored in."""

import dataclasses
import json
import pickle
import re
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from model_zoo import LayoutError, ResNetLayout
from model_zoo.blocks import KINDS
from tests.support.zoo_fixtures import layouts

PER_STAGE_LIMITS = {
    "blocks": ([1, 0], "whole numbers of at least 1"),
    "channels": ([8, -8], "whole numbers of at least 1"),
    "strides": ([1, 3], "1 or 2"),
    "kernels": ([3, 4], "3, 5 or 7"),
}
SINGLE_LIMITS = {
    "stem_channels": (-1, "a whole number of at least 0"),
    "skip_kernel": (5, "1 or 3"),
    "conv_bias": (1, "true or false"),
    "in_channels": (0, "a whole number of at least 1"),
    "classes": (1, "a whole number of at least 2"),
    "block": ("wide", "basic, preactivation, bottleneck, separable, blueprint or inverted"),
    "groups": (0, "a whole number of at least 1"),
    "squeeze": (-1, "a whole number of at least 0"),
    "activation": ("tanh", "relu, silu, gelu or leaky-relu"),
    "expansion": (-1, "a whole number of at least 0"),
    "skip_pool": (1, "true or false"),
    "stem_depth": (4, "1, 2 or 3"),
    "stem_stride": (3, "1 or 2"),
}


def fields(**changed: Any) -> dict[str, Any]:
    return {"blocks": [1, 1], "channels": [8, 8]} | changed


@pytest.mark.parametrize(("name", "values", "limit"), [(n, *rest) for n, rest in PER_STAGE_LIMITS.items()])
def test_a_value_per_stage_outside_its_range_is_named_with_its_limit(name: str, values: list[int], limit: str) -> None:
    with pytest.raises(LayoutError) as caught:
        ResNetLayout.from_dict(fields(**{name: values}))
    assert str(caught.value) == f"{name}: {values[1]} given; use {limit}"


@pytest.mark.parametrize(("name", "value", "limit"), [(n, *rest) for n, rest in SINGLE_LIMITS.items()])
def test_a_single_value_outside_its_range_is_named_with_its_limit(name: str, value: object, limit: str) -> None:
    with pytest.raises(LayoutError) as caught:
        ResNetLayout.from_dict(fields(**{name: value}))
    assert str(caught.value) == f"{name}: {value!r} given; use {limit}"


@pytest.mark.parametrize("name", [*PER_STAGE_LIMITS, *SINGLE_LIMITS])
@pytest.mark.parametrize("value", ["two", None, 1.0, True])
def test_a_value_of_another_type_is_a_layout_error_in_every_field(name: str, value: object) -> None:
    if name in ("conv_bias", "skip_pool") and value is True:
        assert getattr(ResNetLayout.from_dict(fields(**{name: True})), name)
        return
    for given_value in [value, [value, value]] if name in PER_STAGE_LIMITS else [value]:
        with pytest.raises(LayoutError, match=f"^{name}: .*{value!r}.*; use "):
            ResNetLayout.from_dict(fields(**{name: given_value}))


def test_all_problems_are_listed_at_once_and_none_twice() -> None:
    with pytest.raises(LayoutError) as caught:
        ResNetLayout((0, 1), (0, 4, 4), (1, 3), (4,), -1, 2, 0, 0, 1, "", 0, -1, "")  # type: ignore[arg-type]
    assert str(caught.value).split("; ") == [
        "channels: 3 values for 2 stages",
        "give one per stage",
        "kernels: 1 values for 2 stages",
        "give one per stage",
        "blocks: 0 given",
        "use whole numbers of at least 1",
        "channels: 0 given",
        "use whole numbers of at least 1",
        "strides: 3 given",
        "use 1 or 2",
        "kernels: 4 given",
        "use 3, 5 or 7",
        "stem_channels: -1 given",
        "use a whole number of at least 0",
        "skip_kernel: 2 given",
        "use 1 or 3",
        "conv_bias: 0 given",
        "use true or false",
        "in_channels: 0 given",
        "use a whole number of at least 1",
        "classes: 1 given",
        "use a whole number of at least 2",
        "block: '' given",
        "use basic, preactivation, bottleneck, separable, blueprint or inverted",
        "groups: 0 given",
        "use a whole number of at least 1",
        "squeeze: -1 given",
        "use a whole number of at least 0",
        "activation: '' given",
        "use relu, silu, gelu or leaky-relu",
    ]


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({"groups": 3}, ["groups: 3 does not divide the 8 channels", "groups: 3 does not divide the 16 channels"]),
        ({"expansion": 2}, ["expansion: 2 given; basic blocks have none, so use 0"]),
        ({"block": "separable", "groups": 2}, ["groups: 2 given; separable blocks have none, so use 1"]),
        ({"block": "inverted", "skip_kernel": 3}, ["skip_kernel: 3 given; inverted blocks have none, so use 1"]),
        (
            {"stem_depth": 3, "stem_channels": 1},
            ["stem_channels: 1 given; a stem of 3 convolutions needs at least 2"],
        ),
        ({"groups": 8, "stem_channels": 12}, ["groups: 8 does not divide the 12 channels of the stem"]),
        (
            {"groups": 4, "block": "bottleneck", "stem_channels": 6},
            ["groups: 4 does not divide the inner width 2 of a bottleneck of 8 channels"],
        ),
        ({"block": "bottleneck", "channels": [3, 16]}, ["channels: 3 given; a bottleneck needs at least 4"]),
        ({"squeeze": 9}, ["squeeze: 9 exceeds the 8 channels of a stage"]),
        (
            {"squeeze": 9, "groups": 5},
            ["groups: 5 does not divide the 8", "squeeze: 9 exceeds the 8", "groups: 5 does not divide the 16"],
        ),
    ],
)
def test_fields_that_do_not_fit_each_other_are_all_named(changed: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(LayoutError) as caught:
        ResNetLayout.from_dict({"blocks": [1, 1], "channels": [8, 16]} | changed)
    for problem in problems:
        assert problem in str(caught.value)
    assert len(re.findall(r"(?:^|; )\w+: ", str(caught.value))) == len(problems)


def test_a_bottleneck_has_a_quarter_of_its_width_inside_and_counts_three_layers() -> None:
    layout = ResNetLayout((1, 2), (16, 34), block="bottleneck", groups=4, stem_channels=3)
    assert [conv.c_out for conv in KINDS["bottleneck"].convolutions(16, 34, 3, layout.form)] == [8, 8, 34]
    assert layout.depth == 2 + 3 * 3


@pytest.mark.parametrize("stages", [0, 1, 7])
def test_the_number_of_stages_is_bounded(stages: int) -> None:
    with pytest.raises(LayoutError) as caught:
        ResNetLayout((1,) * stages, (8,) * stages)
    assert str(caught.value) == f"blocks: {stages} stages; 2 to 6 are possible"


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(LayoutError, match=r"^depth: not a field of a layout; wide: not a field of a layout; "):
        ResNetLayout.from_dict({"channels": [8, 8], "wide": 1, "depth": 2})
    with pytest.raises(LayoutError, match=r"^blocks: missing; channels: missing$"):
        ResNetLayout.from_dict({})


def test_defaults_that_depend_on_other_fields_are_filled_in_so_that_equal_networks_compare_equal() -> None:
    short = ResNetLayout((1, 2, 1), (8, 16, 32))
    full = ResNetLayout((1, 2, 1), (8, 16, 32), (1, 2, 2), (3, 3, 3), 8)
    assert short == full
    assert hash(short) == hash(full)
    assert (short.strides, short.kernels, short.stem_channels) == ((1, 2, 2), (3, 3, 3), 8)
    assert (short.stages, short.depth, short.layout_id) == (3, 10, "1-2-1x8-16-32")


def test_an_identifier_names_what_is_not_default() -> None:
    layout = ResNetLayout((1, 2), (8, 16), (2, 1), (3, 5), 4, 3, True, 1, 7)
    assert layout.layout_id == "1-2x8-16+stride2-1+kernel3-5+stem4+skip3+bias1+in1+out7"
    other = ResNetLayout((1, 2), (8, 16), block="bottleneck", groups=2, squeeze=4, activation="silu", classes=7)
    assert other.layout_id == "1-2x8-16+blockbottleneck+groups2+squeeze4+actsilu+out7"


def test_a_layout_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ResNetLayout((1, 1), (8, 8)).classes = 5  # type: ignore[misc]  # that is the test


@settings(deadline=None)
@given(layout=layouts())
def test_dict_json_and_pickle_keep_a_layout(layout: ResNetLayout) -> None:
    assert ResNetLayout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout
    assert list(layout.to_dict()) == [field.name for field in dataclasses.fields(ResNetLayout)]
    assert pickle.loads(pickle.dumps(layout)) == layout


@settings(deadline=None)
@given(layout=layouts())
def test_an_identifier_gives_the_layout_back(layout: ResNetLayout) -> None:
    assert ResNetLayout.from_id(layout.layout_id) == layout


def test_what_stands_in_an_identifier_without_need_is_read_too() -> None:
    assert ResNetLayout.from_id("1-2x8-16+stride1-2+bias0+out10") == ResNetLayout((1, 2), (8, 16))
    assert ResNetLayout.from_id("1-2x8-16+blockbasic+groups1+squeeze0+actrelu") == ResNetLayout((1, 2), (8, 16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "resnet",
        "3-5-3",
        "x64-64",
        "3-5x",
        "3--5x8-8",
        "3-5x8-8x8",
        "1.5-2x8-8",
        "3-5x64 -64",
        "3-5X8-8",
        "٣-1x8-8",
    ],
)
def test_text_that_is_no_identifier_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LayoutError, match=r"is no layout's id; write blocks and channels as in 3-5-3x64-128-256$"):
        ResNetLayout.from_id(text)


@pytest.mark.parametrize(
    "extra",
    [
        *("", "wide2", "stride", "stem4+stem8", "bias1 ", "stem-4", "skip1-3", "bias1-0", "in3-1"),
        *("block", "blockBasic", "block1", "blockbasic+blockbottleneck", "groups2-2", "actrelu6", "squeeze"),
    ],
)
def test_a_part_that_is_none_of_an_identifier_is_refused(extra: str) -> None:
    with pytest.raises(LayoutError, match="'1-1x8-8"):
        ResNetLayout.from_id(f"1-1x8-8+{extra}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1x8", "blocks: 1 stages; 2 to 6 are possible"),
        ("1-1x8", "channels: 1 values for 2 stages; give one per stage"),
        ("0-1x8-8", "blocks: 0 given; use whole numbers of at least 1"),
        ("1-1x8-8+stride1-3", "strides: 3 given; use 1 or 2"),
        ("1-1x8-8+kernel3", "kernels: 1 values for 2 stages; give one per stage"),
        ("1-1x8-8+bias2", "conv_bias: 2 given; use true or false"),
        ("1-1x8-8+skip2", "skip_kernel: 2 given; use 1 or 3"),
        ("1-1x8-8+blockwide", f"block: 'wide' given; use {SINGLE_LIMITS['block'][1]}"),
        ("1-1x8-8+squeeze16", "squeeze: 16 exceeds the 8 channels of a stage; use at most 8"),
    ],
)
def test_an_identifier_of_a_layout_that_cannot_be_built_names_the_field(text: str, message: str) -> None:
    with pytest.raises(LayoutError) as caught:
        ResNetLayout.from_id(text)
    assert str(caught.value) == message


@settings(deadline=None)
@given(layout=layouts(max_channels=3), data=st.data())
def test_identifiers_are_equal_exactly_for_equal_layouts(layout: ResNetLayout, data: st.DataObject) -> None:
    values = layout.to_dict()
    name = data.draw(st.sampled_from([*PER_STAGE_LIMITS, *SINGLE_LIMITS]))
    other = data.draw(layouts(max_channels=3).filter(lambda candidate: candidate.stages == layout.stages))
    try:
        changed = ResNetLayout.from_dict(values | {name: other.to_dict()[name]})
    except LayoutError:  # fields of two layouts need not fit each other
        reject()
    assert (changed.layout_id == layout.layout_id) == (changed == layout)
    assert (other.layout_id == layout.layout_id) == (other == layout)
    assert ResNetLayout.from_dict(values).layout_id == layout.layout_id
