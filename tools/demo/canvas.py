"""An image, its label map and its depth, drawn in parallel through a pinhole camera.

World coordinates are meters: x to the right of the camera, y above the ground, z ahead. Draw what
is far before what is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from dataset.labels import CLASSES_19, Color

SUPERSAMPLING = 3
SKY_DEPTH = 400.0  # meters of air between the camera and the sky
TRAIN_IDS = {name: train_id for train_id, name in enumerate(CLASSES_19.names)}
ZENITH, HORIZON, CLOUD = np.array([(64, 134, 220), (200, 220, 236), (250, 250, 250)])

Choice = TypeVar("Choice")
Span = tuple[float, float]


class Spot(NamedTuple):
    """Where a thing stands, and 1 or -1 for the way it faces."""

    x: float
    z: float
    facing: float = 1


class Face(NamedTuple):
    """A visible face of a box: corners (4, 3) from the lower left, and the light on its color."""

    corners: NDArray[np.float64]
    light: float


class Canvas:
    """An image (RGB), its label map (train ids) and its depth (meters), and tools to draw them.

    All are larger than the scene by `SUPERSAMPLING`.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng = rng
        width, height = (side * SUPERSAMPLING for side in size)
        self.focal = width * rng.uniform(0.72, 0.86)
        self.center = width * rng.uniform(0.42, 0.58)
        self.horizon = height * rng.uniform(0.44, 0.52)
        self.eye = rng.uniform(1.7, 2.1)  # meters above the ground
        rise = np.linspace(1, 0, 9)[:, None, None]
        clouds = np.clip(0.5 * rng.standard_normal((9, 12, 1)), 0, 1)
        sky = (rise * ZENITH + (1 - rise) * HORIZON) * (1 - clouds) + clouds * CLOUD  # (9, 12, 3)
        sky = cv2.resize(sky.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        below = np.maximum(np.arange(height, dtype=np.float32) - self.horizon, 0.01)
        depth = np.minimum(self.focal * self.eye / below, SKY_DEPTH)
        self.image = Image.fromarray(np.asarray(sky))
        self.labels = Image.new("L", (width, height), TRAIN_IDS["sky"])
        self.depth = Image.fromarray(np.repeat(depth[:, None], width, axis=1))
        self._image_pen = ImageDraw.Draw(self.image, "RGBA")
        self._label_pen, self._depth_pen = ImageDraw.Draw(self.labels), ImageDraw.Draw(self.depth)

    def choose(self, options: Sequence[Choice]) -> Choice:
        """Return one of the options at random."""
        return options[int(self.rng.integers(len(options)))]

    def project(self, points: ArrayLike) -> list[float]:
        """Return the pixels u0, v0, u1, v1, ... of points in the world, (n, 3)."""
        x, y, z = np.asarray(points, float).T
        u, v = self.center + self.focal * x / z, self.horizon + self.focal * (self.eye - y) / z
        return np.stack((u, v), axis=1).ravel().tolist()

    def ground(self, x: Span, z: Span, color: tuple[int, ...], name: str = "") -> None:
        """Fill a rectangle of the ground; without a class name the labels stay as they are."""
        pixels = self.project([(x[i], 0, z[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))])
        self._image_pen.polygon(pixels, color)
        if name:
            self._label_pen.polygon(pixels, TRAIN_IDS[name])

    def stroke(
        self, spot: Spot, name: str, width: float, color: Color, *points: tuple[float, float]
    ) -> None:
        """Draw a line through x and y from ``spot``; a single point gives a disc."""
        pixels = self.project([(spot.x + spot.facing * x, y, spot.z) for x, y in points])
        thick = max(width * self.focal / spot.z, SUPERSAMPLING)
        pens = (self._image_pen, color), (self._label_pen, TRAIN_IDS[name])
        for pen, ink in (*pens, (self._depth_pen, spot.z)):
            pen.line(pixels, ink, round(thick), joint="curve")
            for u, v in (pixels[:2], pixels[-2:]):
                pen.ellipse((u - thick / 2, v - thick / 2, u + thick / 2, v + thick / 2), ink)

    def box(
        self, x: Span, y: Span, z: Span, color: Color, name: str, taper: float = 0
    ) -> list[Face]:
        """Draw a box, by ``taper`` meters narrower above; return its near and its visible side."""
        (x0, x1), (y0, y1), (z0, z1), t = sorted(x), y, z, taper
        a, b, c, d = (x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)
        e, f = (x0 + t, y1, z0 + t), (x1 - t, y1, z0 + t)
        g, h = (x1 - t, y1, z1 - t), (x0 + t, y1, z1 - t)
        faces = [Face(np.array((a, b, f, e)), 0.93)]
        if x0 > 0:
            faces.append(Face(np.array((a, d, h, e)), 0.8))
        if x1 < 0:
            faces.append(Face(np.array((b, c, g, f)), 1.2))
        top = Face(np.array((e, f, g, h)), 1.1)
        for corners, light in (*faces, top) if y1 < self.eye else faces:
            pixels = self.project(corners)
            self._image_pen.polygon(pixels, lit(color, light))
            self._label_pen.polygon(pixels, TRAIN_IDS[name])
            self._depth_pen.polygon(pixels, z0)
        return faces

    def panels(self, face: Face, count: int, v: Span, color: Color, margin: float = 0.06) -> None:
        """Paint ``count`` panels in a row, from ``v[0]`` to ``v[1]`` of the height of a face."""
        for i in range(count):
            left, right = (i + margin) / count, (i + 1 - margin) / count
            shares = (left, v[0]), (right, v[0]), (right, v[1]), (left, v[1])
            weights = [((1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t) for s, t in shares]
            self._image_pen.polygon(self.project(weights @ face.corners), lit(color, face.light))


def lit(color: Color, light: float) -> Color:
    """Return a color made brighter or darker by the factor ``light``."""
    red, green, blue = (min(255, int(channel * light)) for channel in color)
    return red, green, blue
