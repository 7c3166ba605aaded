"""Closed-form costs against the built network: parameters to the digit, FLOPs to the count of torch."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model_zoo import ResNetLayout, build, count_flops, count_params
from model_zoo.blocks import ACTIVATIONS, KINDS
from model_zoo.complexity import count_norms, flops_by_part, params_by_part, sizes_by_part
from tests.support.examples import examples, some_of
from tests.support.zoo_fixtures import layouts, read_by

IMAGE_SIZES = st.one_of(st.integers(1, 20), st.tuples(st.integers(1, 20), st.integers(1, 20)))


def counted_flops(network: nn.Module, layout: ResNetLayout, height: int, width: int) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network.eval()(torch.zeros(1, layout.in_channels, height, width))
    return int(counter.get_total_flops())


@settings(deadline=None)
@given(layout=layouts(max_blocks=3))
def test_the_parameter_count_is_that_of_the_built_network(layout: ResNetLayout) -> None:
    assert count_params(layout) == sum(p.numel() for p in build(layout).parameters())


@examples(30)
@given(layout=layouts(), image_size=IMAGE_SIZES)
def test_the_flop_count_is_that_of_torch(layout: ResNetLayout, image_size: int | tuple[int, int]) -> None:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    assert count_flops(layout, image_size) == counted_flops(build(layout), layout, height, width)


@settings(deadline=None)
@given(layout=layouts(max_blocks=3), image_size=IMAGE_SIZES)
def test_each_part_has_the_parameters_and_the_size_of_its_module(
    layout: ResNetLayout, image_size: int | tuple[int, int]
) -> None:
    network = build(layout)
    counted = [sum(p.numel() for p in part.parameters()) for part in (network.stem, *network.stages, network.head)]
    if network.norm is not None:  # the norm after a stage's last sum counts as the stage's, wherever its module is
        for stage, width in enumerate(layout.channels, start=1):
            counted[stage] += 2 * width
            if stage < layout.stages:
                counted[stage + 1] -= 2 * width
    assert params_by_part(layout) == counted
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    with torch.inference_mode():
        x = network.eval().stem(torch.zeros(1, layout.in_channels, height, width))
        sizes = [tuple(x.shape[2:]), *(tuple((x := stage(x)).shape[2:]) for stage in network.stages), (1, 1)]
    assert sizes_by_part(layout, image_size) == sizes
    assert len(flops_by_part(layout, image_size)) == len(sizes)


FORMS = list(itertools.product(KINDS, (1, 2, 4), (0, 3, 16), ACTIVATIONS))
REST = list(itertools.product((16, 24), (1, 2), (1, 3), (False, True), (0, 2), (1, 2, 3)))
"""Channels of the stem, stride of the first stage, kernel of a skip, biases and averages, expansion, stem's depth."""


@pytest.mark.parametrize(("block", "groups", "squeeze", "activation"), FORMS)
def test_every_form_of_block_is_counted_as_built(block: str, groups: int, squeeze: int, activation: str) -> None:
    for stem, stride, skip, flag, expansion, depth in some_of(REST, FORMS.index((block, groups, squeeze, activation))):
        read = read_by(block, skip_kernel=skip, skip_pool=flag, groups=groups, expansion=expansion)
        layout = ResNetLayout(
            (2, 1),
            (16, 32),
            (stride, 2),
            (3, 7),
            stem,
            conv_bias=flag,
            squeeze=squeeze,
            activation=activation,
            stem_depth=depth,
            stem_stride=stride,
            **read,
        )
        network = build(layout)
        assert count_params(layout) == sum(p.numel() for p in network.parameters())
        assert count_norms(layout)[0] == sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert count_flops(layout, (5, 8)) == counted_flops(network, layout, 5, 8)


@pytest.mark.parametrize(("squeeze", "published"), [(0, 25_557_032), (16, 28_088_024)])
def test_resnet_50_and_its_squeeze_have_their_published_parameters(squeeze: int, published: int) -> None:
    """As in torchvision (ResNet-50) and timm (SE-ResNet-50), but for the stem: 3x3 instead of 7x7."""
    layout = ResNetLayout(
        (3, 4, 6, 3), (256, 512, 1024, 2048), stem_channels=64, classes=1000, block="bottleneck", squeeze=squeeze
    )
    assert count_params(layout) == published - (7 * 7 - 3 * 3) * 3 * 64
    assert layout.depth == 50


def test_resnext_50_has_its_published_parameters() -> None:
    """ResNeXt-50 32x4d as in torchvision, but for the stem."""
    layout = ResNetLayout(
        *((3, 4, 6, 3), (256, 512, 1024, 2048)),
        **{"stem_channels": 64, "classes": 1000, "block": "bottleneck", "groups": 32, "expansion": 2},
    )
    assert count_params(layout) == 25_028_904 - (7 * 7 - 3 * 3) * 3 * 64


def test_resnet_50_d_has_its_published_parameters_and_depth() -> None:
    """ResNet-50-D as in timm: a stem of 3x3 to 32, 32 and 64 channels, and averages in front of its skips."""
    layout = ResNetLayout(
        *((3, 4, 6, 3), (256, 512, 1024, 2048)),
        **{"stem_channels": 64, "classes": 1000, "block": "bottleneck"},
        **{"skip_pool": True, "stem_depth": 3, "stem_stride": 2},
    )
    assert count_params(layout) == 25_576_264
    assert layout.depth == 52


def test_the_default_image_is_32_by_32() -> None:
    layout = ResNetLayout((2, 1), (4, 8))
    assert count_flops(layout) == count_flops(layout, 32) == count_flops(layout, (32, 32))


@pytest.mark.parametrize("stage", range(3))
def test_a_block_more_adds_two_convolutions_and_their_norms(stage: int) -> None:
    blocks = [2, 2, 2]
    blocks[stage] += 1
    more, fewer = ResNetLayout(tuple(blocks), (8, 16, 32)), ResNetLayout((2, 2, 2), (8, 16, 32))
    width = (8, 16, 32)[stage]
    assert count_params(more) - count_params(fewer) == 2 * (9 * width**2 + 2 * width)
    size = (32, 16, 8)[stage]
    assert count_flops(more) - count_flops(fewer) == 2 * 2 * 9 * width**2 * size**2
