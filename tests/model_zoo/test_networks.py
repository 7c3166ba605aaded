"""Built networks: images of any size, the initialisation's spread, and weights that the seed alone decides."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model_zoo import ResNetLayout, build
from model_zoo.blocks import ACTIVATIONS, KINDS
from model_zoo.blocks.parts import SqueezeExcitation
from tests.support.examples import examples
from tests.support.zoo_fixtures import layouts, read_by

TENSORS = ("weight", "bias")


@examples(30)
@given(layout=layouts(), size=st.tuples(st.integers(1, 20), st.integers(1, 20)), training=st.booleans())
def test_images_of_any_size_give_one_row_of_logits_each(
    layout: ResNetLayout, size: tuple[int, int], training: bool
) -> None:
    logits = build(layout).train(training)(torch.ones(3, layout.in_channels, *size))
    assert logits.shape == (3, layout.classes)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@examples(10)
@given(layout=layouts(), training=st.booleans())
def test_logits_are_float32_under_autocast_as_well(layout: ResNetLayout, training: bool) -> None:
    network = build(layout).train(training)
    seen: list[torch.Tensor] = []
    network.head.register_forward_hook(lambda _, given, output: seen.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(3, layout.in_channels, 9, 9, generator=torch.Generator().manual_seed(0)))
    assert (seen[0].dtype, logits.dtype) == (torch.float32, torch.float32)
    assert torch.equal(logits, F.linear(seen[0], network.head.weight, network.head.bias))


@pytest.mark.parametrize("squeeze", [0, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("block", list(KINDS))
def test_every_parameter_takes_part(block: str, activation: str, squeeze: int) -> None:
    read = read_by(block, skip_kernel=3)
    layout = ResNetLayout((2, 1), (8, 16), kernels=(3, 5), stem_channels=6, stem_depth=2, squeeze=squeeze, **read)
    network = build(dataclasses.replace(layout, activation=activation))
    network(torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_block_is_the_formula_of_the_paper() -> None:
    network = build(ResNetLayout((1, 1), (4, 8))).eval()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    functional = nn.functional

    def norm(values: torch.Tensor) -> torch.Tensor:
        return values / math.sqrt(1 + 1e-5)  # fresh running statistics: mean 0, variance 1

    weights = {name: value for name, value in network.named_parameters() if name.endswith("weight")}
    with torch.inference_mode():
        y = functional.relu(norm(functional.conv2d(x, weights["stem.conv.weight"], padding=1)))
        for block, stride in (("stages.0.0", 1), ("stages.1.0", 2)):
            skip = f"{block}.skip.conv.weight"
            side = norm(functional.conv2d(y, weights[skip], stride=stride)) if skip in weights else y
            z = functional.relu(norm(functional.conv2d(y, weights[f"{block}.conv1.weight"], stride=stride, padding=1)))
            z = norm(functional.conv2d(z, weights[f"{block}.conv2.weight"], padding=1))
            y = functional.relu(z + side)
        expected = y.mean((2, 3)) @ weights["head.weight"].T
        torch.testing.assert_close(network(x), expected)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_bottleneck_is_that_of_torchvision(groups: int, stride: int) -> None:
    layout = ResNetLayout((1, 1), (32, 32), block="bottleneck", groups=groups, strides=(stride, 1), stem_channels=20)
    ours = build(layout).stages[0][0]
    skip = nn.Sequential(nn.Conv2d(20, 32, 1, stride, bias=False), nn.BatchNorm2d(32))
    theirs = torchvision.models.resnet.Bottleneck(20, 8, stride, skip, groups, 64 // groups)
    names = {"norm": "bn", "skip.conv": "downsample.0", "skip.bn": "downsample.1"}
    weights = ours.state_dict()
    for old, new in names.items():
        weights = {name.replace(old, new): value for name, value in weights.items()}
    theirs.load_state_dict(weights)
    torch.testing.assert_close(ours(images(2, 20, 9, 7)), theirs(images(2, 20, 9, 7)))


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_squeeze_is_that_of_torchvision(activation: str) -> None:
    ours = SqueezeExcitation(12, 4, activation)
    theirs = torchvision.ops.SqueezeExcitation(12, 3, activation={"relu": nn.ReLU, "silu": nn.SiLU}[activation])
    weights = {f"{a}.{kind}": getattr(b, kind) for a, b in (("fc1", ours.down), ("fc2", ours.up)) for kind in TENSORS}
    theirs.load_state_dict({name: w[:, :, None, None] if w.dim() == 2 else w for name, w in weights.items()})
    torch.testing.assert_close(ours(images(2, 12, 5, 7)), theirs(images(2, 12, 5, 7)))


@pytest.mark.parametrize(("block", "space"), [("separable", 0), ("blueprint", 1)])
def test_a_separable_network_is_the_preactivation_one_with_its_convolutions_divided(block: str, space: int) -> None:
    """Depthwise and then 1x1, or the other way round, in the place of each kxk convolution, nothing between."""
    network = build(ResNetLayout((2, 1), (4, 8), kernels=(3, 5), block=block)).eval()
    scale = 1 / math.sqrt(1 + 1e-5)  # of fresh norms
    weights = {name: value for name, value in network.named_parameters() if value.dim() == 4}
    x = images(2, 3, 8, 8)

    with torch.inference_mode():
        y = F.relu(scale * F.conv2d(x, weights["stem.conv.weight"], padding=1))
        for place, stride in (("stages.0.0", 1), ("stages.0.1", 1), ("stages.1.0", 2)):
            a = y if place == "stages.0.0" else F.relu(scale * y)
            side = F.conv2d(a, weights[f"{place}.skip.conv.weight"], stride=stride) if stride == 2 else y
            z = a
            for number in (1, 2):
                for half in (0, 1):
                    weight, of_space = weights[f"{place}.conv{number}.{half}.weight"], half == space
                    z = F.conv2d(
                        z,
                        weight,
                        stride=stride if of_space and number == 1 else 1,
                        padding=weight.shape[2] // 2,
                        groups=len(weight) if of_space else 1,
                    )
                z = F.relu(scale * z) if number == 1 else z
            y = z + side
        expected = F.relu(scale * y).mean((2, 3)) @ network.head.weight.T
        torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize(("width", "stride"), [(8, 1), (12, 1), (8, 2)])
def test_an_inverted_block_is_that_of_torchvision(width: int, stride: int) -> None:
    layout = ResNetLayout((1, 1), (width, 8), (stride, 1), stem_channels=8, block="inverted", expansion=3)
    ours = build(layout).stages[0][0]
    theirs = torchvision.models.mobilenetv2.InvertedResidual(8, width, stride, 3)
    for path in (theirs.conv[0], theirs.conv[1]):
        path[2] = nn.ReLU()  # in the place of ReLU6
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    torch.testing.assert_close(ours(images(2, 8, 9, 7)), theirs(images(2, 8, 9, 7)))


def test_depthwise_filters_start_as_those_of_one_channel() -> None:
    network = build(ResNetLayout((1, 1), (512, 512), kernels=(5, 3), block="inverted", expansion=4))
    for block, kernel in ((network.stages[0][0], 5), (network.stages[1][0], 3)):
        assert block.depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / kernel**2), rel=0.05)


@pytest.mark.parametrize(
    ("activation", "function"), [("relu", F.relu), ("silu", F.silu), ("gelu", F.gelu), ("leaky-relu", F.leaky_relu)]
)
def test_a_preactivation_network_is_the_formula_of_the_paper(activation: str, function: Any) -> None:
    """x + conv(act(norm(conv(act(norm(x)))))); the stem's activation is the first block's, the last sum's is added."""
    layout = ResNetLayout((2, 1), (4, 8), block="preactivation", activation=activation)
    network = build(layout).eval()
    scale = 1 / math.sqrt(1 + 1e-5)  # of fresh norms
    weights = {name: value for name, value in network.named_parameters() if value.dim() == 4}
    x = images(2, 3, 8, 8)
    with torch.inference_mode():
        y = function(scale * F.conv2d(x, weights["stem.conv.weight"], padding=1))
        for block, stride in (("stages.0.0", 1), ("stages.0.1", 1), ("stages.1.0", 2)):
            a = y if block == "stages.0.0" else function(scale * y)
            skip = f"{block}.skip.conv.weight"
            side = F.conv2d(a, weights[skip], stride=stride) if skip in weights else y
            z = function(scale * F.conv2d(a, weights[f"{block}.conv1.weight"], stride=stride, padding=1))
            y = F.conv2d(z, weights[f"{block}.conv2.weight"], padding=1) + side
        expected = function(scale * y).mean((2, 3)) @ network.head.weight.T
        torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize(("block", "activation"), list(itertools.product(KINDS, ACTIVATIONS)))
def test_gradients_are_those_of_finite_differences(block: str, activation: str) -> None:
    layout = ResNetLayout((2, 1), (4, 8), block=block, groups=1, squeeze=2, activation=activation, classes=2)
    network = build(layout).double()
    x = images(3, 3, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(network, (x,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize(
    ("block", "groups"),
    [(block, groups) for block in KINDS for groups in (1, 2, 8) if groups == 1 or KINDS[block].grouped],
)
def test_grouped_gradients_are_the_same_in_either_memory_format(block: str, groups: int) -> None:
    widths = (32, 64) if block == "bottleneck" else (8, 16)
    network = build(ResNetLayout((2, 1), widths, block=block, groups=groups, squeeze=4))
    gradients = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network.zero_grad()
        network = network.to(memory_format=memory_format)
        network(images(4, 3, 9, 9).contiguous(memory_format=memory_format)).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("width", [1, 5, 8, 15, 16, 17])
def test_strided_skips_of_any_width_have_the_same_gradients_in_either_memory_format(width: int) -> None:
    images = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network = build(ResNetLayout((1, 1), (width, 8))).double().to(memory_format=memory_format)
        network(images.contiguous(memory_format=memory_format)).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("kernel", [3, 5])
def test_convolutions_are_kaiming_normal_with_fan_out(kernel: int) -> None:
    layout = ResNetLayout((2, 2), (64, 128), kernels=(kernel, kernel), conv_bias=True, classes=100)
    for seed in range(2):
        network = build(layout, seed)
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                std = math.sqrt(2 / (module.out_channels * module.kernel_size[0] ** 2))
                # The standard deviation of n normal values is off by 1/sqrt(2n), of their mean by 1/sqrt(n).
                n = module.weight.numel()
                assert abs(module.weight.std().item() / std - 1) < 5 / math.sqrt(2 * n), name
                assert abs(module.weight.mean().item() / std) < 5 / math.sqrt(n), name
                assert module.bias is not None
                assert not module.bias.any()
            if isinstance(module, nn.BatchNorm2d):
                assert (module.weight == 1).all()
                assert not module.bias.any()
        bound = 1 / math.sqrt(128)
        assert network.head.weight.abs().max() <= bound
        assert abs(network.head.weight.std().item() / (bound / math.sqrt(3)) - 1) < 0.03  # 12,800 uniform values
        assert not network.head.bias.any()


@examples(25)
@given(layout=layouts(), seed=st.integers(0, 2**31 - 1))
def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(layout: ResNetLayout, seed: int) -> None:
    before = torch.random.get_rng_state()
    first = build(layout, seed).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    again, other = build(layout, seed).state_dict(), build(layout, seed + 1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    stem = next(name for name in first if name.startswith("stem.") and name.endswith("conv.weight"))
    assert not torch.equal(first[stem], other[stem])
    assert not torch.equal(first["head.weight"], other["head.weight"])
