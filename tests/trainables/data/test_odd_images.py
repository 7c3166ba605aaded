"""Images as people have them: grey above 8 bits, constant channels, broken files.

A new odd image is one line in `DEEP`, `UNSCALABLE` or `BROKEN`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.folder_fixtures import AB, DRAW, FLAT, images, load, tree
from trainables.data import dataset_info, load_training_set
from trainables.data.images import decode, quiet_pillow
from trainables.data.unlabelled import open_unlabelled
from trainables.errors import DatasetError


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_photo_is_turned_as_its_exif_says(dtype: Any, tmp_path: Path) -> None:
    pixels = DRAW.integers(0, 256, (16, 16)).astype(dtype)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    turned = decode(tmp_path / "turned.png", (16, 16, 1), 255.0)[..., 0]
    np.testing.assert_array_equal(turned, np.rot90(pixels, -1))
