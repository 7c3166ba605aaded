"""A folder of class folders as a data set: layouts, sizes, unreadable files, changes."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import dataset_info, load_training_set
from trainables.data.counts import counts_line
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


def test_the_parts_of_a_folder_are_used_as_they_are(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train", {"cat": 20, "dog": 20})
    write_images(tmp_path / "pets" / "test", {"cat": 3, "dog": 4})
    write_images(tmp_path / "pets" / "val", {"cat": 5, "dog": 4})
    folder, cache = str(tmp_path / "pets"), tmp_path / "cache"
    for _ in range(2):  # before and after it is prepared
        info = dataset_info(folder, data_dir=cache)
        data, test = load_training_set(folder, cache), load_test_set(info.name, cache)
        assert (info.train_images, info.val_images, info.test_images) == (49, 9, 7)
        assert [tuple(count) for count in info.class_counts] == [("cat", 20, 5, 3), ("dog", 20, 4, 4)]
    assert (len(data.labels), len(data.val_indices), len(test.labels)) == (49, 9, 7)
    assert info.name == data.name == str((tmp_path / "pets").resolve())
    assert np.bincount(data.labels[data.val_indices]).tolist() == [5, 4]
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], 20 + 60 * data.labels)
    for options in ({"split_seed": 7}, {"validation_share": 0.4}):
        other = load_training_set(folder, cache, **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(other.val_indices, data.val_indices)
    few = load_training_set(folder, cache, train_images=10)
    np.testing.assert_array_equal(few.val_indices, data.val_indices)
    assert len(few.train_indices) == 10


def test_a_val_folder_that_is_left_out_gives_the_images_of_earlier_versions(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train", {"cat": 20, "dog": 20})
    write_images(tmp_path / "bare" / "train", {"cat": 20, "dog": 20})
    write_images(tmp_path / "pets" / "val", {"cat": 5, "dog": 4})
    cache = tmp_path / "cache"
    without = load_training_set(str(tmp_path / "pets"), cache, val_folder=False)
    bare = load_training_set(str(tmp_path / "bare"), cache)
    assert without.identity == bare.identity
    np.testing.assert_array_equal(without.val_indices, bare.val_indices)
    load_training_set(str(tmp_path / "pets"), cache)
    messages: list[str] = []
    again = load_training_set(str(tmp_path / "pets"), cache, val_folder=False, on_message=messages.append)
    assert (again.identity, messages) == (bare.identity, [])  # both copies are kept


@pytest.mark.parametrize("name", ["digits", "pets"])
def test_shares_decide_how_many_images_are_held_out(tmp_path: Path, name: str) -> None:
    write_images(tmp_path / "pets", {"cat": 20, "dog": 40})
    name = name if name == "digits" else str(tmp_path / "pets")
    total = 1797 if name == "digits" else 60
    seen = set()
    for test_share in (0.2, 0.35, 0.5):
        info = dataset_info(name, data_dir=tmp_path / "cache", test_share=test_share)
        data = load_training_set(name, tmp_path / "cache", test_share=test_share, validation_share=0.25)
        test = load_test_set(name, tmp_path / "cache", test_share=test_share)
        assert len(test.labels) == info.test_images == int(total * test_share + 0.5)
        assert len(data.labels) == info.train_images == total - len(test.labels)
        assert len(data.val_indices) == int(len(data.labels) * 0.25 + 0.5)
        assert (data.sha256, data.test_sha256) == (test.train_sha256, test.sha256)
        seen.add(test.sha256)
    assert len(seen) == 3
    for option in ({"validation_share": 0.6}, {"test_share": 0.0}):
        with pytest.raises(DatasetError, match=r"outside \(0, 0\.5\]"):
            load_training_set(name, tmp_path / "cache", **option)  # type: ignore[arg-type]


def test_a_prepared_folder_is_described_without_opening_its_images(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 10, "dog": 10}, "L")
    (tmp_path / "pets" / "cat" / "torn.png").write_bytes(b"torn")
    folder, cache = str(tmp_path / "pets"), tmp_path / "cache"
    load_training_set(folder, cache)
    opened: list[str] = []
    sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)
    info = dataset_info(folder, data_dir=cache)
    assert (info.image_shape, info.train_images, info.test_images) == ((1, 32, 32), 16, 4)
    assert "1 of 21 files left out: cat/torn.png" in counts_line(info)
    assert any(path.endswith("meta.json") for path in opened)
    assert not any(path.endswith(".png") for path in opened)


def test_a_look_at_a_folder_takes_one_stat_of_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "pets", {"cat": 30, "dog": 30})
    load_training_set(str(tmp_path / "pets"), tmp_path / "cache")
    true_stat, looks = os.stat, []
    monkeypatch.setattr(os, "stat", lambda path, **given: looks.append(str(path)) or true_stat(path, **given))
    dataset_info(str(tmp_path / "pets"), data_dir=tmp_path / "cache")
    images = [path for path in looks if path.endswith(".png")]
    assert len(images) == len(set(images)) == 60


def test_the_copy_of_earlier_files_is_removed_and_named(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", {"cat": 10, "dog": 10})
    write_images(tmp_path / "other" / "pets", {"cat": 10, "dog": 11})
    folder, cache = str(tmp_path / "pets"), tmp_path / "cache"
    for name in (folder, str(tmp_path / "other" / "pets")):
        for size in (32, 16):
            load_training_set(name, cache, image_size=size)
    (tmp_path / "pets" / "cat" / "000.png").unlink()
    messages: list[str] = []
    load_training_set(folder, cache, on_message=messages.append)
    assert sum("the prepared copy of its earlier files is removed" in message for message in messages) == 2
    assert len(list(cache.glob("folder-*"))) == 3
    load_training_set(str(tmp_path / "other" / "pets"), cache, on_message=messages.append)
    assert sum("stored in" in message for message in messages) == 1


def test_classes_without_an_image_are_named_by_use(tmp_path: Path) -> None:
    write_images(tmp_path / "pets" / "train", {"cat": 40, "dog": 4, "fish": 4})
    write_images(tmp_path / "pets" / "test", {"cat": 3, "dog": 1, "fish": 0})
    line = counts_line(dataset_info(str(tmp_path / "pets"), data_dir=tmp_path / "cache"))
    data = load_training_set(str(tmp_path / "pets"), tmp_path / "cache")
    absent = {"cat", "dog", "fish"} - {data.class_names[label] for label in data.labels[data.val_indices]}
    assert absent
    assert f"classes without an image for validation: {', '.join(sorted(absent))}" in line
    assert "classes without an image for the test: fish" in line


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
    assert all(name in left_out for name in ("cat/empty.png", "dog/text.jpg", "dog/torn.png"))
    assert len(data.labels) + len(test.labels) == 40
    info = dataset_info(str(tmp_path / "pets"), data_dir=tmp_path / "cache")
    assert (info.train_images, info.test_images) == (len(data.labels), len(test.labels))
    assert "passed over: files of other types 1 (.txt 1); 3 of 43 files left out: " in counts_line(info)


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
