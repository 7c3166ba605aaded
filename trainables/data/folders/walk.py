"""Walks through class folders: every image once, and a count of everything that is passed over."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trainables.data.file_names import shown

SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".bmp", ".dib", ".gif", ".webp", ".avif"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".tga"}
)

SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "lost.dir",
        "network trash folder",
        "temporary items",
    }
)
"""Folders that operating systems and storage devices leave behind, in lower case; those with a dot are hidden too."""

THUMBNAILS = frozenset({"thumbs", "thumbnails", "_thumbs", "_thumbnails"})
"""Folders of small copies; one level higher such a name may be a class."""

HIDDEN = "hidden or system files and folders"
LINKS_TO_NOTHING = "links to nothing"
LINKS_READ = "linked folders that are read elsewhere or lead back"
OUTSIDE = "images outside a class folder"
OTHER = "files of other types"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder `name` is hidden or left behind by a system."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_image_name(name: str) -> bool:
    """Return whether `name` has the suffix of an image."""
    return Path(name).suffix.lower() in SUFFIXES


def subfolders(folder: Path) -> list[Path]:
    """Return the folders and linked folders in `folder` that are not hidden, sorted."""
    return sorted(path for path, is_folder, _ in _entries(folder) if is_folder and not is_hidden(path.name))


def direct_images(folder: Path) -> Iterator[Path]:
    """The images in `folder` itself."""
    entries = _entries(folder)
    return (p for p, _, is_file in entries if is_file and is_image_name(p.name) and not is_hidden(p.name))


def has_direct_images(folder: Path) -> bool:
    """Return whether there is an image in `folder` itself."""
    return next(direct_images(folder), None) is not None


def holds_images(folder: Path) -> bool:
    """Return whether there is an image in `folder` or below it, without following links below it."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        if any(is_image_name(name) and not is_hidden(name) for name in files):
            return True
    return False


class FolderWalk:
    """Lists the images below folders; a folder that several links lead to is read once.

    `closed` are folders that no link may lead to, such as those above the class folders.
    """

    def __init__(self, closed: Iterable[Path]) -> None:
        self.passed_over: Counter[str] = Counter()
        self.other_suffixes: Counter[str] = Counter()
        self._seen = {_identity(folder) for folder in closed}

    def images(self, roots: Sequence[Path]) -> list[list[Path]]:
        """Return the images below each of `roots`, sorted. Folders have precedence over links to them."""
        found: list[list[Path]] = [[] for _ in roots]
        folders = deque((i, root) for i, root in enumerate(roots) if not root.is_symlink())
        links = deque((i, root) for i, root in enumerate(roots) if root.is_symlink())
        while folders or links:
            i, folder = (folders or links).popleft()
            identity = _identity(folder)
            if identity in self._seen:
                self.passed_over[LINKS_READ] += 1
                continue
            self._seen.add(identity)
            for path, is_folder, is_file in _entries(folder):
                if is_folder:
                    if is_hidden(path.name) or path.name.lower() in THUMBNAILS:
                        self.passed_over[HIDDEN] += 1
                    else:
                        (links if path.is_symlink() else folders).append((i, path))
                elif is_hidden(path.name):
                    self.passed_over[HIDDEN] += 1
                elif not is_file:
                    self.passed_over[LINKS_TO_NOTHING if path.is_symlink() else OTHER] += 1
                elif is_image_name(path.name):
                    found[i].append(path)
                else:
                    self.passed_over[OTHER] += 1
                    self.other_suffixes[shown(path.suffix.lower()) or "no suffix"] += 1
        return [sorted(paths) for paths in found]

    def summary(self) -> str:
        """Return what was passed over, with counts, in the words of a message; empty for nothing."""
        parts = [f"{name} {count:,}" for name, count in sorted(self.passed_over.items()) if count and name != OTHER]
        if self.passed_over[OTHER]:
            usual = sorted(self.other_suffixes.items(), key=lambda item: (-item[1], item[0]))[:5]
            suffixes = ", ".join(f"{suffix} {count:,}" for suffix, count in usual)
            parts.append(f"{OTHER} {self.passed_over[OTHER]:,}" + (f" ({suffixes})" if suffixes else ""))
        return ", ".join(parts)


def _entries(folder: Path) -> Iterator[tuple[Path, bool, bool]]:
    """The entries of `folder`, and whether each is, or leads to, a folder or a file; only links cost a look."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                yield path, path.is_dir(), path.is_file()
            else:
                yield path, entry.is_dir(), entry.is_file()


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
