"""Data sets by name: their facts, their pixels, their statistics, their splits."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.cli import ROOT
from trainables.data import dataset_info, load_training_set
from trainables.data.datasets import DATASETS
from trainables.data.sources import prepare_digits
from trainables.data.stored_arrays import channel_statistics
from trainables.data.test_set import load_test_set
from trainables.errors import DatasetError, TrainablesError


def test_digits_are_as_their_facts_say(tmp_path: Path) -> None:
    info = dataset_info("digits")
    data = load_training_set("digits", tmp_path)
    test = load_test_set("digits", tmp_path)
    channels, height, width = info.image_shape
    assert data.images.shape == (info.train_images, height, width, channels)
    assert test.images.shape == (info.test_images, height, width, channels)
    assert data.classes == test.classes == info.classes == len(set(data.labels.tolist()))
    assert (str(data.images.dtype), str(data.labels.dtype)) == ("uint8", "int64")
    assert data.images.max() == 255
    assert sorted([*data.train_indices, *data.val_indices]) == list(range(info.train_images))


def test_digits_are_the_bilinear_enlargement_that_torch_computes() -> None:
    from sklearn.datasets import load_digits

    raw = prepare_digits()
    small = torch.from_numpy(load_digits().images)[:, None] * (255 / 16)
    large = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)[:, 0].numpy()
    together = np.concatenate([raw.train_images, raw.test_images])[..., 0].astype(np.float64)
    # The split reorders the images: match each with its original by sorting both on their pixels.
    ours = together[np.lexsort(together.reshape(len(together), -1).T)]
    theirs = np.floor(large + 0.5)
    theirs = theirs[np.lexsort(theirs.reshape(len(theirs), -1).T)]
    np.testing.assert_allclose(ours, theirs, atol=0)


def test_mean_and_std_are_those_of_the_whole_training_set(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5_000, 4, 4, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-12)
    data = load_training_set("digits", tmp_path, train_images=100)
    np.testing.assert_allclose(data.mean, (data.images / 255).mean(), rtol=1e-12)
    assert load_test_set("digits", tmp_path).mean == data.mean


def test_fewer_training_images_leave_the_validation_split_alone(tmp_path: Path) -> None:
    full = load_training_set("digits", tmp_path, split_seed=5)
    few = load_training_set("digits", tmp_path, split_seed=5, train_images=200)
    np.testing.assert_array_equal(few.val_indices, full.val_indices)
    assert len(few.train_indices) == 200
    assert set(few.train_indices.tolist()) <= set(full.train_indices.tolist())
    with pytest.raises(DatasetError, match=r"1,295 training images .* choose 1 to 1,294"):
        load_training_set("digits", tmp_path, train_images=1_295)


def test_torch_takes_the_mapped_arrays_without_a_warning_and_writing_stays_private(tmp_path: Path) -> None:
    first = load_training_set("digits", tmp_path)
    tensor = torch.from_numpy(first.images)
    before = int(tensor[0, 8, 8, 0])
    tensor[0, 8, 8, 0] = 255 - before
    assert int(load_training_set("digits", tmp_path).images[0, 8, 8, 0]) == before


def test_unknown_names_are_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(DatasetError, match="did you mean 'cifar10'") as caught:
        dataset_info("CIFAR-10")
    assert all(name in str(caught.value) for name in DATASETS)
    assert isinstance(caught.value, TrainablesError)
    with pytest.raises(DatasetError, match="check the path"):
        dataset_info("no/such/folder")
    with pytest.raises(DatasetError, match="image size 64 does not apply to cifar10"):
        dataset_info("cifar10", image_size=64)


def test_importing_the_facts_does_not_import_the_libraries_that_data_needs() -> None:
    code = "import sys, trainables.data.datasets; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    command = [sys.executable, "-c", code, "torch", "torchvision", "sklearn", "pandas", "PIL"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
