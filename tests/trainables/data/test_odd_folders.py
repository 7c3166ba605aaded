"""Folders as people have them: parts by other names, hidden copies, links, deep grey, broken files, odd names.

A new odd folder is one line in `FOLDERS`, a new odd image one in `BROKEN` or `DEEP`.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trainables.data import TrainingSet, dataset_info, load_training_set
from trainables.data.images import decode, quiet_pillow
from trainables.data.test_set import load_test_set
from trainables.data.unlabelled import open_unlabelled
from trainables.errors import DatasetError

DRAW = np.random.default_rng(0)


def images(folder: Path, count: int, suffix: str = ".png") -> None:
    """Write `count` images of noise into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = Image.fromarray(DRAW.integers(0, 256, (12, 10, 3), dtype=np.uint8))
        picture.save(folder / f"{i:03}{suffix}", format="JPEG" if suffix.startswith(".j") else "PNG")


def tree(root: Path, *parts: str | tuple[str, int]) -> None:
    """Write 10 images into each folder of `parts`, or as many as are given with it."""
    for part in parts:
        name, count = part if isinstance(part, tuple) else (part, 10)
        images(root / name, count)


def of(*parts: str | tuple[str, int], links: tuple[tuple[str, str], ...] = ()) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        tree(root, *parts)
        for link, target in links:
            (root / link).symlink_to(target)

    return build


def parts(train: str, test: str, *more: str) -> Callable[[Path], None]:
    return of(f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b", *more)


AB = ("a", "b")
FLAT = (16, 4)  # 20 images without a test part
SPLIT = (20, 20)
Expected = tuple[tuple[str, ...], tuple[int, int]] | str
FOLDERS: dict[str, tuple[Callable[[Path], None], Expected]] = {
    # A4: parts by other names
    "Training and Testing": (parts("Training", "Testing"), (AB, SPLIT)),
    "Train and Test": (parts("Train", "Test"), (AB, SPLIT)),
    "TRAIN and test": (parts("TRAIN", "test"), (AB, SPLIT)),
    "sets": (parts("training_set", "test_set"), (AB, SPLIT)),
    "short": (parts("trn", "tst"), (AB, SPLIT)),
    "train-images and test images": (parts("train-images", "test images"), (AB, SPLIT)),
    "a year": (parts("train2017", "test2017"), (AB, SPLIT)),
    "own validation": (parts("train", "test", "Valid/a", "Valid/b"), (AB, SPLIT)),
    "only training": (of("Training/a", "Training/b"), (AB, FLAT)),
    "unlabelled images beside both parts": (parts("train", "test", "new"), (AB, SPLIT)),
    "notes beside the parts": (parts("train", "test", "notes/.cache"), (AB, SPLIT)),
    "stray images in the parts": (parts("train", "test", ("train", 1), ("test", 1), "new"), (AB, SPLIT)),
    "numbered tests": (of("test 1", "test 2"), (("test 1", "test 2"), FLAT)),
    "a class named test": (of("test", "cat", "dog"), (("cat", "dog", "test"), (24, 6))),
    "a class named Train": (of("Train", "bus"), (("Train", "bus"), FLAT)),
    "a class named train with a folder inside": (of("train/old", "train", "bus"), (("bus", "train"), (24, 6))),
    "valid and invalid": (of("valid", "invalid"), (("invalid", "valid"), FLAT)),
    "one folder in each class": (of("cat/images", "dog/images"), (("cat", "dog"), FLAT)),
    "no classes in parts": (of("Training", "Testing"), "Testing/, Training/ without class folders"),
    "test without training": (of("test/a", "test/b", "val/a", "val/b"), "without a training part"),
    "a flat test part": (of("train/a", "train/b", "Test"), "Test holds images without class folders"),
    "two training parts": (parts("train", "Training"), "named like the same part"),
    "train beside classes": (of("train/steam", "train/diesel", "car", "bus"), "either could be the classes"),
    "two sites": (of("x/a", "x/b", "y/a", "y/b"), "every folder in .* holds the same folders"),
    "class before part": (of("a/train", "a/test", "b/train", "b/test"), "every folder in .* holds the same folders"),
    "sites inside the training part": (of("train/x/a", "train/x/b", "train/y/a", "train/y/b"), "the same folders"),
    # A5: hidden copies
    **{
        f"copies in {name}": (of("a", "b", f"a/{name}", f"a/more/{name}/deep"), (AB, FLAT))
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "Thumbs", ".thumbnails")
    },
    "system folders beside the classes": (of("a", "b", "__MACOSX/a", "@eaDir", ".git", "lost+found"), (AB, FLAT)),
    "system folders in the parts": (parts("train", "test", "test/__MACOSX", "train/.cache"), (AB, SPLIT)),
    # B5: links
    "a linked folder": (of("a", "b", ".pool/c", links=(("a/more", "../.pool/c"),)), (AB, (24, 6))),
    "a linked class": (of("a", ".pool/b", links=(("b", ".pool/b"),)), (AB, FLAT)),
    "a link up": (of("a", "b", links=(("a/up", ".."), ("a/self", "."))), (AB, FLAT)),
    "a link to another class": (of("a", "b", links=(("a/other", "../b"),)), (AB, FLAT)),
    "a circle": (of("a", "b", "b/c", links=(("a/x", "../b/c"), ("b/c/y", "../../a"))), (AB, (24, 6))),
    "a link to itself": (of("a", "b", links=(("a/x", "x"), ("a/y.png", "y.png"))), (AB, FLAT)),
    "a link to nothing": (of("a", "b", links=(("a/x.png", "nowhere"), ("a/y", "nowhere"))), (AB, FLAT)),
    "a test part that is the training part": (
        of("train/a", "train/b", links=(("test", "train"),)),
        "test holds no images",
    ),
}


def load(folder: Path, cache: Path, **options: Any) -> tuple[TrainingSet, Any, list[str]]:
    said: list[str] = []
    data = load_training_set(str(folder), cache, on_message=said.append, **options)
    assert all(message.isprintable() for message in said)
    return data, load_test_set(str(folder), cache, **options), said


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_has_the_expected_classes_and_counts_or_is_refused_in_words(name: str, tmp_path: Path) -> None:
    build, expected = FOLDERS[name]
    folder = tmp_path / "pictures"
    folder.mkdir()
    build(folder)
    if isinstance(expected, str):
        for look in (dataset_info, load_training_set):
            with pytest.raises(DatasetError, match=expected):
                look(str(folder), data_dir=tmp_path / "cache")
        return
    info = dataset_info(str(folder))
    data, test, said = load(folder, tmp_path / "cache")
    assert (data.class_names, (len(data.labels), len(test.labels))) == expected
    assert (info.classes, (info.train_images, info.test_images)) == (len(expected[0]), expected[1])
    assert f"({', '.join(expected[0])})" in said[0]


def test_what_is_passed_over_is_counted_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    tree(folder, "train/a", "train/b", ("test/a", 3), ("train/a/.hidden", 2), ("train", 1))
    for suffix in (".jfif", ".jpe", ".JFIF"):
        images(folder / "train" / "b", 2, suffix.lower())
    for name in ("1.heic", "2.heic", "notes.txt", "none"):
        (folder / "train" / "b" / name).write_text("")
    (folder / "train" / "b" / "gone.png").symlink_to("nowhere")
    (folder / "train" / "b" / "again").symlink_to("../a")
    data, _, said = load(folder, tmp_path / "cache")
    assert len(data.labels) == 24
    assert said[0].endswith(
        "2 classes (a, b), 24 images for training and 3 for the test; passed over: 1 hidden or system files and "
        "folders, 1 images outside a class folder, 1 linked folders that are read elsewhere or lead back, 1 links to "
        "nothing, 4 files of other types (.heic 2, .txt 1, no suffix 1)"
    )
    assert any("1 classes have no test image: b" in message for message in said)


def write_pgm(path: Path, values: npt.NDArray[Any], maximum: int = 65535) -> None:
    header = f"P5 {values.shape[1]} {values.shape[0]} {maximum}\n".encode()
    path.write_bytes(header + values.astype(">u2").tobytes())


def write_png(path: Path, values: npt.NDArray[Any]) -> None:
    Image.fromarray(values.astype(np.uint16)).save(path)


def write_tiff(path: Path, values: npt.NDArray[Any]) -> None:
    Image.fromarray(values.astype(np.int32)).save(path)


def write_float(path: Path, values: npt.NDArray[Any]) -> None:
    Image.fromarray(values.astype(np.float32)).save(path)


RAMP = np.linspace(0, 1, 1024).reshape(32, 32)  # as large as the data set's images, so nothing is resized
Write = Callable[[Path, npt.NDArray[Any]], None]
DEEP: dict[str, tuple[str, Write, float, float]] = {  # suffix, writer, largest value, scale
    "16-bit PNG": (".png", write_png, 65535, 65535),
    "16-bit PGM": (".pgm", write_pgm, 65535, 65535),
    "32-bit TIFF of 16 bits": (".tif", write_tiff, 65535, 65535),
    "32-bit TIFF of 24 bits": (".tif", write_tiff, 2**24 - 1, 2**24 - 1),
    "12 bits in a PNG": (".png", write_png, 4095, 4095),
    "12 bits in a PGM": (".pgm", write_pgm, 4095, 4095),
    "12 bits, said by a PGM": (".pgm", lambda path, values: write_pgm(path, values, 4095), 4095, 4095),
    "dark 12 bits": (".png", write_png, 3000, 4095),
    "8 bits in a PNG": (".png", write_png, 255, 255),
    "8 bits in a PGM": (".pgm", write_pgm, 255, 255),
    "8 bits in a TIFF": (".tiff", write_tiff, 255, 255),
    "fractions": (".tif", write_float, 1.0, 1.0),
    "dark fractions": (".tif", write_float, 0.2, 0.25),
    "fractions of 255": (".tif", write_float, 255.0, 255.0),
    "fractions of 65535": (".tif", write_float, 65535.0, 65535.0),
}


@pytest.mark.parametrize("name", DEEP)
def test_grey_above_8_bits_has_one_scale_and_stays_grey(name: str, tmp_path: Path) -> None:
    suffix, write, largest, scale = DEEP[name]
    whole = write is not write_float
    for label in AB:
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(5):
            values = np.roll(RAMP, i, axis=0) * largest / (1 if i == 0 else 2)
            write(tmp_path / "pictures" / label / f"{i}{suffix}", np.rint(values) if whole else values)
    assert dataset_info(str(tmp_path / "pictures")).image_shape == (1, 32, 32)
    data, test, _ = load(tmp_path / "pictures", tmp_path / "cache")
    assert data.images.shape[-1] == 1
    assert data.grey_scale == scale
    brightest = [int(image.max()) for image in (*data.images, *test.images)]
    top = 255 * largest / scale
    for value in brightest:  # the others are half as bright, and stay so
        assert min(abs(value - top), abs(value - top / 2)) <= 1
    assert max(brightest) - min(brightest) > 10
    # An unlabelled image of half the brightness has the data set's scale, not its own.
    (tmp_path / "new").mkdir()
    half = RAMP * largest / 2
    write(tmp_path / "new" / f"1{suffix}", np.rint(half) if whole else half)
    (batch,) = open_unlabelled(tmp_path / "new", (32, 32, 1), data.grey_scale).batches(1)
    np.testing.assert_allclose(batch[0, :, :, 0], RAMP * top / 2, atol=0.51 + 255 / scale * 0.5)


def test_a_picture_is_the_same_in_every_deep_file(tmp_path: Path) -> None:
    for i, (write, suffix) in enumerate(((write_png, ".png"), (write_pgm, ".pgm"), (write_tiff, ".tif"))):
        write(tmp_path / f"{i}{suffix}", np.rint(RAMP * 65535))
    first, second, third = (decode(path, (16, 16, 1), 65535) for path in sorted(tmp_path.iterdir()))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert abs(first.mean() - 127.5) < 1


UNSCALABLE: dict[str, tuple[Write, npt.NDArray[Any], str]] = {
    "NaN": (write_float, np.where(RAMP > 0.5, np.nan, RAMP), "NaN or infinite"),
    "infinite": (write_float, np.where(RAMP > 0.5, np.inf, RAMP), "NaN or infinite"),
    "negative fractions": (write_float, RAMP - 0.5, "negative values, down to -0.5"),
    "negative integers": (write_tiff, np.rint((RAMP - 0.5) * 2000), "negative values, down to -1000"),
}


@pytest.mark.parametrize("name", UNSCALABLE)
def test_grey_values_that_no_scale_covers_are_refused_in_words(name: str, tmp_path: Path) -> None:
    write, values, message = UNSCALABLE[name]
    for label in AB:
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(3):
            write(tmp_path / "pictures" / label / f"{i}.tif", values)
    with pytest.raises(DatasetError, match=f"class 'a' .* has 0 readable images.*{message}"):
        load_training_set(str(tmp_path / "pictures"), tmp_path / "cache")


def test_a_constant_channel_is_no_division_by_zero(tmp_path: Path) -> None:
    for label in AB:
        images(tmp_path / "pictures" / label, 10)
        for path in (tmp_path / "pictures" / label).iterdir():
            pixels = np.array(Image.open(path))
            pixels[..., 2] = 0
            Image.fromarray(pixels).save(path)
    data, test, _ = load(tmp_path / "pictures", tmp_path / "cache")
    assert data.std[2] == test.std[2] == 1
    assert data.mean[2] == 0
    assert 0 < data.std[0] < 0.5


def test_images_of_one_plain_colour_are_refused(tmp_path: Path) -> None:
    for label in AB:
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "pictures" / label / f"{i}.png")
    with pytest.raises(DatasetError, match=r"all 8 training images are one plain colour \(1, 2, 3 of 255\)"):
        load_training_set(str(tmp_path / "pictures"), tmp_path / "cache")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")


BROKEN = {
    "bomb": bomb(14_000),
    "large and torn": bomb(10_000),
    "no size": b"P5 0 0 255\n",
    "text": b"no picture",
    "empty": b"",
    "torn TIFF": b"II*\0\x08\0\0\0\xff\xff",
    "torn header": b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_counted_and_left_out(name: str, tmp_path: Path) -> None:
    tree(tmp_path / "pictures", *AB)
    (tmp_path / "pictures" / "a" / "broken.png").write_bytes(BROKEN[name])
    data, test, said = load(tmp_path / "pictures", tmp_path / "cache")
    assert (len(data.labels), len(test.labels)) == FLAT
    assert any("1 of 21 files left out: a/broken.png (" in message for message in said)
    given = open_unlabelled(tmp_path / "pictures" / "a", (32, 32, 3))
    assert sum(len(batch) for batch in given.batches(4)) == len(given.readable_ids()) == 10
    assert "broken" not in given.readable_ids()
    assert given.summary().startswith("1 of 11 files left out: broken.png (")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "broken.png").write_bytes(BROKEN[name])
    with pytest.raises(DatasetError, match=r"alone: no image is readable \(1 of 1 files left out: broken\.png \(.+\)"):
        list(open_unlabelled(tmp_path / "alone", (32, 32, 3)).batches(4))


@pytest.mark.parametrize("error", [struct.error("odd"), ZeroDivisionError(), KeyError("tag"), RecursionError()])
def test_any_exception_of_one_file_is_that_files_alone(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path / "pictures", *AB)
    bad = tmp_path / "pictures" / "a" / "000.png"
    whole = Image.open

    def opened(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(path) == bad:
            raise error
        return whole(path, *arguments, **options)

    monkeypatch.setattr(Image, "open", opened)
    dataset_info(str(tmp_path / "pictures"))
    _, _, said = load(tmp_path / "pictures", tmp_path / "cache")
    assert any("1 of 20 files left out: a/000.png (" in message for message in said)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0junk", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"]
)
def test_an_image_with_malformed_exif_stays_unturned(exif: bytes, tmp_path: Path) -> None:
    picture = Image.fromarray(DRAW.integers(0, 256, (16, 16), dtype=np.uint8))
    picture.save(tmp_path / "odd.png", exif=exif)
    picture.save(tmp_path / "odd.jpg", exif=exif)
    with quiet_pillow():
        np.testing.assert_array_equal(decode(tmp_path / "odd.png", (16, 16, 1))[..., 0], np.asarray(picture))
        assert decode(tmp_path / "odd.jpg", (16, 16, 1)).shape == (16, 16, 1)


def test_names_that_are_not_utf_8_are_read_and_shown_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    tree(folder, "a")
    odd_class = folder / os.fsdecode(b"caf\xe9")
    images(odd_class, 10)
    (folder / "a" / "000.png").rename(folder / "a" / os.fsdecode(b"th\xe9.png"))
    (odd_class / os.fsdecode(b"\xff\n.png")).write_bytes(b"broken")
    data, _, said = load(folder, tmp_path / "cache")
    assert data.class_names == ("a", r"caf\xe9")
    assert dataset_info(str(folder), data_dir=tmp_path / "cache").train_images == len(data.labels) == 16
    assert any(r"caf\xe9/\xff\n.png" in message for message in said)
    given = open_unlabelled(folder / "a", (32, 32, 3))
    assert r"th\xe9" in given.ids
    "".join((*given.ids, *said)).encode()
    whole = tmp_path / os.fsdecode(b"\xe9")
    folder.rename(whole)
    named, _, said = load(whole, tmp_path / "cache")
    assert re.search(r"/\\xe9$", named.name)
    "".join((named.name, *said)).encode()
