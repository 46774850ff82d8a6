"""What a plain folder of photographs must not hold: parts of a data set, and label maps."""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dataset.image_files import is_label_map
from utils.errors import UserError

EACH, MOST = 3, 100  # pictures that are looked at: of each kind of name in each folder, and of all


def check_photographs(root: Path, names: Sequence[str], folders: Sequence[Path]) -> None:
    """Check the pictures of a plain folder, given by their paths within it.

    UserError with the right path if they lie in one of the ``folders`` of a data set, such as
    ``leftImg8bit/val``, or if some of them are label maps.
    """
    places = [f"{root.resolve().as_posix()}/{name}" for name in names]
    for part in (f"/{folder.as_posix()}/" for folder in folders):
        for place in (place for place in places if part in place):
            remedy = f"give {place.rpartition(part)[0]}, and name single images in a list file"
            raise UserError(f"{root} is no plain folder, it has {place}\n  {remedy}")
    kinds: dict[tuple[str, ...], list[str]] = {}  # folder, words of the name, suffix -> pictures
    for path in map(PurePosixPath, names):
        kind = str(path.parent), re.sub(r"\d+", "", path.stem), path.suffix.lower()
        kinds.setdefault(kind, []).append(str(path))
    few = [(kind, name) for kind in kinds for name in kinds[kind][:EACH] if "jp" not in kind[2]]
    maps = {kind: name for kind, name in few[:MOST] if is_label_map(root / name)}
    if maps:
        remedy = "move them elsewhere, or name the photographs in a list file"
        if others := {kind[0] for kind in kinds if kind not in maps}:
            place = posixpath.commonpath(others)
            if not any(PurePosixPath(name).is_relative_to(place) for name in maps.values()):
                remedy = f"give the photographs' own folder, {root / place}"
        found = root / next(iter(maps.values()))
        raise UserError(f"{root} holds label maps, such as {found}\n  {remedy}")
