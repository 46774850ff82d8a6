"""Write drawn scenes into the folders and files that the published data sets have."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.demo.canvas import TRAIN_IDS
from dataset.demo.photograph import draw_scene
from dataset.labels import CITYSCAPES_IDS, CLASSES_19, SYNTHIA_IDS
from utils.errors import UserError
from utils.files import whole_file

VERSION = 2  # raise it when the pictures change: older demos are then redrawn


class Split(NamedTuple):
    """Where the image and the label map number i are, and how they are drawn and encoded."""

    image: str
    labels: str
    domain: str
    ids: Mapping[str, int]
    first: int = 0

    def paths(self, folder: Path, i: int) -> tuple[Path, Path]:
        """Return the files of the image and the label map number ``i``."""
        number = i + self.first
        return folder / self.image.format(number), folder / self.labels.format(number)


def _cityscapes(split: str) -> Split:
    name = "demo/demo_{:06d}_000019"
    image = f"leftImg8bit/{split}/{name}_leftImg8bit.png"
    return Split(image, f"gtFine/{split}/{name}_gtFine_labelIds.png", "camera", CITYSCAPES_IDS)


DATA_SETS: dict[str, list[Split]] = {
    "GTA5": [Split("images/{:05d}.png", "labels/{:05d}.png", "render", CITYSCAPES_IDS, first=1)],
    "SYNTHIA": [Split("RGB/{:07d}.png", "GT/LABELS/{:07d}.png", "render", SYNTHIA_IDS)],
    "Cityscapes": [_cityscapes("train"), _cityscapes("val")],
}


def _encode_labels(labels: NDArray[np.uint8], data_set: str, ids: Mapping[str, int]) -> bytes:
    """Return the PNG file that the data set would publish; classes without an id become 0."""
    table = np.zeros(256, np.uint8)
    table[[TRAIN_IDS[name] for name in ids]] = list(ids.values())
    encoded = table[labels]
    if data_set == "SYNTHIA":
        _, instances = cv2.connectedComponents((encoded == ids["car"]).astype(np.uint8))
        channels = np.zeros_like(instances), instances, encoded  # OpenCV stores blue first
        return cv2.imencode(".png", np.stack(channels, -1).astype(np.uint16))[1].tobytes()
    image = Image.fromarray(encoded)
    if data_set == "GTA5":
        palette = np.zeros((256, 3), np.uint8)
        palette[list(ids.values())] = [CLASSES_19.colors[TRAIN_IDS[name]] for name in ids]
        image.putpalette(palette.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the demo's folder {path.parent}: {error.strerror}\n"
            "  go to a folder that can be written to"
        ) from None
    # Several processes may draw the same demo at the same time.
    with whole_file(path, path.with_name(f".{path.name}.{os.getpid()}")) as file:
        file.write(content)


def _remove_from(folder: Path, split: Split, count: int) -> None:
    """Remove the images and label maps from number ``count`` on, the last one first.

    In this order, a removal that was interrupted leaves no gap and can be finished later.
    """
    numbered = (split.paths(folder, i) for i in itertools.count(count))
    surplus = itertools.takewhile(lambda paths: any(path.exists() for path in paths), numbered)
    for path in itertools.chain(*reversed(list(surplus))):
        path.unlink(missing_ok=True)


def _write_data_set(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    """Draw a data set unless its marker file says that it is complete."""
    marker, number = folder / "demo.json", list(DATA_SETS).index(folder.name)
    values = {"version": VERSION, "count": count, "size": size, "seed": seed}
    complete = json.dumps(values).encode()
    if marker.exists():
        if marker.read_bytes() == complete:
            return
    elif any(not path.name.startswith(".") for path in folder.glob("*")):
        raise UserError(
            f"{folder} holds files that are not the demo's\n"
            "  give the demo a folder of its own, or move these files away"
        )
    _write(marker, b"{}\n")  # the folder is the demo's, but not complete
    for stream, split in enumerate(DATA_SETS[folder.name]):
        _remove_from(folder, split, count)
        for i in range(count):
            rng = np.random.default_rng((seed, number, stream, i))
            scene = draw_scene(rng, size, split.domain)
            image, labels = split.paths(folder, i)
            _write(image, cv2.imencode(".png", scene.image[..., ::-1])[1].tobytes())
            _write(labels, _encode_labels(scene.labels, folder.name, split.ids))
    _write(marker, complete)


def write_demo(
    root: Path,
    source: str,
    count_source: int = 60,
    count_target: int = 20,
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
