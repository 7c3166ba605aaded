"""The steps of a training with each option of the optimizer, against loops written out over the same batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo import build
from tests.support.training_fixtures import CPU, LAYOUT, plain_batches, small_recipe, small_trainer, trained
from trainables.optimization.optimizers import make_optimizer
from trainables.schedule import learning_rate
from trainables.training import Trainer

Loss = Callable[[], Tensor]
Rule = Callable[[nn.Module, Loss, int, float], None]
"""Takes one step, given the network, what computes the batch's loss, the step's number and its learning rate."""


def finished(**options: Any) -> Trainer:
    trainer = small_trainer(small_recipe(optimizer="sgd", momentum=0, weight_decay=0.02, **options), epochs=2)
    trained(trainer)
    return trainer


def written_out(trainer: Trainer, rule: Rule) -> nn.Module:
    """The network after `rule`, which is the optimizer, took every step of `trainer`."""
    recipe, network = trainer.recipe, build(LAYOUT, trainer.seed).train()
    for step, x, y in plain_batches(trainer.epochs, trainer.seed):

        def loss(x: Tensor = x, y: Tensor = y) -> Tensor:
            return F.cross_entropy(network(x), y, label_smoothing=recipe.label_smoothing)

        network.zero_grad()
        rule(network, loss, step, learning_rate(recipe, step, 4, (trainer.epochs,)))
    return network


def descend(network: nn.Module, rate: float, decay: float, scale: float = 1.0) -> None:
    """w -= rate * (scale * g + decay * w)."""
    with torch.no_grad():
        for param in network.parameters():
            assert param.grad is not None
            param -= rate * (scale * param.grad + decay * param)


def assert_close(found: nn.Module, expected: nn.Module, without: nn.Module) -> None:
    """Fails unless `found` is `expected` up to rounding and is not what comes out without the option."""
    away = 0.0
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
        away = max(away, float((value - without.state_dict()[name]).abs().max()))
    assert away > 2e-3


@pytest.fixture(scope="module")
def without() -> nn.Module:
    return finished().network


def test_the_loop_without_options_is_the_training_without_them(without: nn.Module) -> None:
    def rule(network: nn.Module, loss: Loss, step: int, rate: float) -> None:
        loss().backward()
        descend(network, rate, 0.02)

    expected = written_out(finished(), rule)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(without.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_without_decay_of_norms_the_weights_of_layers_decay_alone(without: nn.Module) -> None:
    def rule(network: nn.Module, loss: Loss, step: int, rate: float) -> None:
        loss().backward()
        with torch.no_grad():
            for param in network.parameters():
                assert param.grad is not None
                param -= rate * (param.grad + (0.02 * param if param.dim() > 1 else 0))

    trainer = finished(decay_norms=False)
    assert_close(trainer.network, written_out(trainer, rule), without)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw", "adadelta", "muon"])
def test_no_optimizer_decays_norms_and_biases_unless_asked_to(optimizer: str) -> None:
    network = build(LAYOUT)
    for decay_norms in (False, True):
        recipe = small_recipe(optimizer=optimizer, weight_decay=0.1, learning_rate=0.1, decay_norms=decay_norms)
        changed = copy.deepcopy(network)
        with torch.no_grad():
            changed.head.bias += 1  # which starts at zero
        made = make_optimizer(changed.parameters(), recipe, CPU)
        before = {name: param.detach().clone() for name, param in changed.named_parameters()}
        for param in changed.parameters():
            param.grad = torch.zeros_like(param)
        made.step()
        still = {name for name, param in changed.named_parameters() if torch.equal(param, before[name])}
        zero = {name for name, param in before.items() if not param.any()}
        vectors = {name for name, param in before.items() if param.dim() == 1}
        assert still == (zero if decay_norms else vectors)


def test_the_gradient_of_all_parameters_together_is_clipped(without: nn.Module) -> None:
    norms = []

    def rule(network: nn.Module, loss: Loss, step: int, rate: float) -> None:
        loss().backward()
        gradients = [param.grad.flatten() for param in network.parameters() if param.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        descend(network, rate, 0.02, min(1.0, 0.2 / norms[-1]))

    trainer = finished(gradient_clipping=0.2)
    assert_close(trainer.network, written_out(trainer, rule), without)
    assert max(norms) > 0.2


@pytest.mark.parametrize(("steps", "followed"), [(1, range(8)), (3, (2, 3, 6, 7)), (4, (3, 7)), (9, (3, 7))])
def test_lookahead_comes_back_every_few_steps_and_at_an_epochs_end(steps: int, followed: Any, without: Any) -> None:
    slow: list[Tensor] = []

    def rule(network: nn.Module, loss: Loss, step: int, rate: float) -> None:
        if not slow:
            slow.extend(param.detach().clone() for param in network.parameters())
        loss().backward()
        descend(network, rate, 0.02)
        if step in followed:
            with torch.no_grad():
                for i, param in enumerate(network.parameters()):
                    slow[i] = slow[i] + 0.3 * (param - slow[i])
                    param.copy_(slow[i])

    trainer = finished(lookahead_steps=steps, lookahead_share=0.3)
    assert_close(trainer.network, written_out(trainer, rule), without)


def test_sam_descends_by_the_gradient_up_the_slope(without: nn.Module) -> None:
    def rule(network: nn.Module, loss: Loss, step: int, rate: float) -> None:
        loss().backward()
        here = [param.detach().clone() for param in network.parameters()]
        statistics = {name: value.clone() for name, value in network.named_buffers()}
        gradients = [param.grad.clone() for param in network.parameters() if param.grad is not None]
        norm = sum(float((gradient**2).sum()) for gradient in gradients) ** 0.5
        network.zero_grad()
        with torch.no_grad():
            for param, gradient in zip(network.parameters(), gradients, strict=True):
                param += 0.2 * gradient / norm
        loss().backward()
        with torch.no_grad():
            for param, value in zip(network.parameters(), here, strict=True):
                param.copy_(value)
            for name, value in network.named_buffers():
                value.copy_(statistics[name])
        descend(network, rate, 0.02)

    trainer = finished(sam_radius=0.2)
    assert_close(trainer.network, written_out(trainer, rule), without)
    assert trainer.network.stem.norm.num_batches_tracked == 8


def test_the_average_forgets_faster_early_on_and_is_what_is_validated(without: nn.Module) -> None:
    average: dict[str, Tensor] = {}

    def rule(network: nn.Module, loss: Loss, step: int, rate: float) -> None:
        loss().backward()
        descend(network, rate, 0.02)
        for name, value in network.state_dict().items():
            kept = min(0.35, (1 + step) / (10 + step)) if step else 0.0
            if value.is_floating_point() and step:
                average[name] = average[name] * kept + value * (1 - kept)
            else:
                average[name] = value.clone()

    trainer = finished(ema_decay=0.35)
    network = written_out(trainer, rule)
    for name, value in without.state_dict().items():  # the training itself does not know of the average
        assert torch.equal(trainer.network.state_dict()[name], value), name
    network.load_state_dict(average)
    assert_close(trainer.update.result, network, without)
    recipes = [trainer.recipe.model_copy(update={"ema_decay": decay}) for decay in (0.0, 0.35)]
    reports = [trained(small_trainer(recipe, epochs=2))[-1] for recipe in recipes]
    assert reports[0].train_loss == reports[1].train_loss
    assert reports[0].val_loss != reports[1].val_loss
