"""Write drawn scenes into the folders and files that the published data sets have."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.labels import CITYSCAPES_IDS, CLASSES_19, SYNTHIA_IDS
from tools.demo.canvas import TRAIN_IDS
from tools.demo.photograph import draw_scene
from utils.errors import UserError
from utils.files import read_input, whole_file

VERSION = 3  # raise it when the pictures change: older demos are then redrawn


class Split(NamedTuple):
    """The files of images and label maps; ``{}`` stands for a number, from ``first`` on."""

    image: str
    labels: str
    digits: int
    first: int = 0


DATA_SETS = {
    "GTA5": [Split("images/{}.png", "labels/{}.png", digits=5, first=1)],
    "SYNTHIA": [Split("RGB/{}.png", "GT/LABELS/{}.png", digits=7)],
    "Cityscapes": [
        Split(
            f"leftImg8bit/{split}/demo/demo_{{}}_000019_leftImg8bit.png",
            f"gtFine/{split}/demo/demo_{{}}_000019_gtFine_labelIds.png",
            digits=6,
        )
        for split in ("train", "val")
    ],
}


def _encode_labels(labels: NDArray[np.uint8], data_set: str) -> bytes:
    """Return the PNG file that the data set would publish; classes without an id become 0."""
    ids = SYNTHIA_IDS if data_set == "SYNTHIA" else CITYSCAPES_IDS
    table = np.zeros(256, np.uint8)
    table[[TRAIN_IDS[name] for name in ids]] = list(ids.values())
    encoded = table[labels]
    if data_set == "GTA5":
        palette = np.zeros((256, 3), np.uint8)
        palette[list(ids.values())] = CLASSES_19.colors
        image, stream = Image.fromarray(encoded), io.BytesIO()
        image.putpalette(palette.tobytes())
        image.save(stream, "PNG")
        return stream.getvalue()
    if data_set == "SYNTHIA":  # 16 bits: ids in red, instances in green; OpenCV stores blue first
        _, instances = cv2.connectedComponents((encoded == ids["car"]).astype(np.uint8))
        encoded = np.stack((0 * encoded, instances, encoded), axis=-1).astype(np.uint16)
    return cv2.imencode(".png", encoded)[1].tobytes()


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the demo's folder {path.parent}: {error.strerror}\n"
            "  go to a folder that can be written to"
        ) from None
    with whole_file(path) as file:  # several processes may draw the same demo at the same time
        file.write(content)


def _is_the_demos(folder: Path, marker: bytes | None) -> bool:
    """Return whether files in a folder may be replaced, by the content of its marker file."""
    if marker is None:
        return all(path.name.startswith(".") for path in folder.glob("*"))
    try:
        values = json.loads(marker)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and set(values) in (set(), {"version", "count", "size", "seed"})


def _read_marker(path: Path) -> bytes | None:
    """Return the content of a marker file; None if there is none."""
    try:
        return read_input(path, 1000)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}\n"
            "  the demo keeps notes there: move it away, or go to another folder"
        ) from None


def _write_data_set(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    """Draw a data set unless its marker file says that it is complete."""
    marker, number = folder / "demo.json", list(DATA_SETS).index(folder.name)
    values = {"version": VERSION, "count": count, "size": size, "seed": seed}
    complete = json.dumps(values).encode()
    found = _read_marker(marker)
    if found == complete:
        return
    if not _is_the_demos(folder, found):
        raise UserError(
            f"{folder} holds files that are not the demo's\n"
            "  give the demo a folder of its own, or move these files away"
        )
    _write(marker, b"{}\n")  # the folder is the demo's, but not complete
    domain = "camera" if folder.name == "Cityscapes" else "render"
    for stream, split in enumerate(DATA_SETS[folder.name]):
        written = set()
        for i in range(count):
            scene = draw_scene(np.random.default_rng((seed, number, stream, i)), size, domain)
            stem = f"{i + split.first:0{split.digits}}"
            image, labels = folder / split.image.format(stem), folder / split.labels.format(stem)
            _write(image, cv2.imencode(".png", scene.image[..., ::-1])[1].tobytes())
            _write(labels, _encode_labels(scene.labels, folder.name))
            written |= {image, labels}
        for name in (split.image, split.labels):  # remove what a larger demo left
            for path in set(folder.glob(name.format("[0-9]" * split.digits))) - written:
                path.unlink(missing_ok=True)
    _write(marker, complete)


def write_demo(
    root: Path,
    source: str,
    count_source: int = 60,
    count_target: int = 40,
    size: tuple[int, int] = (256, 128),
    seed: int = 0,
) -> None:
    """Draw a source data set and Cityscapes, in the folders and formats of the published ones.

    A data set that is there with these parameters stays as it is; with others it is redrawn.

    Args:
        root: the folder for GTA5 or SYNTHIA and for Cityscapes.
        source: "gta5" or "synthia", drawn in the domain "render"; the target is "camera".
        count_source: number of source images.
        count_target: number of target images in train, and again in val.
        size: width and height in pixels.
        seed: image i depends on the seed and on i alone.

    Raises:
        UserError: a folder holds files that this function did not write, or cannot be written to.
    """
    assert source in ("gta5", "synthia"), source
    _write_data_set(root / source.upper(), count_source, size, seed)
    _write_data_set(root / "Cityscapes", count_target, size, seed)
