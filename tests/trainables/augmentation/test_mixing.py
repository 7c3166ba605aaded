"""Mixup, cutmix and RICAP: the same shares and partners give torchvision's or the paper's images and soft labels."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from torch import Tensor
from torchvision.transforms import v2

from tests.support.training_fixtures import small_recipe, small_set, small_trainer, trained
from trainables.augmentation.batch import normalise
from trainables.augmentation.mixing import (
    Labels,
    Mix,
    Patches,
    draw_mix,
    draw_partners,
    mix_images,
    mix_of_box,
    mixed_batch,
    mixing_strength,
    patch_images,
)
from trainables.schedule import progress
from trainables.training import epoch_seed

CLASSES = 4
PAIRS: list[dict[str, Any]] = [{"mixup_alpha": 0.5}, {"cutmix_alpha": 1.0}]
MIXES = [*PAIRS, {"ricap_beta": 0.5}]
KS_LIMIT = 1.95  # 0.999 quantile of the Kolmogorov-Smirnov statistic times the square root of the sample


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def batch(device: torch.device, size: tuple[int, int] = (9, 12), count: int = 16) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W), channels-last, and classes (N,)."""
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(count, *size, 3, generator=draw).permute(0, 3, 1, 2)
    return x.to(device), torch.randint(0, CLASSES, (count,), generator=draw).to(device)


def torchvisions(mix: Mix, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Images and soft labels (N, K) as torchvision mixes each with the one before it."""
    if mix.box is None:
        transform, params = v2.MixUp(num_classes=CLASSES), {"lam": mix.share}
    else:
        top, left, bottom, right = mix.box
        params = {"box": (left, top, right, bottom), "lam_adjusted": mix.share}
        transform = v2.CutMix(num_classes=CLASSES)
    params |= {"labels": y, "batch_size": len(y)}
    return transform.transform(x, params), transform.transform(y, params)


def before(y: Tensor) -> Tensor:
    """Torchvision's partners: the image before, and the last one for the first."""
    return torch.arange(len(y), device=y.device).roll(1)


@pytest.mark.parametrize("mix", [Mix(0.0, None), Mix(0.3, None), Mix(1.0, None), mix_of_box(0.4, 3, 10, 9, 12)])
def test_images_and_labels_are_mixed_as_torchvision_mixes_them(mix: Mix, device: torch.device) -> None:
    x, y = batch(device)
    unmixed, partners = x.clone(), before(y)
    images, targets = torchvisions(mix, x, y)
    found = mix_images(x, partners, mix)
    torch.testing.assert_close(found, images)
    assert torch.equal(x, unmixed)
    assert found.stride() == x.stride()
    logits = torch.randn(len(y), CLASSES, device=device)
    labels = Labels(((y, mix.share), (y[partners], 1 - mix.share)))
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        torch.testing.assert_close(labels.loss(logits, smoothing), expected)
    named = targets[torch.arange(len(y), device=device), logits.argmax(1)]
    torch.testing.assert_close(labels.correct(logits), named.sum())


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), alpha=st.floats(0.1, 5), height=st.integers(1, 40), width=st.integers(1, 40))
def test_boxes_and_their_shares_are_torchvisions(seed: int, alpha: float, height: int, width: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        params = v2.CutMix(alpha=alpha, num_classes=CLASSES).make_params([torch.zeros(1, 3, height, width)])
        torch.manual_seed(seed)  # and the same draws once more
        kept = float(torch.distributions.Beta(torch.tensor([alpha]), torch.tensor([alpha])).sample(()))
        column, row = int(torch.randint(width, (1,))), int(torch.randint(height, (1,)))
    left, top, right, bottom = params["box"]
    assert mix_of_box(kept, row, column, height, width) == Mix(params["lam_adjusted"], (top, left, bottom, right))


@pytest.mark.parametrize("mix", [Mix(0.3, None), mix_of_box(0.4, 3, 10, 9, 12)])
def test_mixing_reads_nothing_back(mix: Mix) -> None:
    meta = torch.device("meta")  # whose tensors have no numbers: to ask for one raises
    x, y = batch(meta)
    assert mix_images(x, before(y), mix).shape == x.shape
    labels = Labels(((y, mix.share), (y[before(y)], 1 - mix.share)))
    logits = torch.empty(len(y), CLASSES, device=meta)
    assert labels.loss(logits, 0.1).shape == labels.correct(logits).shape == ()


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), kept=st.floats(0, 1), data=st.data())
def test_the_share_is_that_of_the_pixels_an_image_keeps(
    height: int, width: int, kept: float, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mix = mix_of_box(kept, row, column, height, width)
    x = torch.arange(2.0)[:, None, None, None].expand(2, 1, height, width).clone()
    mixed = mix_images(x, torch.tensor([1, 0]), mix)
    assert float((mixed[0] == 0).double().mean()) == pytest.approx(mix.share)
    assert 0 <= mix.share <= 1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixing_shares_are_beta_distributed(alpha: float) -> None:
    draw, count = np.random.default_rng(8), 4000
    recipe = small_recipe(mixup_alpha=alpha)
    mixes = [draw_mix(recipe, 8, 10, draw) for _ in range(count)]
    shares = np.sort([mix.share for mix in mixes if mix is not None])
    assert len(shares) == count
    expected, steps = beta.cdf(shares, alpha, alpha), np.arange(count + 1) / count
    distance = max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    assert distance * math.sqrt(count) < KS_LIMIT


def test_boxes_keep_beta_distributed_shares_around_pixels_anywhere() -> None:
    draw, size, count = np.random.default_rng(8), 1000, 4000
    mixes = [draw_mix(small_recipe(cutmix_alpha=1.0), size, size, draw) for _ in range(count)]
    boxes = np.array([mix.box for mix in mixes if mix is not None])
    inside = boxes[(boxes[:, :2] > 0).all(1) & (boxes[:, 2:] < size).all(1)]
    sides = inside[:, 2:] - inside[:, :2]
    assert (sides[:, 0] == sides[:, 1]).all()
    # A box of side s lies inside for a share (1 - s)^2 of its pixels, and s^2 is uniform: density 2s (1 - s)^2.
    side = np.sort(sides[:, 0]) / size
    expected = 6 * side**2 - 8 * side**3 + 3 * side**4
    steps = np.arange(len(side) + 1) / len(side)
    distance = max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    assert distance * math.sqrt(len(side)) < KS_LIMIT
    middles = (inside[:, :2] + inside[:, 2:]) / 2
    assert np.abs(middles.mean(0) / size - 0.5).max() < 3.3 * 0.5 / math.sqrt(len(side))


def test_a_recipe_without_mixing_draws_nothing_and_changes_nothing(device: torch.device) -> None:
    x, y = batch(device)
    draw, host_draw = torch.Generator(device).manual_seed(1), np.random.default_rng(1)
    state, host_state = draw.get_state(), host_draw.bit_generator.state
    found, labels = mixed_batch(x, y, small_recipe(), draw, host_draw)
    assert found is x
    assert labels.shown == ((y, 1.0),)
    assert labels.shown[0][0] is y
    assert torch.equal(draw.get_state(), state)
    assert host_draw.bit_generator.state == host_state


@pytest.mark.parametrize("options", MIXES)
def test_a_share_of_the_batches_is_mixed_and_the_others_are_left_as_they_are(options: dict[str, Any]) -> None:
    count, probability = 4000, 0.3
    draw = np.random.default_rng(1)
    recipe = small_recipe(**options, mix_probability=probability)
    mixed = [draw_mix(recipe, 8, 10, draw) is not None for _ in range(count)]
    deviation = math.sqrt(probability * (1 - probability) / count)
    assert sum(mixed) / count == pytest.approx(probability, abs=3.3 * deviation)
    follows = sum(a and b for a, b in itertools.pairwise(mixed)) / count
    assert follows == pytest.approx(probability**2, abs=3.3 * 2 * deviation)
    x, y = batch(torch.device("cpu"))
    left = [mixed_batch(x, y, recipe, torch.Generator(), np.random.default_rng(seed)) for seed in range(20)]
    assert {found is x for found, _ in left} == {True, False}
    assert all((found is x) == (len(labels.shown) == 1) for found, labels in left)


@pytest.mark.parametrize("options", MIXES)
def test_with_every_batch_mixed_the_draws_are_those_from_before_there_was_a_share(options: dict[str, Any]) -> None:
    draw, first = np.random.default_rng(8), np.random.default_rng(8)
    draw_mix(small_recipe(**options), 8, 10, draw)
    name, alpha = next(iter(options.items()))
    shares = [first.beta(alpha, alpha) for _ in range(2 if name == "ricap_beta" else 1)]
    for side in () if name == "mixup_alpha" else (8, 10) if name == "cutmix_alpha" else ():
        first.integers(side)
    if name == "ricap_beta":
        row, column = (round(side * share) for side, share in zip((8, 10), shares, strict=True))
        for tall, wide in ((row, column), (row, 10 - column), (8 - row, column), (8 - row, 10 - column)):
            first.integers(8 - tall + 1), first.integers(10 - wide + 1)
    assert draw.bit_generator.state == first.bit_generator.state


@pytest.mark.parametrize("options", PAIRS)
def test_a_batch_is_mixed_by_the_draws_of_its_two_generators(options: dict[str, Any], device: torch.device) -> None:
    x, y = batch(device)
    recipe = small_recipe(**options)

    def generators() -> tuple[torch.Generator, np.random.Generator]:
        return torch.Generator(device).manual_seed(3), np.random.default_rng(3)

    found, labels = mixed_batch(x, y, recipe, *generators())
    draw, host_draw = generators()
    mix, partners = draw_mix(recipe, 9, 12, host_draw), draw_partners(len(y), draw)
    assert isinstance(mix, Mix)
    assert (mix.box is None) == ("mixup_alpha" in options)
    assert torch.equal(found, mix_images(x, partners, mix))
    (own, share), (other, rest) = labels.shown
    assert own is y
    assert torch.equal(other, y[partners])
    assert (share, rest) == (mix.share, 1 - mix.share)
    again, _ = mixed_batch(x, y, recipe, *generators())
    assert torch.equal(found, again)
    following, _ = mixed_batch(x, y, recipe, draw, host_draw)
    assert not torch.equal(found, following)


def test_the_strength_grows_and_fades_linearly_over_the_training_and_between_rungs() -> None:
    growing, fading, annealed = (
        [
            mixing_strength(recipe, progress(recipe, step, 2, (1, 3)))
            for recipe in [small_recipe(mixup_alpha=1.0, mix_strength=name, schedule=schedule)]
            for step in range(6)
        ]
        for name, schedule in (("growing", "linear"), ("fading", "linear"), ("growing", "rung-annealed"))
    )
    assert growing == pytest.approx([1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12])
    assert fading == pytest.approx(growing[::-1])
    assert annealed == pytest.approx([1 / 4, 3 / 4, 1 / 8, 3 / 8, 5 / 8, 7 / 8])
    assert mixing_strength(small_recipe(mixup_alpha=1.0), 0.3) == 1.0


@pytest.mark.parametrize("options", MIXES)
def test_at_full_strength_the_mix_is_the_usual_one_and_the_draws_are_always_the_same(options: dict[str, Any]) -> None:
    recipe = small_recipe(**options)
    for seed in range(200):
        usual, full, weak = (np.random.default_rng(seed) for _ in range(3))
        assert draw_mix(recipe, 8, 10, usual) == draw_mix(recipe, 8, 10, full, 1.0)
        draw_mix(recipe, 8, 10, weak, 0.3)
        if "ricap_beta" not in options:  # whose crops have more or less room
            assert usual.bit_generator.state == weak.bit_generator.state


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_expected_smaller_weight_of_mixup_is_proportional_to_the_strength(alpha: float, strength: float) -> None:
    draw, recipe, count = np.random.default_rng(3), small_recipe(mixup_alpha=alpha), 4000
    drawn = [draw_mix(recipe, 8, 10, draw, strength) for _ in range(count)]
    smaller = np.array([min(mix.share, 1 - mix.share) for mix in drawn if isinstance(mix, Mix)])
    assert len(smaller) == count
    # the mean of min(b, 1 - b) for b from Beta(a, a): half of it lies below 1/2
    mean = 2 * beta.expect(lambda b: b, (alpha, alpha), ub=0.5)
    assert smaller.mean() == pytest.approx(strength * mean, abs=4 * float(smaller.std()) / math.sqrt(count))
    assert smaller.max() <= strength / 2
    sides = np.mean([mix.share < 0.5 for mix in drawn if isinstance(mix, Mix)])
    assert sides == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(count))  # either image may be the weaker one


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5])
def test_the_box_of_cutmix_has_the_strengths_part_of_its_area(strength: float) -> None:
    size, recipe = 1000, small_recipe(cutmix_alpha=1.0)
    for seed in range(100):
        whole, part = (draw_mix(recipe, size, size, np.random.default_rng(seed), s) for s in (1.0, strength))
        assert isinstance(whole, Mix)
        assert isinstance(part, Mix)
        assert part.box is not None
        again = np.random.default_rng(seed)
        area, row, column = (1 - again.beta(1.0, 1.0)) * strength, again.integers(size), again.integers(size)
        half = math.sqrt(area) * size / 2
        top, left, bottom, right = part.box
        assert (top, left) == (max(0, row - int(half)), max(0, column - int(half)))
        assert (bottom, right) == (min(size, row + int(half)), min(size, column + int(half)))
        assert 1 - part.share <= 1 - whole.share
        assert strength or part.share == 1.0


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_the_boundary_of_ricap_is_the_strengths_part_of_its_distance_from_an_edge(strength: float) -> None:
    size, recipe = 1000, small_recipe(ricap_beta=0.5)
    for seed in range(100):
        mix, again = draw_mix(recipe, size, size, np.random.default_rng(seed), strength), np.random.default_rng(seed)
        assert isinstance(mix, Patches)
        for place in mix.boxes[0][2:]:
            drawn = again.beta(0.5, 0.5)
            expected = strength * drawn if drawn < 0.5 else 1 - strength * (1 - drawn)
            assert place == pytest.approx(size * expected, abs=0.51)
        assert strength or sorted(mix.shares) == [0, 0, 0, 1]


def test_a_training_mixes_its_first_batch_weakly_and_its_last_strongly_or_the_other_way_round() -> None:
    """The batches of a training with mixup are what `mixed_batch` makes at the strengths of their steps."""
    for name, strengths in (("growing", [1 / 8, 3 / 8, 5 / 8, 7 / 8]), ("fading", [7 / 8, 5 / 8, 3 / 8, 1 / 8])):
        recipe = small_recipe(mixup_alpha=1.0, mix_strength=name, schedule="linear")
        trainer, data, seen = small_trainer(recipe, epochs=1), small_set(), []
        trainer.network.register_forward_pre_hook(
            lambda network, inputs, seen=seen: seen.append(inputs[0].clone()) if network.training else None
        )
        trainer.train_epoch()
        seed = epoch_seed(trainer.seed, 0)
        draw, host_draw = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        order = torch.from_numpy(data.train_indices)[torch.randperm(70, generator=draw)]
        for i, strength in enumerate(strengths):
            index = order[i * 16 : (i + 1) * 16]
            x = normalise(trainer.images[index], trainer.mean, trainer.std)
            expected, _ = mixed_batch(x, trainer.labels[index], recipe, draw, host_draw, strength)
            assert torch.equal(seen[i], expected)


def papers_patches(x: Tensor, partners: list[Tensor], row: int, column: int, corners: Any) -> Tensor:
    """The patched images as the listing in RICAP's paper makes them: four crops, concatenated."""
    height, width = x.shape[2:]
    crops = []
    for k, index in enumerate([torch.arange(len(x), device=x.device), *partners]):
        tall, wide = (row if k < 2 else height - row), (width - column if k % 2 else column)
        top, left = corners[k]
        crops.append(x[index][:, :, top : top + tall, left : left + wide])
    return torch.cat([torch.cat(crops[:2], 3), torch.cat(crops[2:], 3)], 2)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), beta_=st.floats(0.1, 5), height=st.integers(1, 20), width=st.integers(1, 20))
def test_four_images_meet_in_one_as_in_the_paper(seed: int, beta_: float, height: int, width: int) -> None:
    x, y = batch(torch.device("cpu"), (height, width), 6)
    unmixed, recipe = x.clone(), small_recipe(ricap_beta=beta_)
    found, labels = mixed_batch(x, y, recipe, torch.Generator().manual_seed(seed), np.random.default_rng(seed))
    draw, host_draw = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    # the same draws once more, in their order: row and column of the boundary, then the corners of four crops
    row, column = (int(np.round(side * host_draw.beta(beta_, beta_))) for side in (height, width))
    sides = [(row, column), (row, width - column), (height - row, column), (height - row, width - column)]
    corners = [(host_draw.integers(height - tall + 1), host_draw.integers(width - wide + 1)) for tall, wide in sides]
    partners = [draw_partners(6, draw) for _ in range(3)]
    assert torch.equal(found, papers_patches(x, partners, row, column, corners))
    assert torch.equal(x, unmixed)
    assert found.stride() == x.stride()
    assert sum(share for _, share in labels.shown) == pytest.approx(1)
    targets = torch.zeros(6, CLASSES)
    for index, (tall, wide) in zip([torch.arange(6), *partners], sides, strict=True):
        targets += F.one_hot(y[index], CLASSES) * (tall * wide / (height * width))
    logits = torch.randn(6, CLASSES, generator=draw)
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        torch.testing.assert_close(labels.loss(logits, smoothing), expected)
    torch.testing.assert_close(labels.correct(logits), targets[torch.arange(6), logits.argmax(1)].sum())


@pytest.mark.parametrize("beta_", [0.3, 1.0])
def test_boundaries_are_beta_distributed_both_ways_and_crops_lie_anywhere(beta_: float) -> None:
    draw, size, count = np.random.default_rng(8), 1000, 3000
    drawn = [draw_mix(small_recipe(ricap_beta=beta_), size, size, draw) for _ in range(count)]
    patches = [mix for mix in drawn if isinstance(mix, Patches)]
    assert len(patches) == count
    for axis in (0, 1):
        places = np.bincount([mix.boxes[0][2 + axis] for mix in patches], minlength=size + 1)
        expected = beta.cdf((np.arange(size + 1) + 0.5) / size, beta_, beta_)  # rounded to whole pixels
        assert np.abs(places.cumsum() / count - expected).max() * math.sqrt(count) < KS_LIMIT
    room = np.array([size - (mix.boxes[3][2] - mix.boxes[3][0]) for mix in patches])
    place = np.array([mix.corners[3][0] for mix in patches])
    free = place[room > 100] / room[room > 100]
    assert abs(free.mean() - 0.5) < 3.3 * math.sqrt(1 / 12 / len(free)) + 0.005
    assert free.max() > 0.98


def test_patching_reads_nothing_back() -> None:
    meta = torch.device("meta")
    x, y = batch(meta)
    mix = draw_mix(small_recipe(ricap_beta=0.3), 9, 12, np.random.default_rng(2))
    assert isinstance(mix, Patches)
    assert patch_images(x, [before(y)] * 3, mix).shape == x.shape
    labels = Labels(tuple((y, share) for share in mix.shares))
    assert labels.loss(torch.empty(len(y), CLASSES, device=meta), 0.1).shape == ()


def test_partners_are_a_permutation_drawn_anew(device: torch.device) -> None:
    draw = torch.Generator(device).manual_seed(3)
    first, second = (draw_partners(16, draw) for _ in range(2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(16))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("options", MIXES)
def test_an_epoch_is_trained_on_mixed_images_and_labels(options: dict[str, Any]) -> None:
    recipe = small_recipe(
        batch_size=70, optimizer="sgd", learning_rate=1e-30, schedule="constant", label_smoothing=0.2, **options
    )
    trainer, data = small_trainer(recipe), small_set()
    seed = epoch_seed(trainer.seed, 0)
    draw, host_draw = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    index = data.train_indices[torch.randperm(70, generator=draw).numpy()]
    x = (torch.tensor(data.images[index]) / 255 - torch.tensor(data.mean)) / torch.tensor(data.std)
    y = torch.tensor(data.labels[index])
    x, labels = mixed_batch(x.permute(0, 3, 1, 2), y, recipe, draw, host_draw)
    assert len(labels.shown) > 1
    targets = torch.stack([F.one_hot(classes, CLASSES) * share for classes, share in labels.shown]).sum(0)
    network = small_trainer(recipe).network.train()
    logits = network(x).detach()
    report = trainer.train_epoch()
    assert report.train_loss == pytest.approx(float(F.cross_entropy(logits, targets, label_smoothing=0.2)), rel=1e-4)
    assert report.train_accuracy == pytest.approx(float(targets[torch.arange(70), logits.argmax(1)].mean()), rel=1e-5)
    plain = small_trainer(recipe.model_copy(update=dict.fromkeys(options, 0.0))).train_epoch()
    assert report.train_loss != pytest.approx(plain.train_loss, rel=1e-3)


@pytest.mark.parametrize("options", MIXES)
def test_mixed_images_are_learned_from(options: dict[str, Any]) -> None:
    data = small_set()
    if "ricap_beta" in options:  # a crop moves the bright quadrant, so here the brightness of all tells the class
        bright = data.labels[:, None, None, None] * 60 + data.images // 4
        data = dataclasses.replace(data, images=bright.astype(np.uint8))
    reports = trained(small_trainer(small_recipe(learning_rate=0.05, **options), data, epochs=6))
    assert reports[-1].val_loss < reports[0].val_loss
    assert all(0 <= report.train_accuracy <= 1 for report in reports)
