"""Draw two small domains, adapt a network from one to the other, and show what it gains.

    python -m tools.demo

The two data sets go to data/demo, the results to Snap/demo; those of an earlier demo are removed.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from dataset.labels import CITYSCAPES_IDS, CLASSES_19, SYNTHIA_IDS
from utils.command_line import Parser, Size
from utils.errors import exit_on_error
from utils.files import lock_folder

DATA, RUNS, ROOT = Path("data/demo"), Path("Snap/demo"), Path(__file__).parents[1]
VARIANTS = {"source_only": "--source_only", "sean": "--color_matching", "oracle": "--oracle"}
TRAINING = """SEAN_GTA5.py {option} --snapshot_dir Snap/demo/{name} \\
    --data_dir_source data/demo/GTA5 --data_dir_target data/demo/Cityscapes --target_split train \\
    --restore_from none --width 0.125 --input_size 192,96 --input_size_target 256,128 \\
    --batch_size 2 --learning_rate 1e-3 --lr_schedule poly --max_iters 700"""
EVALUATION = """evaluation.py --data_dir data/demo/Cityscapes --snapshot_dir Snap/demo/Maps \\
    --restore_from Snap/demo/sean/GTA_TeacherNet.pth --report --save_panels \\
    --compare Snap/demo/source_only/GTA_TeacherNet.pth"""
FILES = {  # images and label maps, as published
    "GTA5": ("images/{:05}.png", "labels/{:05}.png"),
    "SYNTHIA": ("RGB/{:07}.png", "GT/LABELS/{:07}.png"),
    "Cityscapes": ("leftImg8bit/{split}/demo/demo_{:06}_000019_leftImg8bit.png",
                   "gtFine/{split}/demo/demo_{:06}_000019_gtFine_labelIds.png"),
}  # fmt: skip
LOOKS: dict[str, Any] = {  # visibility in meters, haze, saturation, tint, gamma, noise
    "render": (500, (196, 220, 240), 1.15, (1.03, 1, 0.98), 1, 0.01),
    "camera": (40, (190, 204, 216), 0.45, (0.5, 0.74, 1), 1.6, 0.03),
}
CAMERA = {"focal": (0.72, 0.86), "center": (0.42, 0.58), "horizon": (0.44, 0.52), "eye": (1.7, 2.1)}
SCALE, SKY, END = 2, 400, 120  # scenes are drawn larger; meters to the sky, and of the street
DARK, METAL, WHITE, GLASS = (32, 36, 36), (112, 118, 124), (236, 236, 232), (58, 80, 100)
RED, YELLOW, GREEN, BLUE = (204, 32, 36), (240, 192, 32), (48, 168, 104), (40, 80, 144)
ROOF, BRICK, WOOD, TRUNK = (140, 76, 64), (150, 116, 130), (156, 112, 70), (92, 70, 52)
GRASS, ROAD, PAVED, CURB = (124, 168, 64), (98, 98, 104), (190, 172, 152), (212, 206, 198)
SKIN, LEAVES = (210, 160, 128), [(62, 118, 40), (84, 136, 46), (108, 170, 62)]
FACADES = [(224, 192, 152), (196, 128, 96), (170, 184, 196), (232, 216, 188)]
CARS, COATS = [RED, WHITE, BLUE, (60, 64, 72), (190, 170, 140)], [RED, YELLOW, GREEN, BLUE]
ZENITH, HORIZON, CLOUD = np.array([(64, 134, 220), (200, 220, 236), (250, 250, 250)])
# Class, after "/": parts with a color or a choice, a width, and points in meters: x to the right, y
# above the ground, z ahead. Points (x, y) are a line, one alone is a disc. Three (x, y, z) are a
# box: near left and far right below, near left above; with a width, panels that wide on its faces.
THINGS: dict[str, list[Any]] = {
    "pole": [(METAL, 0.14, (0, 0), (0, 2.4))],
    "lamp/pole": [(METAL, 0.18, (0, 0), (0, 6.2), (0.5, 6.8), (2, 7))],
    "sign": [(RED, 0.9, (0, 2.5)), (WHITE, 0.6, (0, 2.5))],
    "light": [(DARK, 0.6, (0, 2.6), (0, 3.4)), ([RED, GREEN], 0.38, (0, 3.2))],
    "person": [(DARK, 0.17, (-0.24, 0.08), (0, 0.86), (0.22, 0.08)),
               (COATS, 0.38, (0, 0.98), (0, 1.3)), (SKIN, 0.24, (0.02, 1.62))],
    "rider": [(DARK, 0.19, (-0.26, 0.96), (0.16, 0.78), (0.04, 0.36)), (WHITE, 0.27, (0.13, 1.73)),
              (COATS, 0.36, (-0.24, 1.06), (0.02, 1.44)), (COATS, 0.13, (0.04, 1.42), (0.4, 1.1))],
    "bicycle": [(DARK, 0.7, (-0.52, 0.35)), (DARK, 0.7, (0.52, 0.35)),
                (METAL, 0.5, (-0.52, 0.35)), (METAL, 0.5, (0.52, 0.35)),
                (COATS, 0.1, (-0.52, 0.35), (-0.2, 0.85), (0.38, 0.9), (0.52, 0.35))],
    "motorcycle": [(DARK, 0.66, (-0.68, 0.33)), (DARK, 0.66, (0.68, 0.33)),
                   (DARK, 0.4, (-0.7, 0.72), (0.2, 0.5)), (COATS, 0.3, (-0.1, 0.8), (0.7, 1))],
    "car": [(DARK, 0, (-0.9, 0, 0.4), (0.9, 0, 4), (-0.9, 0.6, 0.4)),
            (CARS, 0, (-0.9, 0.3, 0), (0.9, 0.3, 4.4), (-0.82, 0.95, 0.08)),
            (RED, 0.9, (-0.9, 0.45, 0), (0.9, 0.45, 0), (-0.9, 0.65, 0)),
            (CARS, 0, (-0.8, 0.95, 0.5), (0.8, 0.95, 3.6), (-0.55, 1.5, 0.75)),
            (GLASS, 3, (-0.77, 1.02, 0.53), (0.77, 1.02, 3.57), (-0.58, 1.43, 0.72))],
    "truck": [(CARS, 0, (-1.3, 0.1, 0), (1.3, 0.1, 7), (-1.2, 3.6, 0)),
              (METAL, 1.2, (-1.2, 1.3, 0), (1.2, 1.3, 0), (-1.2, 3.4, 0))],
    "bus": [([YELLOW, BLUE], 0, (-1.3, 0.1, 0), (1.3, 0.1, 11), (-1.2, 3.2, 0.1)),
            (GLASS, 2, (-1.3, 1.6, 0), (1.3, 1.6, 11), (-1.3, 2.6, 0))],
    "train": [([RED, GREEN], 0, (-1.3, 0.1, 0), (1.3, 0.1, 17), (-1.2, 3.2, 0.1)),
              (GLASS, 2, (-1.3, 1.6, 0), (1.3, 1.6, 17), (-1.3, 2.6, 0))],
    "vegetation": [(TRUNK, 0.3, (0, 0), (0, 4)), (LEAVES[0], 2.2, (-0.6, 4.2), (0.8, 4)),
                   (LEAVES[1], 1.8, (-0.5, 5), (0.6, 5.2)), (LEAVES[2], 1.4, (0.2, 6), (0.9, 5.6))],
    "wall": [(BRICK, 0, (0, 0, 0), (0.3, 0, 14), (0, 1.6, 0))],
    "fence": [(DARK, 0, (0, 0, 0), (0, 0, 14), (0, 1.6, 0)),
              (WOOD, 0.5, (0, 0, 0), (0, 0, 14), (0, 1.5, 0))],
    **{f"{n}/building": [
        (FACADES, 0, (0, 0, 0), (12, 0, 14), (0, 3 * n, 0)),
        *((GLASS, 2.7, (0, y, 0), (12, y, 14), (0, y + 1.8, 0)) for y in range(1, 3 * n, 3)),
        (ROOF, 0, (0, 3 * n, 0), (12, 3 * n, 14), (3, 3 * n + 2.5, 3)),
    ] for n in range(2, 7)},
}  # fmt: skip
LOTS = [*(f"{n}/building" for n in range(2, 7)), "vegetation wall", "vegetation fence"]


class Canvas:
    """Red, green, blue and depth of a scene, and its train ids; far things are drawn first."""

    def __init__(self, rng: np.random.Generator, size: Size) -> None:
        width, height = (SCALE * side for side in size)
        focal, center, horizon, self.eye = (rng.uniform(*span) for span in CAMERA.values())
        self.focal, self.center, self.horizon = focal * width, center * width, horizon * height
        rise, cloud = np.linspace(1, 0, 9)[:, None, None], rng.normal(0, 0.5, (9, 12, 1)).clip(0, 1)
        sky = ((rise * ZENITH + (1 - rise) * HORIZON) * (1 - cloud) + cloud * CLOUD).astype("f4")
        self.image = np.empty((height, width, 4), np.float32)
        self.image[..., :3] = cv2.resize(sky, (width, height), interpolation=cv2.INTER_CUBIC)
        self.labels = np.full((height, width), CLASSES_19.names.index("sky"), np.uint8)

    def draw(self, name: str, color: Any, points: Any, width: float = 0) -> None:
        """Fill a polygon, or draw a line with round ends, as far away as the first point."""
        (x, y, z), near = np.transpose(points), points[0][2]
        u, v = self.center + self.focal * x / z, self.horizon + self.focal * (self.eye - y) / z
        pixels = [(16 * np.stack((u, v), axis=1).clip(-1e5, 1e5)).astype(np.int32)]
        train_id = CLASSES_19.names.index(name.split("/")[-1])
        for layer, ink in ((self.image, (*color, near)), (self.labels, train_id)):
            if width:
                thick = round(max(width * self.focal / near, SCALE))
                cv2.polylines(layer, pixels, len(points) == 1, ink, thick, shift=4)
            else:
                cv2.fillPoly(layer, pixels, ink, shift=4)

    def box(self, name: str, color: Any, corners: Any, width: float = 0) -> None:
        """Draw the faces of a box that are seen, or a row of panels on each; see `THINGS`."""
        ((x0, y0, z0), (x1, _, z1), (x, y, z)), gap = corners, 0.15 * bool(width)
        t, h, d, x0, x1 = abs(x - x0), y - y0, z - z0, min(x0, x1), max(x0, x1)
        low = np.array([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)])
        high = np.add(low, [(t, h, d), (-t, h, d), (-t, h, -d), (t, h, -d)])
        if y < self.eye and not width:
            self.draw(name, np.multiply(color, 1.1), high)
        sides = [(0.93, 0, 1), (0.8, 0, 3) if x0 > 0 else (1.2, 1, 2)]
        for light, i, j in sides[: 1 + (x0 * x1 > 0)]:
            count = round(np.linalg.norm(low[j] - low[i]) / width) or 1 if width else 1
            for panel in range(count):
                ends = np.array([[panel + gap], [panel + 1 - gap]]) / count
                bottom, top = (row[i] + ends * (row[j] - row[i]) for row in (low, high))
                self.draw(name, np.multiply(color, light), [*bottom, *top[::-1]])

    def street(self, rng: np.random.Generator) -> None:
        """Draw the ground, then what lines the street, then what is on it."""
        left, right = -rng.uniform(7, 8.4), rng.uniform(3.6, 5)
        facades = left - rng.uniform(2.5, 4.5), right + rng.uniform(2.5, 4.5)
        strips = [  # class, color, left, right, near, far
            ("terrain", GRASS, -900, 900, 2, 4000), ("sidewalk", PAVED, *facades, 2, END),
            ("terrain", GRASS, right, right + 1.6, 2, END),
            ("sidewalk", CURB, left - .2, right + .2, 2, END), ("road", ROAD, left, right, 2, END),
            *(("road", YELLOW, -1.84, -1.68, z, z + 3.5) for z in range(3, 110, 7)),
        ]  # fmt: skip
        for name, color, x0, x1, z0, z1 in strips:
            self.draw(name, color, [(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)])
        below = np.maximum(np.arange(len(self.image)) - self.horizon, 0.01)[:, None]
        self.image[..., 3] = np.minimum(self.focal * self.eye / below, SKY)
        rows = [  # things, meters to the right, between two, to the last; the way they face
            (["car", "truck"], -0.3, (14, 40), 80, 1),
            (["car", "bus", "train"], -3.6, (20, 45), 80, 1),
            (["bicycle rider", "motorcycle rider"], right - 2.9, (8, 20), 26, 1),
        ]
        for curb, facade, side in zip((left, right), facades, (-1, 1), strict=True):
            edge, parked = curb + 0.6 * side, curb - 1.2 * side
            rows += [
                (LOTS, facade, (14, 14), END, side), (["car"], parked, (6, 18), 80, side),
                (["vegetation"], edge, (12, 30), 80, 1), (["lamp/pole"], edge, (22, 22), 80, -side),
                (["pole sign", "pole light"], edge, (7, 16), 36, 1),
                (["bicycle", "motorcycle"], edge, (8, 30), 30, side),
                (["person"], (curb + facade) / 2, (2, 12), 30, side),
            ]  # fmt: skip
        placed = []
        for things, x, gap, end, facing in rows:
            z = 2 if things is LOTS else rng.uniform(6, 6 + gap[1])
            while z < end:
                placed.append((things is LOTS, z, str(rng.choice(things)), x, facing))
                z += rng.uniform(*gap)
        for _, z, names, x, facing in sorted(placed, reverse=True):  # lots first, far things first
            choice, size = rng.integers(60), rng.uniform(0.85, 1.15)
            for name in names.split():
                for colors, width, *points in THINGS[name]:
                    color = colors[choice % len(colors)] if isinstance(colors, list) else colors
                    spots = [(x + facing * p[0], size * p[1], z + sum(p[2:])) for p in points]
                    (self.box if len(points[0]) == 3 else self.draw)(name, color, spots, width)


def draw_scene(rng: np.random.Generator, size: Size, domain: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw the domain "render" or "camera": RGB, (H, W, 3), and train ids, (H, W)."""
    canvas = Canvas(rng, size)
    canvas.street(rng)
    visibility, haze, saturation, tint, gamma, noise = LOOKS[domain]
    clear = np.exp(-canvas.image[..., 3:] / visibility)
    image = clear * canvas.image[..., :3] + (1 - clear) * np.float32(haze)
    image = cv2.resize(image / 255, size, interpolation=cv2.INTER_AREA)
    gray = image.mean(-1, keepdims=True)
    image = (gray + saturation * (image - gray)) * np.float32(tint)
    image = np.clip(image * rng.uniform(0.92, 1.06), 0, 1) ** gamma
    image += noise * rng.standard_normal(image.shape, np.float32)
    labels = canvas.labels[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]
    return (image * 255 + 0.5).clip(0, 255).astype(np.uint8), labels


def write_demo(folder: Path, kind: str, count_source: int, count_target: int, size: Size) -> None:
    """Draw a source, ``kind`` "gta5" or "synthia", and Cityscapes, stored as published."""
    sets = [(kind.upper(), "train", "render", count_source)]
    sets += [("Cityscapes", split, "camera", count_target) for split in ("train", "val")]
    for stream, (name, split, domain, count) in enumerate(sets):
        ids = SYNTHIA_IDS if name == "SYNTHIA" else CITYSCAPES_IDS
        table = np.array([ids.get(class_name, 0) for class_name in CLASSES_19.names], np.uint8)
        for i in range(count):
            image, labels = draw_scene(np.random.default_rng((stream, i)), size, domain)
            number = i + (name == "GTA5")
            paths = [folder / name / file.format(number, split=split) for file in FILES[name]]
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(paths[0])
            if name == "SYNTHIA":  # 16 bits, the ids in red, which OpenCV stores last
                cv2.imwrite(str(paths[1]), np.uint16(np.multiply.outer(table[labels], (0, 0, 1))))
            else:
                picture = Image.fromarray(table[labels])
                picture.convert("P" if name == "GTA5" else "L").save(paths[1])


@exit_on_error()
def main() -> None:
    """Draw, train three networks, compare two of them, and print what all have reached."""
    Parser(__doc__ or "").parse_args()
    commands = [TRAINING.format(name=name, option=VARIANTS[name]) for name in VARIANTS]
    os.environ["OMP_NUM_THREADS"] = "1"  # the same numbers whatever the number of cores
    with lock_folder(RUNS):
        for old in (DATA, *(RUNS / name for name in ("Maps", *VARIANTS))):
            shutil.rmtree(old, ignore_errors=True)
        write_demo(DATA, "gta5", 30, 60, (256, 128))
        for command in (*commands, EVALUATION):
            print(f"\n$ python {command}", flush=True)
            script, *words = shlex.split(command.replace("\\\n", ""))
            if status := subprocess.run([sys.executable, str(ROOT / script), *words]).returncode:
                sys.exit(status)
    for name in VARIANTS:
        records = map(json.loads, (RUNS / name / "metrics.jsonl").read_text().splitlines())
        *_, last = (record["target_miou"] for record in records if "target_miou" in record)
        print(f"{name:>12}: {100 * last:.1f} % target mIoU")
    print(f"report: {RUNS / 'Maps/report.html'}")


if __name__ == "__main__":
    main()
