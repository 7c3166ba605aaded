"""A folder of class folders as a data set: layouts, sizes, unreadable files, changes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import dataset_info, load_training_set
from trainables.data.images import decode
from trainables.data.test_set import load_test_set
from trainables.errors import DatasetError


def write_images(folder: Path, counts: dict[str, int], mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> None:
    """Write `counts[name]` plain images into each class folder, all of one class of one brightness."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("L", size, 20 + 60 * label).convert(mode).save(folder / name / f"{i:03}.png")


def test_a_flat_folder_gives_a_stratified_fifth_to_the_test_set(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 20, "dog": 40})
    data = load_training_set(str(tmp_path / "pets"), tmp_path / "cache")
    test = load_test_set(str(tmp_path / "pets"), tmp_path / "cache")
    assert data.images.shape == (48, 32, 32, 3)
    assert test.images.shape == (12, 32, 32, 3)
    assert np.bincount(data.labels).tolist() == [16, 32]
    assert np.bincount(test.labels).tolist() == [4, 8]
    assert data.class_names == ("cat", "dog")
    for part in (data, test):  # a class's brightness tells whether images and labels are still together
        np.testing.assert_array_equal(part.images[:, 0, 0, 0], 20 + 60 * part.labels)


def test_train_and_test_folders_are_used_as_they_are_and_val_is_not_read(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train", {"cat": 20, "dog": 20})
    write_images(tmp_path / "pets" / "test", {"cat": 3, "dog": 4})
    write_images(tmp_path / "pets" / "val", {"cat": 5, "dog": 5})
    messages: list[str] = []
    info = dataset_info(str(tmp_path / "pets"), data_dir=tmp_path / "cache")
    data = load_training_set(str(tmp_path / "pets"), tmp_path / "cache", on_message=messages.append)
    test = load_test_set(info.name, tmp_path / "cache")
    assert (info.train_images, info.test_images, info.classes) == (len(data.labels), len(test.labels), 2) == (40, 7, 2)
    assert info.name == data.name == str((tmp_path / "pets").resolve())
    assert any("val/ is not read" in message for message in messages)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("I;16", 1), ("RGB", 3), ("P", 3), ("RGBA", 3)])
def test_grayscale_stays_grayscale_and_everything_else_is_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    write_images(tmp_path / "pets", {"cat": 6, "dog": 6}, mode)
    data = load_training_set(str(tmp_path / "pets"), tmp_path / "cache", image_size=16)
    info = dataset_info(str(tmp_path / "pets"), 16, tmp_path / "cache")
    assert data.images.shape[1:] == (16, 16, channels)
    assert info.image_shape == (channels, 16, 16)


def test_one_colour_image_makes_the_whole_folder_rgb(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 6, "dog": 6}, "L")
    Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / "pets" / "dog" / "red.png")
    assert load_training_set(str(tmp_path / "pets"), tmp_path / "cache").images.shape[-1] == 3


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (64, 64), (20, 16)])
def test_a_picture_is_resized_by_its_shorter_side_and_cropped_to_the_centre(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    picture.save(tmp_path / "picture.png")
    width, height = (side * 32 // min(size) for side in size)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    top, left = (height - 32) // 2, (width - 32) // 2
    expected = resized[top : top + 32, left : left + 32]
    # One level of 256: the two ways round once at different places.
    np.testing.assert_allclose(decode(tmp_path / "picture.png", (32, 32, 3)).astype(int), expected, atol=1)


def test_sixteen_bit_pixels_without_a_scale_have_that_of_their_type(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 0xABCD, dtype=np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode(tmp_path / "deep.png", (32, 32, 1)), 0xAB)


def test_a_picture_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[:, :16] = 250  # bright on the left; orientation 6 says: turn a quarter clockwise to view
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "sideways.png", exif=exif)
    upright = decode(tmp_path / "sideways.png", (32, 32, 1))[..., 0]
    np.testing.assert_array_equal(upright, np.rot90(pixels, k=-1))


def test_unreadable_files_are_named_counted_and_left_out(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 20, "dog": 20})
    (tmp_path / "pets" / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "pets" / "dog" / "text.jpg").write_text("no picture")
    whole = (tmp_path / "pets" / "dog" / "000.png").read_bytes()
    (tmp_path / "pets" / "dog" / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("not even by name a picture")
    messages: list[str] = []
    data = load_training_set(str(tmp_path / "pets"), tmp_path / "cache", on_message=messages.append)
    test = load_test_set(str(tmp_path / "pets"), tmp_path / "cache")
    (left_out,) = (message for message in messages if "3 of 43 files left out" in message)
    assert "passed over: files of other types 1 (.txt 1)" in messages[0]
    assert all(name in left_out for name in ("cat/empty.png", "dog/text.jpg", "dog/torn.png"))
    assert len(data.labels) + len(test.labels) == 40
    info = dataset_info(str(tmp_path / "pets"), data_dir=tmp_path / "cache")
    assert (info.train_images, info.test_images) == (len(data.labels), len(test.labels))


def test_a_changed_folder_is_prepared_anew_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 10, "dog": 10})
    folder, cache = str(tmp_path / "pets"), tmp_path / "cache"
    first = load_training_set(folder, cache)
    messages: list[str] = []
    assert load_training_set(folder, cache, on_message=messages.append).sha256 == first.sha256
    assert messages == []
    changed = tmp_path / "pets" / "cat" / "000.png"
    before = changed.stat()
    Image.new("RGB", (40, 30), (9, 9, 9)).save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert load_training_set(folder, cache, on_message=messages.append).sha256 != first.sha256
    assert any("stored in" in message for message in messages)


def test_another_image_size_is_another_copy(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 10, "dog": 10})
    shapes = [
        load_training_set(str(tmp_path / "pets"), tmp_path / "cache", image_size=size).images.shape[1:3]
        for size in (None, 16, 48)
    ]
    assert shapes == [(32, 32), (16, 16), (48, 48)]


def test_folders_that_cannot_be_a_data_set_are_refused_with_a_remedy(tmp_path: Path) -> None:
    cases: dict[str, tuple[dict[str, int], str]] = {
        "empty": ({}, "has 0 class folders"),
        "single": ({"cat": 5}, "has 1 class folders"),
        "scarce": ({"cat": 5, "dog": 1}, "class 'dog' .* has 1 readable images"),
        "bare": ({"train": 5, "test": 5}, "without class folders"),
        "stray": ({"train/cat": 5, "train/dog": 5, "test/fish": 5}, "fish is a class that train/ does not have"),
        "void": ({"train/cat": 5, "train/dog": 5, "test/dog": 0}, "holds no images"),
    }
    for name, (counts, message) in cases.items():
        (tmp_path / name).mkdir()
        write_images(tmp_path / name, counts)
        for look in (dataset_info, load_training_set):
            with pytest.raises(DatasetError, match=message):
                look(str(tmp_path / name), data_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_class_left_with_one_readable_image_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 10, "dog": 2})
    (tmp_path / "pets" / "dog" / "001.png").write_bytes(b"torn")
    with pytest.raises(DatasetError, match=r"class 'dog' .* has 1 readable images, but at least 2"):
        load_training_set(str(tmp_path / "pets"), tmp_path / "cache")


@pytest.mark.parametrize("size", [0, 7, 513, -32])
def test_image_sizes_outside_their_range_are_refused(tmp_path: Path, size: int) -> None:
    write_images(tmp_path / "pets", {"cat": 5, "dog": 5})
    with pytest.raises(DatasetError, match=f"image size {size} is outside 8 to 512"):
        dataset_info(str(tmp_path / "pets"), image_size=size)
