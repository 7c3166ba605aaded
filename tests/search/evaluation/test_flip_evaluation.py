"""Test-time augmentation by mirror images: what it computes, and that it is named wherever its result is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import hflip

from results import read_record, read_run
from results.record.events import decode_event
from search.evaluation.measure import measure
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from tests.support.trained_run import UNSTEADY, evaluated, write_trained_run
from tests.support.training_fixtures import small_set, small_trainer
from trainables.evaluation import answers


def test_the_logits_are_the_mean_over_an_image_and_its_mirror_image() -> None:
    data = small_set(train=1100)
    trainer = small_trainer(data=data)
    trainer.train_epoch()
    network = trainer.network.eval()
    images = torch.from_numpy(data.images[data.train_indices]).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    y = torch.from_numpy(data.labels[data.train_indices])
    with torch.inference_mode():
        both = [network((view / 255 - mean) / std) for view in (images, hflip(images))]
    logits = (both[0] + both[1]) / 2
    indices = torch.from_numpy(data.train_indices)  # more than one batch
    arguments = (trainer.images, trainer.labels, indices, trainer.mean, trainer.std, torch.float32)
    given = answers(network, *arguments, flip=True)
    assert given.accuracy == pytest.approx(float((logits.argmax(1) == y).float().mean()), abs=1e-3)
    assert given.loss == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-4)
    assert answers(network, *arguments).loss == pytest.approx(float(F.cross_entropy(both[0], y)), rel=1e-4)


def test_mirrored_images_are_judged_alike() -> None:
    data = small_set()
    trainer = small_trainer(data=data)
    mirrored = replace(data, images=data.images[:, :, ::-1].copy())
    losses = [
        answers(
            trainer.network,
            torch.from_numpy(one.images),
            trainer.labels,
            trainer.val_indices,
            trainer.mean,
            trainer.std,
            torch.float32,
            flip=True,
        ).loss
        for one in (data, mirrored)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_it_is_recorded_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a"
    write_trained_run(folder, *UNSTEADY)
    code, shown, _ = evaluated(capsys, folder, "--flip")
    assert code == 0
    assert "] with flip test-time augmentation, with the weights of epoch" in shown
    trial = read_record(folder).trials[0]
    assert trial.test_flip is True
    data = read_config(folder).data_arguments
    again = measure(checkpoint_path(folder, 0), 0, data, flip=True)
    assert (again.test_accuracy, again.test_loss) == (trial.test_accuracy, trial.test_loss)
    assert measure(checkpoint_path(folder, 0), 0, data).test_loss != trial.test_loss
    (row,) = read_run(folder).trials.to_pylist()
    assert row["test_flip"] is True
    assert evaluated(capsys, folder) == evaluated(capsys, folder, "--flip") == (0, shown, "")  # from the record


def test_a_trial_is_measured_once_in_one_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a"
    write_trained_run(folder, *UNSTEADY)
    assert "flip" not in evaluated(capsys, folder)[1]
    assert read_record(folder).trials[0].test_flip is False
    code, _, stderr = evaluated(capsys, folder, "--flip")
    assert code == 2
    assert "--flip given, but the trial was already measured without it" in stderr
    code, _, stderr = evaluated(capsys, folder, "--flip", "--predict", tmp_path)
    assert code == 2
    assert "--flip is for the test set" in stderr


def test_a_measurement_from_before_there_was_a_flip_was_without() -> None:
    line = b'{"event":"evaluated","trial":7,"epoch":9,"test_accuracy":0.698,"test_loss":0.88,"time_s":1.0}'
    assert decode_event(line)["flip"] is False
