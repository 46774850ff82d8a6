"""Draw two small data sets with label ids and folders of their own.

    python -m examples.own_classes.draw data/own

The renderings have 16-bit label ids, as from a rendering engine with one id per material. The
photographs have other, fewer label ids, as from annotation by hand. classes.yaml in this folder
maps both to six classes, so that a network can adapt from the renderings to the photographs.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dataset.labels import CLASSES_19
from tools.demo import draw_scene
from utils.command_line import Parser

RENDERED = {
    "road": 1001, "sidewalk": 1002, "building": 1010, "wall": 1011, "fence": 1012,
    "vegetation": 1020, "terrain": 1021, "sky": 1030, "car": 1041, "truck": 1042, "bus": 1043,
    "train": 1044, "pole": 1050, "person": 1060,
}  # fmt: skip
ANNOTATED = {
    "road": 1, "sidewalk": 3, "building": 10, "wall": 10, "fence": 10, "vegetation": 20,
    "terrain": 20, "sky": 30, "car": 41, "truck": 42, "bus": 42, "train": 42, "person": 60,
}  # fmt: skip
"""Drawn class -> label id; all other drawn classes have the id 0."""


def write_scene(
    image: Path, label: Path, domain: str, ids: dict[str, int], size: tuple[int, int], seed: int
) -> None:
    """Draw a scene and write its image and label map.

    Args:
        image: where the image goes.
        label: where the label map goes: 8-bit, or 16-bit if an id is above 255.
        domain: "render" or "camera".
        ids: drawn class -> label id.
        size: width and height.
        seed: decides the scene.
    """
    picture, labels = draw_scene(np.random.default_rng(seed), size, domain)
    table = np.zeros(256, np.uint16 if max(ids.values()) > 255 else np.uint8)
    table[: CLASSES_19.num_classes] = [ids.get(name, 0) for name in CLASSES_19.names]
    for path, pixels in ((image, picture), (label, table[labels])):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def draw(root: Path, count: int = 60, size: tuple[int, int] = (256, 128)) -> None:
    """Write ``count`` renderings, and a third as many photographs for train and for val each."""
    for i in range(count):
        image, label = (root / "renders" / kind / f"{i:04d}.png" for kind in ("rgb", "ids"))
        write_scene(image, label, "render", RENDERED, size, i)
    for first, split in ((count, "train"), (2 * count, "val")):
        for i in range(max(1, count // 3)):
            photo = root / "photos" / split / f"{i:04d}_photo.jpg"
            label = root / "annotations" / split / f"{i:04d}_ids.png"
            write_scene(photo, label, "camera", ANNOTATED, size, first + i)


if __name__ == "__main__":
    parser = Parser("Draw two small data sets.")
    parser.add_argument("folder", type=Path, help="a new folder to draw them into")
    folder = parser.parse_args().folder
    if folder.exists():
        parser.exit(2, f"error: {folder} already exists\n  give a new folder, or remove it\n")
    draw(folder)
