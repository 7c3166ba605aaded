"""Images that do not fit a GPU: they stay on the host, come a batch ahead, and train to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from results import RunState
from search.config import compose
from search.gpus import Gpu, Gpus
from search.planning.preparation import prepare
from tests.support.training_fixtures import (
    AUGMENTED,
    CPU,
    LAYOUT,
    assert_same_bits,
    small_recipe,
    small_set,
    small_trainer,
    state_of,
    timeless,
    trained,
)
from trainables.host_images import HostImages
from trainables.process_settings import room_for_images
from trainables.training import Trainer

IMAGES = torch.arange(10 * 2 * 2 * 3, dtype=torch.uint8).view(10, 2, 2, 3)


@pytest.mark.parametrize(
    "options",
    [{}, AUGMENTED, {"flip": True, "flip_order": "alternating"}, {"keep_last_batch": True, "crop_padding": 2}],
)
def test_a_training_with_its_images_on_the_host_has_the_same_bits(options: dict[str, Any]) -> None:
    data, recipe = small_set(), small_recipe(**options)
    every = data.images[data.used].nbytes
    here, there, limit = (small_trainer(recipe, data, room=room) for room in (None, every - 1, every))
    assert [isinstance(trainer.images, HostImages) for trainer in (here, there, limit)] == [False, True, False]
    assert [timeless(report) for report in trained(here)] == [timeless(report) for report in trained(there)]
    assert_same_bits(state_of(here), state_of(there))


def test_each_batch_is_gathered_while_the_one_before_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[list[int]] = []
    plain = HostImages._gathered

    def seen(self: HostImages, index: torch.Tensor) -> torch.Tensor:
        gathered.append(index.tolist())
        return plain(self, index)

    monkeypatch.setattr(HostImages, "_gathered", seen)
    images, order = HostImages(IMAGES, CPU), torch.tensor([7, 1, 4, 0, 9])
    images.begin(order.split(2))
    for number, index in enumerate(order.split(2), start=1):
        assert len(gathered) == number  # the batch is there when it is asked for
        assert torch.equal(images[index], IMAGES[index])
    assert gathered == [[7, 1], [4, 0], [9]]
    assert torch.equal(images[torch.tensor([3])], IMAGES[3:4])  # after the announced ones, any


def test_an_epoch_that_was_broken_off_does_not_spoil_the_next() -> None:
    images = HostImages(IMAGES, CPU)
    images.begin(torch.arange(10).split(2))
    images.begin([torch.tensor([5, 6])])
    assert torch.equal(images[torch.tensor([5, 6])], IMAGES[5:7])
    assert torch.equal(images[torch.tensor([1])], IMAGES[1:2])


def test_a_search_says_when_its_images_stay_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opening(memory: int, **given: Any) -> list[str]:
        found = Gpus(usable=(Gpu("small", memory, memory, 10, bfloat16=True),), present=1)
        for module in ("resources", "preparation"):
            monkeypatch.setattr(f"search.planning.{module}.gpus", lambda: found)
        config = compose(None, None, {"dataset": "cifar10", "gpus_per_trial": 1, "concurrency": 1, **given}, [])
        return prepare(config, tmp_path / "new", RunState(), tmp_path, None, say=lambda _: None).opening

    note = (
        "note: 50,000 images are 146 MiB, more than 127 MiB, a third of a trial's share of the GPU; they stay on the "
        "host, and each batch is copied while the one before is trained"
    )
    assert opening(400_000_000)[-1] == note
    assert note not in opening(470_000_000)  # 153.6 MB are a third of 460.8 MB
    assert note not in opening(400_000_000, train_images=1_000)
    assert room_for_images(400_000_000, 0.5) == 66_666_666


@pytest.mark.gpu
def test_a_gpu_that_copies_batches_one_ahead_trains_as_one_that_has_all_images() -> None:
    recipe, device = small_recipe(**AUGMENTED), torch.device("cuda")
    reports = [Trainer(LAYOUT, recipe, small_set(), device, epochs=2, room=room) for room in (None, 0)]
    losses = [[report.train_loss for report in trained(trainer)] for trainer in reports]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
