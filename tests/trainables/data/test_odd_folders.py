"""Folders as people have them: parts by other names, hidden copies, links, odd names.

A new odd folder is one line in `FOLDERS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.folder_fixtures import AB, FLAT, images, load, tree
from trainables.data import dataset_info, load_training_set
from trainables.data.unlabelled import open_unlabelled
from trainables.errors import DatasetError


def of(*parts: str | tuple[str, int], links: tuple[tuple[str, str], ...] = ()) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        tree(root, *parts)
        for link, target in links:
            (root / link).symlink_to(target)

    return build


def parts(train: str, test: str, *more: str | tuple[str, int]) -> Callable[[Path], None]:
    return of(f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b", *more)


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
    "own validation": (parts("train", "test", "Valid/a", "Valid/b"), (AB, (40, 20))),
    "own validation without a test": (of("train/a", "train/b", "dev/a"), (AB, (26, 4))),
    "validation images without classes": (parts("train", "test", "val"), (AB, SPLIT)),
    "two validation parts": (parts("train", "test", "val/a", "valid/a"), "named like the same part"),
    "an empty validation part": (parts("train", "test", ("val/a", 0)), "val holds no images"),
    "another class to validate": (parts("train", "test", "val/c"), "c is a class that train/ does not have"),
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
        "2 classes (a, b), 27 images: 22 to train on, 2 for validation (drawn), 3 for the test; passed over: hidden or "
        "system files and folders 1, images outside a class folder 1, linked folders that are read elsewhere or lead "
        "back 1, links to nothing 1, files of other types 4 (.heic 2, .txt 1, no suffix 1); classes without an image "
        "for the test: b"
    )


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
