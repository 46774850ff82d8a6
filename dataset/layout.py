"""Where a data set keeps its files, and list files that name some of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from utils.errors import UserError


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files.

    Attributes:
        images: folder of the images; ``{split}`` stands for train, val or test.
        labels: folder of the label maps, PNG files in the same subfolders.
        image_suffix: what an image's name has before the extension, and its label map's has not.
        label_suffix: what a label map's name has instead.
    """

    images: str
    labels: str
    image_suffix: str = ""
    label_suffix: str = ""

    def label_name(self, image: str) -> str:
        """The label map that belongs to an image, both as paths within their folders."""
        path = PurePosixPath(image)
        return str(
            path.with_name(path.stem.removesuffix(self.image_suffix) + self.label_suffix + ".png")
        )


PLAIN_FOLDER = Layout(images="", labels="")
"""Images anywhere below the data folder, and no label maps: a user's own photographs."""


def read_list(path: Path) -> list[str]:
    """Read a list file: one path within the image folder a line; blank lines are skipped.

    Raises:
        UserError: the file is missing, not text, empty, or an entry leaves the data folder.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise UserError(
            f"cannot read the list file {path}: {reason}\n"
            "  correct its path, or leave it out: without one the folder is scanned"
        ) from None
    names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or ":" in name:
            raise UserError(
                f"{path} names {name}, which is outside the data folder\n"
                "  entries are paths within the image folder"
            )
    if not names:
        raise UserError(f"the list file {path} is empty\n  write one image a line into it")
    return names


def files_below(folder: Path) -> set[str]:
    """Every file below a folder, as posix paths within it; none if there is no such folder.

    Raises:
        UserError: the folder, or one below it, cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise UserError(
                f"cannot read the folder {error.filename}: {error.strerror}\n"
                f"  its files would be left out: make it readable, or move it out of {folder}"
            )

    return {
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder, onerror=refuse, followlinks=True)
        for name in names
    }
