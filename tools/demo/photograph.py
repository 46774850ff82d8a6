"""What separates the two domains: air, colors, lens and sensor, as in a game and a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset.labels import Color
from tools.demo.canvas import SUPERSAMPLING, Canvas
from tools.demo.street import draw_street


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
    blur: float  # standard deviation as a share of the width
    noise: float  # standard deviation, for brightness 0..1


LOOKS = {
    "render": Look(500, (196, 220, 240), 1.15, (1.03, 1, 0.98), gamma=1, blur=1e-4, noise=0.01),
    "camera": Look(50, (190, 204, 216), 0.45, (0.5, 0.74, 1.0), gamma=1.7, blur=0.0016, noise=0.02),
}


def draw_scene(rng: np.random.Generator, size: tuple[int, int], domain: str) -> Scene:
    """Draw a scene of width and height ``size`` in the domain "render" or "camera".

    The same state of ``rng`` gives the same street in both. Labels are train ids.
    """
    canvas, look = Canvas(rng, size), LOOKS[domain]
    draw_street(canvas)
    middle = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    labels = np.asarray(canvas.labels)[middle, middle].copy()

    clear = np.exp(-np.asarray(canvas.depth) / look.visibility)[..., None]  # (H, W, 1)
    image = clear * np.asarray(canvas.image) + (1 - clear) * np.array(look.haze, np.float32)
    image = cv2.resize(image / 255, size, interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), look.blur * size[0])
    gray = image.mean(-1, keepdims=True)
    image = (gray + look.saturation * (image - gray)) * np.array(look.tint, np.float32)
    image = np.clip(image * rng.uniform(0.92, 1.06), 0, 1) ** look.gamma
    image += look.noise * rng.standard_normal(image.shape, np.float32)
    return Scene(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), labels)
