"""What separates the two domains: air, colors, lens and sensor, as in a game and a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from dataset.demo.canvas import SUPERSAMPLING, TRAIN_IDS, Canvas, smooth_noise
from dataset.demo.street import draw_street
from dataset.labels import IGNORE_LABEL, Color

GRAIN = {"road": 0.02, "sidewalk": 0.03, "building": 0.02, "wall": 0.06, "fence": 0.03}
GRAIN |= {"vegetation": 0.08, "terrain": 0.06}
"""Class name -> standard deviation of its texture, relative to the brightness."""


class Scene(NamedTuple):
    """A picture and its annotation: RGB, (H, W, 3) uint8, and train ids, (H, W) uint8."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """How the images of a domain look."""

    visibility: float  # meters after which haze leaves 37 % of a color
    haze: Color
    saturation: float  # factor on the difference from gray
    tint: tuple[float, float, float]  # factors on red, green and blue
    gamma: float  # above 1 darkens the middle tones
    texture: float = 1  # factor on GRAIN
    blur: float = 0  # standard deviation as a share of the width
    vignetting: float = 0  # loss of brightness in the corners
    noise: float = 0  # standard deviation, for brightness 0..1
    hood: float = 0  # share of the height that the camera's car hides, labeled as ignored


LOOKS = {
    "render": Look(500, (196, 220, 240), saturation=1.15, tint=(1.03, 1, 0.98), gamma=1),
    "camera": Look(
        50, (190, 204, 216), saturation=0.38, tint=(0.8, 0.94, 1.02), gamma=1.15,
        texture=2, blur=0.0022, vignetting=0.3, noise=0.02, hood=0.06,
    ),
}  # fmt: skip


def draw_hood(canvas: Canvas, share: float) -> None:
    """Cover the lower ``share`` of the height with the hood of the camera's car."""
    width, height = canvas.image.size
    outline = -0.1 * width, (1 - share) * height, 1.1 * width, 1.3 * height
    ImageDraw.Draw(canvas.image).ellipse(outline, (40, 44, 52), (96, 104, 112), SUPERSAMPLING)
    ImageDraw.Draw(canvas.labels).ellipse(outline, IGNORE_LABEL)
    ImageDraw.Draw(canvas.depth).ellipse(outline, 0)


def draw_scene(rng: np.random.Generator, size: tuple[int, int], domain: str) -> Scene:
    """Draw a scene of width and height ``size`` in the domain "render" or "camera".

    The same state of ``rng`` gives the same street in both. Labels are train ids, and
    `IGNORE_LABEL` on the hood of the camera's car.
    """
    canvas = Canvas(rng, size)
    draw_street(canvas)
    return photograph(canvas, size, LOOKS[domain])


def photograph(canvas: Canvas, size: tuple[int, int], look: Look) -> Scene:
    """Turn a drawing into a scene of width and height ``size``."""
    rng = canvas.rng
    if look.hood:
        draw_hood(canvas, look.hood)
    middle = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    labels = np.asarray(canvas.labels)[middle, middle].copy()

    clear = np.exp(-np.asarray(canvas.depth) / look.visibility)[..., None]  # (H, W, 1)
    image = clear * np.asarray(canvas.image) + (1 - clear) * np.array(look.haze, np.float32)
    image = cv2.resize(image / 255, size, interpolation=cv2.INTER_AREA)
    grain = np.zeros(256, np.float32)
    grain[[TRAIN_IDS[name] for name in GRAIN]] = list(GRAIN.values())
    texture = look.texture * grain[labels] * smooth_noise(rng, labels.shape, 16)
    image *= 1 + texture[..., None]
    if look.blur:
        image = cv2.GaussianBlur(image, (0, 0), look.blur * size[0])

    gray = image.mean(-1, keepdims=True)
    image = (gray + look.saturation * (image - gray)) * np.array(look.tint, np.float32)
    image = np.clip(image * rng.uniform(0.92, 1.06), 0, 1) ** look.gamma
    v, u = np.ogrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    image *= 1 - look.vignetting / 2 * (u**2 + v**2)[..., None].astype(np.float32)
    image += look.noise * rng.standard_normal(image.shape, np.float32) * (0.5 + image)
    return Scene(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), labels)
