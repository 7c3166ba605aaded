"""What a training step of every option does on a GPU, followed without one: no tensor is elsewhere, nothing waits.

Torch's fake tensors have a device, a shape and a type but no values: an operation on two devices raises, and so does
reading a value back, which on a GPU would wait for it. Seven things have no fake counterpart without a driver and are
stood in for: a GPU's generator, the engine's backward pass, moving a module, pinning memory, NumPy's arrays, SGD's
fused kernel, and what autocast asks the driver. In bfloat16 a fake convolution loses the channels-last layout, which a
GPU keeps, so the layout is followed in float32. That a GPU computes the right values is for the tests marked gpu.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from model_zoo import ResNetLayout
from tests.support.training_fixtures import LAYOUT, small_recipe, small_set
from trainables.augmentation.policies import magnitudes
from trainables.evaluation import answers
from trainables.training import Trainer

GPU = torch.device("cuda", 0)
SHAPE = (16, 16, 3)
PRECISIONS = ("float32", "bfloat16")

OPTIONS: list[dict[str, Any]] = [
    {},
    *({"optimizer": name} for name in ("sgd", "adam", "adamw", "adadelta", "muon")),
    *({"optimizer": "muon", "decay_norms": value} for value in (True, False)),
    *({"schedule": name} for name in ("cosine", "one-cycle", "step", "constant", "linear", "cosine-restarts")),
    *({"schedule": name} for name in ("milestones", "exponential", "plateau")),
    {"sam_radius": 0.05},
    {"lookahead_steps": 1},
    {"ema_decay": 0.9},
    {"gradient_clipping": 1.0},
    {"adaptive_clipping": 0.01},
    {"stochastic_depth": 0.2},
    {"dropout": 0.2},
    {"label_smoothing": 0.1},
    {"crop_padding": 2, "padding_mode": "zeros"},
    {"crop_padding": 2, "padding_mode": "reflect"},
    {"flip": True},
    {"flip": True, "flip_order": "alternating"},
    {"cutout": 4},
    {"rotation_degrees": 10.0},
    {"erasing": 0.5},
    {"mixup_alpha": 0.3},
    {"cutmix_alpha": 1.0},
    {"ricap_beta": 0.3},
    {"cutmix_alpha": 1.0, "mix_probability": 0.5},
    {"mixup_alpha": 0.3, "mix_strength": "growing"},
    {"first_image_size": 4},
    {"resized_crop": 0.3},
    {"jitter_brightness": 0.4, "jitter_contrast": 0.4, "jitter_saturation": 0.4, "jitter_hue": 0.1},
    {"keep_last_batch": True},
    {"conv_init": "torch", "head_init": "torch"},
    *({"policy": name} for name in ("randaugment", "autoaugment", "trivialaugment")),
    {"keep_weights": "best", "schedule": "cosine"},
]


class Generator(torch.Generator):
    """A generator that says it is the GPU's."""

    device = GPU  # type: ignore[assignment]

    def __new__(cls, device: object = None) -> Generator:
        return super().__new__(cls)


def _to(module: nn.Module, *place: Any, **layout: Any) -> nn.Module:
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, value in store.items():
                if value is not None:
                    moved = value.detach().to(*place, **(layout if value.dim() == 4 else {}))
                    store[name] = nn.Parameter(moved) if store is part._parameters else moved
    return module


class Sent(TorchDispatchMode):
    """Where the program lets a tensor go from one device to another, as file names."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {value.device for value in args if isinstance(value, Tensor)}
        if isinstance(result, Tensor) and given and given != {result.device}:
            frames = [frame.filename for frame in traceback.extract_stack() if "site-packages" not in frame.filename]
            self.places.append(Path(frames[-2]).name)
        return result


@contextlib.contextmanager
def followed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """Fake tensors on a GPU; a backward pass gives gradients to the parameters of the networks in the list."""
    networks: list[nn.Module] = []

    def backward(loss: Tensor) -> None:
        assert loss.requires_grad
        for parameter in (parameter for network in networks for parameter in network.parameters()):
            parameter.grad = torch.empty_like(parameter)

    for policy in ("randaugment", "autoaugment", "trivialaugment"):
        magnitudes(policy, *SHAPE[:2])  # cached, and made by the host
    plain = torch.optim.SGD
    with monkeypatch.context() as patch, FakeTensorMode() as mode:
        patch.setattr(mode, "__deepcopy__", lambda memo: mode, raising=False)  # a copied tensor stays in its mode
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(nn.Module, "to", _to)
        patch.setattr(Tensor, "backward", backward)
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(
            torch, "from_numpy", lambda array: torch.empty(array.shape, dtype=getattr(torch, str(array.dtype)))
        )
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr("torch.cuda.is_bf16_supported", lambda *given: True)
        patch.setattr(torch.optim, "SGD", lambda *given, fused=None, **others: plain(*given, **others))
        yield networks


def steps(networks: list[nn.Module], changes: dict[str, Any], layout: ResNetLayout = LAYOUT) -> Trainer:
    """A trainer after two of its steps, which came to sums on the GPU."""
    trainer = Trainer(layout, small_recipe(**changes), small_set(64, 8, SHAPE), GPU, epochs=3)
    networks.append(trainer.network)
    assert (trainer.images.device, len(trainer.images)) == (GPU, 72)  # one image is in neither split
    follow_arithmetic(trainer)
    draw, host_draw = torch.Generator(GPU).manual_seed(0), np.random.default_rng(0)
    trainer.network.train()
    for step in range(2):
        order = torch.randperm(len(trainer.train_indices), generator=draw, device=GPU)
        with Sent() as sent:
            trainer.update.prepare(step)
            totals = trainer._train_step(step, trainer.train_indices[order[:16]], draw, host_draw)
        assert (totals.device, totals.shape) == (GPU, (2,))
        # a copy from memory that is not pinned waits too: all there is are the draws of operations, from pinned memory
        operations = trainer.recipe.policy != "none" or trainer.recipe.jitter_hue > 0
        assert sent.places == ["operations.py"] * (2 if operations else 0)
    return trainer


def follow_arithmetic(trainer: Trainer) -> None:
    """Fails a step whose convolutions are not in the recipe's precision and layout, or whose logits not in float32."""

    def of_convolution(module: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        assert output.dtype == trainer.precision
        if trainer.precision == torch.float32:
            assert given[0].is_contiguous(memory_format=torch.channels_last)
            assert output.is_contiguous(memory_format=torch.channels_last)

    def of_head(module: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        assert (given[0].dtype, output.dtype) == (torch.float32, torch.float32)

    for module in trainer.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(of_convolution)
    trainer.network.head.register_forward_hook(of_head)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # by copy.deepcopy, of averaged weights
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("changes", OPTIONS, ids=lambda changes: " ".join(map(str, changes.values())) or "plain")
def test_every_option_keeps_to_its_device_and_waits_for_nothing(
    changes: dict[str, Any], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with followed(monkeypatch) as networks:
        trainer = steps(networks, changes | {"precision": precision})
        devices = {value.device for value in trainer.network.state_dict().values()}
        devices |= {
            value.device
            for state in trainer.optimizer.state.values()
            for name, value in state.items()
            if isinstance(value, Tensor) and name != "step"  # which torch keeps where its kernel wants it
        }
        assert devices == {GPU}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("block", ["basic", "preactivation", "bottleneck"])
def test_every_kind_of_block_does(block: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ResNetLayout((1, 1), (16, 32), block=block, groups=2, squeeze=4, activation="silu", classes=4)
    with followed(monkeypatch) as networks:
        trainer = steps(networks, {"stochastic_depth": 0.2, "dropout": 0.2, "precision": precision}, layout)
        assert {value.device for value in trainer.network.state_dict().values()} == {GPU}


@pytest.mark.parametrize("flip", [False, True])
def test_an_evaluation_reads_one_value_back_when_all_is_queued(flip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with followed(monkeypatch) as networks:
        trainer = steps(networks, {})
        place = (trainer.images, trainer.labels, trainer.val_indices, trainer.mean, trainer.std, trainer.precision)
        with pytest.raises(DataDependentOutputException) as waited:
            answers(trainer.network, *place, flip)
        assert [entry.name for entry in waited.traceback if entry.path.name == "evaluation.py"] == ["answers"]
        assert "total.item()" in str(next(e for e in waited.traceback if e.path.name == "evaluation.py").statement)


def test_a_tensor_that_is_elsewhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with followed(monkeypatch) as networks:
        trainer = steps(networks, {})
        trainer.mean = trainer.mean.cpu()
        with pytest.raises(FakeTensorDeviceMismatchError):
            trainer._train_step(2, trainer.train_indices[:16], torch.Generator(GPU), np.random.default_rng(0))


def test_a_wait_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with followed(monkeypatch) as networks:
        trainer = steps(networks, {})
        trainer.update.take = lambda step, loss, again: loss.item()  # type: ignore[method-assign, assignment]
        with pytest.raises(DataDependentOutputException):
            trainer._train_step(2, trainer.train_indices[:16], torch.Generator(GPU), np.random.default_rng(0))
