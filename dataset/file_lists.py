"""Which images a folder holds, and which of them a list file names."""

from __future__ import annotations

import codecs
import io
import os
import posixpath
import sys
from collections import Counter
from pathlib import Path

import scipy.io

from dataset.image_files import IMAGE_EXTENSIONS
from utils.errors import UserError

UNREAD_EXTENSIONS = (".heic", ".heif", ".avif", ".gif", ".jp2", ".exr", ".tga")


def files_below(folder: Path) -> set[str]:
    """Return every file below a folder, as posix paths within it; empty if there is no folder.

    Hidden files and folders are left out. Links are followed, except to a folder they lie in.

    Raises:
        UserError: the folder, or one below it, cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            what = f"cannot read the folder {error.filename}: {error.strerror}"
            raise UserError(f"{what}\n  make it readable, or move it away")

    found: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        shown = [here / name for name in folders if not name.startswith((".", "@eaDir"))]
        folders[:] = [path.name for path in shown if not (path.is_symlink() and _leads_up(path))]
        prefix = "" if here == folder else here.relative_to(folder).as_posix() + "/"
        found.update(prefix + name for name in files if not name.startswith("."))
    return found


def _leads_up(link: Path) -> bool:
    return link.parent.resolve().is_relative_to(link.resolve())


def pictures_below(folder: Path, suffix: str) -> list[str]:
    """Return the images below a folder, sorted, whose names end in a suffix and the extension.

    Pictures in formats that are not read are counted in a warning.
    """
    found = files_below(folder)
    unread = Counter(os.path.splitext(name)[1].lower() for name in found)
    left_out = ", ".join(f"{unread[end]} {end}" for end in UNREAD_EXTENSIONS if unread[end])
    if left_out:
        text = f"warning: pictures in {folder} are left out: {left_out}; convert them to PNG"
        print(text, file=sys.stderr)
    endings = tuple((suffix + end).lower() for end in IMAGE_EXTENSIONS)
    return sorted(name for name in found if name.lower().endswith(endings))


def listed(list_file: Path, folder: Path, root: Path) -> list[str]:
    """Return the images that a list file names, as paths within the image folder.

    Its entries may also be absolute, or paths within the data folder ``root``.

    Raises:
        UserError: the list cannot be read, or names an image twice or one that is not there.
    """
    found, start = files_below(folder), os.path.abspath(folder) + os.sep
    names: dict[str, None] = {}
    for entry in read_list(list_file):
        within_root = os.path.abspath(os.path.join(root, entry)).removeprefix(start)
        name = entry if entry in found else within_root.replace(os.sep, "/")
        if name not in found or name in names:
            problem = "twice" if name in names else f"which is not in {folder}"
            remedy = "correct the list; its entries are paths within that folder, each once"
            raise UserError(f"{list_file} names {entry}, {problem}\n  {remedy}")
        names[name] = None
    return list(names)


def read_list(path: Path) -> list[str]:
    """Return the lines of a text file, or the training images that the GTA-5 ``split.mat`` names.

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    reason = ""
    try:
        data = path.read_bytes()
        reason = "it is neither a text file nor the split.mat of GTA-5"
        if path.suffix.lower() == ".mat":
            numbers = scipy.io.loadmat(io.BytesIO(data))["trainIds"].ravel().astype(int)
            lines = [f"{number:05d}.png" for number in numbers.tolist()]
        else:  # PowerShell writes UTF-16
            is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            lines = data.decode("utf-16" if is_utf16 else "utf-8-sig").splitlines()
    except Exception as error:  # scipy raises a dozen kinds
        reason = reason or getattr(error, "strerror", None) or str(error)
        remedy = "correct its path, or leave it out: without a list the folder is scanned"
        raise UserError(f"cannot read the list file {path}: {reason}\n  {remedy}") from None
    names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    if not names:
        raise UserError(f"the list file {path} is empty\n  write one image per line into it")
    return [posixpath.normpath(name) for name in names]
