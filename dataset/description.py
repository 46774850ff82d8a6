"""What a data set consists of: its folders, its classes, and the label ids that stand for them.

To add a data set, copy gta5_dataset.py, document the folders in its docstring, state them in
`layouts` with the label ids of each class, and open it in a script in place of the one copied.
Without any code, a classes file (own_classes.py) does the same.
"""

from __future__ import annotations

import heapq
import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import scipy.io

from dataset.image_files import IMAGE_EXTENSIONS
from dataset.labels import LabelIds, LabelSpace
from utils.errors import UserError
from utils.files import read_input

LONGEST_LIST = 10_000_000  # bytes


@dataclass(frozen=True)
class Layout:
    """The folders of a data set, within its root; ``{split}`` stands for train, val or test.

    Attributes:
        labels: folder of the label maps, PNG files in the same subfolders as the images.
        image_suffix: end of an image's name, before the extension; not part of the label map's.
        label_suffix: end of a label map's name, before the extension.
    """

    images: str
    labels: str
    image_suffix: str = ""
    label_suffix: str = ""

    def label_name(self, image: str) -> str:
        """Return the label map of an image; both are paths within their folders."""
        path = PurePosixPath(image)
        stem = path.stem.removesuffix(self.image_suffix) + self.label_suffix
        return str(path.with_name(f"{stem}.png"))


PLAIN_FOLDER = Layout(images="", labels="")
"""Images without label maps anywhere below the root: a user's own photographs."""


@dataclass(frozen=True)
class Description:
    """A data set.

    Attributes:
        name: what messages call it.
        guide: the file whose docstring documents the folders.
        layouts: the first whose image folder exists is used.
        is_target: whether networks adapt to it, so that it may come without label maps.
    """

    name: str
    guide: str
    layouts: tuple[Layout, ...]
    label_space: LabelSpace
    label_ids: LabelIds
    is_target: bool = False


def read_list(path: Path) -> list[str]:
    """Return the image paths, within the image folder, that a list file names.

    Args:
        path: a text file with one image per line (blank lines are skipped), or the ``split.mat``
            of GTA-5, whose training images are listed.

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    reason = ""
    try:
        data = read_input(path, LONGEST_LIST)
        reason = "it is neither a text file nor the split.mat of GTA-5"
        if path.suffix.lower() == ".mat":
            numbers = scipy.io.loadmat(io.BytesIO(data))["trainIds"].ravel().astype(int)
            lines = [f"{number:05d}.png" for number in numbers.tolist()]
        else:
            lines = data.decode("utf-8-sig").splitlines()
    except Exception as error:  # scipy raises a dozen kinds
        reason = reason or getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot read the list file {path}: {reason}\n"
            "  correct its path, or leave it out: without a list the folder is scanned"
        ) from None
    names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    if not names:
        raise UserError(f"the list file {path} is empty\n  write one image per line into it")
    return names


def files_below(folder: Path) -> set[str]:
    """Return every file below a folder, as posix paths within it; empty if there is no folder.

    Links are followed, but no folder is visited twice: its files have the path without links, if
    there is one.

    Raises:
        UserError: the folder, or one below it, cannot be read; or something has the name of an
            image, but is a pipe, socket, device or broken link.
    """
    found: set[str] = set()
    visited: set[str] = set()
    folders, links = [""], list[str]()  # paths within the folder, ending in a slash
    while folders or links:
        prefix = folders.pop() if folders else heapq.heappop(links)
        place = os.path.realpath(folder / prefix)
        if place in visited:
            continue
        visited.add(place)
        for entry in _entries(folder / prefix):
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
            elif entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path):
                found.add(name)
            elif os.path.isdir(entry.path):
                heapq.heappush(links, f"{name}/")
            elif name.lower().endswith(IMAGE_EXTENSIONS):
                raise UserError(
                    f"{entry.path} is not a file, but a pipe, socket, device or broken "
                    f"link\n  remove it, or move it out of {folder}"
                )
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"cannot read the folder {folder}: {error.strerror}\n"
            "  make it readable, or move it away"
        ) from None
