"""What a plain folder of photographs must not hold: parts of a data set, and label maps."""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dataset.image_files import is_label_map
from utils.errors import UserError

MOST_LOOKED_AT = 50  # pictures: the first of each kind of name in each folder


def check_photographs(root: Path, names: Sequence[str], folders: Sequence[Path]) -> None:
    """Check the pictures of a plain folder, given by their paths within it.

    UserError with the right path if they lie in one of the ``folders`` of a data set, such as
    ``leftImg8bit/val``, or if some of them are label maps.
    """
    paths = [f"{root.resolve().as_posix()}/{name}" for name in names]
    for folder in folders:
        for path in (path for path in paths if f"/{folder.as_posix()}/" in path):
            data_folder = path.rpartition(f"/{folder.as_posix()}/")[0]
            remedy = f"give {data_folder}, and name single images in a list file"
            raise UserError(f"{root} is no plain folder, it has {path}\n  {remedy}")
    kinds: dict[tuple[str, ...], str] = {}  # folder, last word of the name, suffix -> first picture
    for name in names:
        kinds.setdefault(_kind(name), name)
    looked_at = [kind for kind in list(kinds)[:MOST_LOOKED_AT] if "jp" not in kind[-1]]
    maps = {kind: kinds[kind] for kind in looked_at if is_label_map(root / kinds[kind])}
    if maps:
        remedy = "move them elsewhere, or name the photographs in a list file"
        if others := {kind[0] for kind in kinds if kind not in maps}:
            place = posixpath.commonpath(others)
            if not any(PurePosixPath(name).is_relative_to(place) for name in maps.values()):
                remedy = f"give the photographs' own folder, {root / place}"
        found = root / next(iter(maps.values()))
        raise UserError(f"{root} holds label maps, such as {found}\n  {remedy}")


def _kind(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    return str(path.parent), re.sub(r".*_|\d+", "", path.stem), path.suffix.lower()
