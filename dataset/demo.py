"""Street scenes drawn by code, stored like the data sets, so that the project runs without data.

Both domains share one distribution of layouts (dataset/demo_street.py) and differ as a game and a
photograph do (dataset/demo_canvas.py).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.demo_canvas import TRAIN_IDS, Canvas, Scene, develop
from dataset.demo_street import draw_street
from dataset.labels import CITYSCAPES_IDS, CLASSES_19, SYNTHIA_IDS
from utils.errors import UserError

VERSION = 1  # raise it when the pictures change: older demos are then drawn again


def draw_scene(rng: np.random.Generator, size: tuple[int, int], domain: str) -> Scene:
    """Draw a scene of width and height ``size`` in the domain "render" or "camera".

    Where the labels name no class (the bonnet of the camera's car) they are ``IGNORE_LABEL``.
    """
    canvas = Canvas(rng, size, domain)
    draw_street(canvas)
    return develop(canvas, size)


class Split(NamedTuple):
    """Where a data set keeps image and labels number i, and how the demo draws and encodes them."""

    image: str
    labels: str
    domain: str
    ids: Mapping[str, int]
    first: int = 0


_IMAGE = "leftImg8bit/{split}/demo/demo_{{:06d}}_000019_leftImg8bit.png"
_LABELS = "gtFine/{split}/demo/demo_{{:06d}}_000019_gtFine_labelIds.png"
LAYOUTS: dict[str, list[Split]] = {
    "GTA5": [Split("images/{:05d}.png", "labels/{:05d}.png", "render", CITYSCAPES_IDS, 1)],
    "SYNTHIA": [Split("RGB/{:07d}.png", "GT/LABELS/{:07d}.png", "render", SYNTHIA_IDS)],
    "Cityscapes": [
        Split(_IMAGE.format(split=split), _LABELS.format(split=split), "camera", CITYSCAPES_IDS)
        for split in ("train", "val")
    ],
}


def _encode_labels(labels: NDArray[np.uint8], data_set: str, ids: Mapping[str, int]) -> bytes:
    """The PNG file that the data set would publish; what ``ids`` does not name becomes 0."""
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


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UserError(
            f"cannot write the demo's {path}: {error.strerror}\n"
            "  free space, or go to a folder that can be written to"
        ) from None


def _read_marker(marker: Path) -> dict[str, Any]:
    """What a data set's marker says; of one that cannot be read, that any image may be ours."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(marker.read_text())
        if isinstance(found, dict) and isinstance(found.get("count"), int):
            return found
    return {"count": sum(1 for _ in marker.parent.rglob("*.png"))}


def _write_data_set(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    """Draw a data set unless its marker says that it is there; remove its images beyond count."""
    data_set, marker = folder.name, folder / "demo.json"
    wanted = {"version": VERSION, "count": count, "size": list(size), "seed": seed, "whole": True}
    found = _read_marker(marker)
    if found == wanted:
        return
    if not marker.exists() and set(folder.glob("*")) - set(folder.glob(f"{marker.name}.*")):
        raise UserError(
            f"{folder} holds files that are not the demo's\n"
            "  give the demo a folder of its own, or move these files away"
        )
    # From here on the marker vouches for nothing, but says which files may be ours.
    most = max(count, found["count"])
    _replace(marker, json.dumps(wanted | {"count": most, "whole": False}).encode())
    for stream, (image, labels, domain, ids, first) in enumerate(LAYOUTS[data_set]):
        for i in range(most):
            paths = folder / image.format(i + first), folder / labels.format(i + first)
            if i >= count:
                for path in paths:
                    path.unlink(missing_ok=True)
                continue
            rng = np.random.default_rng((seed, list(LAYOUTS).index(data_set), stream, i))
            scene = draw_scene(rng, size, domain)
            _replace(paths[0], cv2.imencode(".png", scene.image[..., ::-1])[1].tobytes())
            _replace(paths[1], _encode_labels(scene.labels, data_set, ids))
    _replace(marker, json.dumps(wanted).encode())


def write_demo(
    root: Path,
    source: str,
    count_source: int = 60,
    count_target: int = 20,
    size: tuple[int, int] = (256, 128),
    seed: int = 0,
) -> None:
    """Draw a source data set and Cityscapes, in the folders and formats of the published ones.

    A data set that is there with these parameters stays as it is; with others it is drawn again.

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
