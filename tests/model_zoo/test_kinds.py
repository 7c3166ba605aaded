"""Kinds of blocks: the networks that checkpoints hold stay as they are, and a new kind is counted as it is built."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model_zoo import LayoutError, ResNetLayout, build, count_activation_bytes, count_flops, count_params
from model_zoo.blocks import DEFAULT_KIND, KINDS, Form, canonical
from model_zoo.complexity import (
    count_norms,
    count_param_tensors,
    stage_flops,
    stage_params,
    stem_flops,
    stem_params,
)
from model_zoo.memory import BYTES_PER_VALUE, stage_peak, stage_saved, stem_saved
from model_zoo.widths import allows, allows_stem
from tests.support.cli import ROOT
from tests.support.memory_fixtures import IGNORED, measured_bytes, saved_bytes, saved_values
from tests.support.toy_kinds import TOYS

SHIPPED = tuple(KINDS)

GOLDEN = {
    "2-1x8-16": ("5a160c3c2bd8e19a", [-0.086727, -0.009686, 0.033593]),
    "1-2-1x6-12-8+stride2-1-2+kernel5-3-3+stem4+skip3+bias1+groups2+squeeze3+actsilu": (
        "ab816c1eece86802",
        [-0.153403, 0.340528, 0.003788],
    ),
    "2-2x8-8+stride1-1+squeeze4+actgelu+in1+out4": ("9c622c7030163179", [-0.088982, 0.541446, -0.184777]),
    "2-1x8-16+blockpreactivation": ("e07ea82a0cc8246f", [-0.074667, 0.006743, -0.046301]),
    "1-2-1x6-12-8+stride2-1-2+kernel5-3-3+stem4+skip3+bias1+blockpreactivation+groups2+squeeze3+actgelu": (
        "689a0a10c0fdb61b",
        [-0.16748, 0.164552, 0.001376],
    ),
    "2-2x8-8+stride1-1+stem16+blockpreactivation+squeeze4+actsilu+in1+out4": (
        "2e849d8c01131454",
        [-0.032404, 0.013241, 0.108884],
    ),
    "2-1x16-32+blockbottleneck": ("546e5d273d7b1fe1", [-0.348319, -0.348702, -0.351193]),
    "1-2-1x24-34-16+stride2-1-2+kernel5-3-3+stem5+skip3+bias1+blockbottleneck+groups2+squeeze3+actsilu": (
        "49473e0981354429",
        [-0.061759, 0.231245, -0.000239],
    ),
    "2-2x16-16+stride1-1+stem16+blockbottleneck+groups4+squeeze16+actgelu+in1+out4": (
        "3c911b7757ea5a2a",
        [-0.023995, -0.688774, -0.007349],
    ),
}
"""By layout: hash of the state dict's names, shapes and types; first logits in training mode, from seed 7."""


@pytest.mark.parametrize("layout_id", GOLDEN)
def test_checkpoints_of_earlier_versions_fit_and_a_seed_still_gives_the_same_network(layout_id: str) -> None:
    layout = ResNetLayout.from_id(layout_id)
    network = build(layout, seed=7)
    names = "\n".join(f"{name} {tuple(value.shape)} {value.dtype}" for name, value in network.state_dict().items())
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, layout.in_channels, 9, 7, generator=draw, dtype=torch.float64)
    with torch.inference_mode():
        logits = network.double().train()(x)
    expected, first = GOLDEN[layout_id]
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == expected
    # Not a hash: the last bits of the draws and sums are the processor's.
    assert logits[0, :3].tolist() == pytest.approx(first, abs=2e-6)


def test_names_of_kinds_can_be_part_of_a_layouts_id() -> None:
    for name in SHIPPED:
        layout = ResNetLayout((1, 1), (16, 16), block=name)
        assert re.fullmatch("[a-z]+", name)
        assert ResNetLayout.from_id(layout.layout_id) == layout
    assert SHIPPED[0] == DEFAULT_KIND


def test_no_code_outside_the_folder_of_kinds_names_one() -> None:
    quoted = re.compile(rf"[\"']({'|'.join(SHIPPED)})[\"']")
    paths = [path for package in ("model_zoo", "trainables", "search") for path in (ROOT / package).rglob("*.py")]
    naming = {path.relative_to(ROOT).as_posix() for path in paths if quoted.search(path.read_text())}
    assert naming == {"model_zoo/blocks/__init__.py", "model_zoo/blocks/form.py"}  # the table, and the default


@pytest.fixture(scope="module", autouse=True)
def _toys() -> Iterator[None]:
    """Two more kinds in the table."""
    with pytest.MonkeyPatch.context() as patch:
        for name, kind in TOYS.items():
            patch.setitem(KINDS, name, kind)
        yield


CASES = list(itertools.product(TOYS, (0, 4), ("relu", "silu"), (1, 2)))


def layout_of(block: str, squeeze: int, activation: str, stride: int, **others: object) -> ResNetLayout:
    fields = {"stem_channels": 24, "skip_kernel": 3, "kernels": (3, 5)} | others
    return ResNetLayout(
        (2, 1),
        (16, 32),
        (stride, 2),
        block=block,
        squeeze=squeeze,
        activation=activation,
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("block", "squeeze", "activation", "stride"), CASES)
def test_a_new_kind_is_counted_as_built(block: str, squeeze: int, activation: str, stride: int) -> None:
    for bias, groups, stem in ((False, 2, 16), (True, 1, 24)):
        layout = layout_of(block, squeeze, activation, stride, conv_bias=bias, groups=groups, stem_channels=stem)
        network = build(layout)
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            network.eval()(torch.zeros(1, 3, 9, 6))
        tensors, buffers = list(network.parameters()), list(network.buffers())
        norms, channels = count_norms(layout)
        assert count_params(layout) == sum(tensor.numel() for tensor in tensors)
        assert count_param_tensors(layout) == len(tensors)
        assert count_flops(layout, (9, 6)) == counter.get_total_flops()
        assert (len(buffers), sum(buffer.numel() for buffer in buffers)) == (3 * norms, 2 * channels + norms)
        weighted = [tensor for name, tensor in network.named_parameters() if tensor.dim() > 1 and ".skip." not in name]
        assert layout.depth == len(weighted) - sum(".squeeze." in name for name, _ in network.named_parameters()) // 2


@pytest.mark.parametrize(("block", "squeeze", "activation", "stride"), CASES)
def test_a_new_kind_takes_the_memory_that_is_counted(block: str, squeeze: int, activation: str, stride: int) -> None:
    layout, size = layout_of(block, squeeze, activation, stride), (11, 8)
    assert saved_bytes(layout, size) == BYTES_PER_VALUE * saved_values(layout, size) + IGNORED
    assert count_activation_bytes(layout, size) == pytest.approx(measured_bytes(layout, size), rel=0.05)


def test_a_peak_inside_a_block_that_is_wider_than_its_output_is_found() -> None:
    layout, size = ResNetLayout((3, 1), (16, 16), (1, 1), block="wide"), (12, 12)
    assert count_activation_bytes(layout, size) == pytest.approx(measured_bytes(layout, size), rel=0.01)


@pytest.mark.parametrize("block", [*SHIPPED, *TOYS])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_columns_count_as_single_stages_do(block: str, activation: str) -> None:
    draw = np.random.default_rng(0)
    c_in, width = 8 * draw.integers(1, 20, (2, 50))
    c_in[::3] = width[::3]
    blocks, pixels = draw.integers(1, 9, 50), draw.integers(1, 300, 50)
    stride, kernel = draw.choice([1, 2], 50), draw.choice([3, 5, 7], 50)
    pixels_in = np.where(stride == 1, pixels, 3 * pixels)
    form = canonical(Form(3, True, block, 2, 4, activation, skip_pool=True, stem_depth=3))
    last = draw.integers(0, 2, 50)
    for figure, columns in (
        (stem_params, (c_in, width, form)),
        (stem_flops, (c_in, width, pixels, form)),
        (stem_saved, (c_in, width, pixels_in, pixels, form)),
        (stage_params, (c_in, width, blocks, kernel, stride, form)),
        (stage_flops, (c_in, width, blocks, kernel, stride, pixels_in, pixels, form)),
        (stage_saved, (c_in, width, blocks, stride, pixels_in, pixels, form, last)),
        (stage_peak, (c_in, width, blocks, stride, pixels_in, pixels, form, last)),
    ):
        counted = figure(*columns)  # type: ignore[operator]
        assert counted.dtype == np.int64
        rows = [[x if isinstance(x, Form) else int(x[i]) for x in columns] for i in range(50)]  # type: ignore[index]
        assert counted.tolist() == [figure(*row) for row in rows]  # type: ignore[operator]


def test_a_new_kind_says_which_widths_it_allows() -> None:
    assert [allows(Form(block="toy", groups=4), width) for width in (4, 6, 8)] == [True, False, True]
    assert not allows_stem(Form(block="toy", groups=4), 6)
    assert allows(Form(block="wide", groups=4), 6)
    assert not allows(Form(block="wide", squeeze=8), 6)
    with pytest.raises(LayoutError, match=r"^groups: 4 does not divide the 6 channels; use a divisor$"):
        ResNetLayout((1, 1), (6, 8), block="toy", groups=4)
