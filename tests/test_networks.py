"""Built networks: images of any size, the initialisation's spread, and weights that the seed alone decides."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model_zoo import ResNetLayout, build
from tests.zoo_fixtures import layouts


@settings(deadline=None, max_examples=30)
@given(layout=layouts(), size=st.tuples(st.integers(1, 20), st.integers(1, 20)), training=st.booleans())
def test_images_of_any_size_give_one_row_of_logits_each(
    layout: ResNetLayout, size: tuple[int, int], training: bool
) -> None:
    logits = build(layout).train(training)(torch.ones(3, layout.in_channels, *size))
    assert logits.shape == (3, layout.classes)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_every_parameter_takes_part() -> None:
    layout = ResNetLayout((2, 1), (4, 8), kernels=(3, 5), stem_channels=6, skip_kernel=3)
    network = build(layout)
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


@settings(deadline=None, max_examples=25)
@given(layout=layouts(), seed=st.integers(0, 2**31 - 1))
def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(layout: ResNetLayout, seed: int) -> None:
    before = torch.random.get_rng_state()
    first = build(layout, seed).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    again, other = build(layout, seed).state_dict(), build(layout, seed + 1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])
