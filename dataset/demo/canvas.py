"""An image, its label map and its depth, drawn in parallel through a pinhole camera.

World coordinates are meters: x to the right of the camera, y above the ground, z ahead. Draw what
is far before what is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dataset.labels import CLASSES_19, Color

SUPERSAMPLING = 3
SKY_DEPTH = 400.0  # meters of air between the camera and the sky
TRAIN_IDS = {name: train_id for train_id, name in enumerate(CLASSES_19.names)}
ZENITH, HORIZON, CLOUD = (64, 134, 220), (200, 220, 236), (250, 250, 250)

Choice = TypeVar("Choice")
Point = tuple[float, float, float]
Span = tuple[float, float]


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: int
) -> NDArray[np.float32]:
    """Return noise of mean 0 and deviation about 1, (H, W), with ``cells`` large spots per H."""
    noise = np.zeros(shape, np.float32)
    for octave in range(4):
        grid = [max(2, cells * 2**octave * side // shape[0]) for side in shape]
        coarse = rng.standard_normal(grid, np.float32)
        noise += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.62**octave
    return noise


class Face(NamedTuple):
    """A visible face of a box, and the factor that the sun puts on its color.

    The corners are lower left, lower right, upper right, upper left; of a side, left is near.
    """

    corners: tuple[Point, Point, Point, Point]
    light: float

    def at(self, u: float, v: float) -> Point:
        """Return the point at the shares ``u`` of the width and ``v`` of the height."""
        a, b, c, d = self.corners
        return _between(_between(a, b, u), _between(d, c, u), v)


class Canvas:
    """An image, its label map and its depth, larger than the scene by `SUPERSAMPLING`.

    Attributes:
        image: RGB.
        labels: train ids.
        depth: meters, 32-bit float.
        sun: the side the light comes from, -1 left or 1 right.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng = rng
        self.width, self.height = (side * SUPERSAMPLING for side in size)
        self.focal = self.width * rng.uniform(0.72, 0.86)
        self.center = self.width * rng.uniform(0.42, 0.58)
        self.horizon = self.height * rng.uniform(0.44, 0.52)
        self.eye = rng.uniform(1.7, 2.1)  # meters above the ground
        self.sun = int(rng.choice([-1, 1]))
        below = np.maximum(np.arange(self.height, dtype=np.float32) - self.horizon, 0.01)
        ground = np.minimum(self.focal * self.eye / below, SKY_DEPTH)
        self.depth = Image.fromarray(np.repeat(ground[:, None], self.width, axis=1))
        self.image = Image.fromarray(self._sky(size))
        self.labels = Image.new("L", self.image.size, TRAIN_IDS["sky"])
        self._image_pen = ImageDraw.Draw(self.image)
        self._shadow_pen = ImageDraw.Draw(self.image, "RGBA")
        self._label_pen = ImageDraw.Draw(self.labels)
        self._depth_pen = ImageDraw.Draw(self.depth)

    def _sky(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a blue sky with clouds, (H, W, 3)."""
        rise = np.clip(np.linspace(1, -1, size[1]), 0, 1)[:, None, None] ** 0.7
        clouds = np.clip(0.5 * smooth_noise(self.rng, size[::-1], 3), 0, 1)[..., None]
        sky = rise * ZENITH + (1 - rise) * HORIZON  # (H, 1, 3)
        sky = sky * (1 - clouds) + clouds * CLOUD
        return np.asarray(cv2.resize(sky.astype(np.uint8), (self.width, self.height)))

    def choose(self, options: Sequence[Choice]) -> Choice:
        """Return one of the options at random."""
        return options[int(self.rng.integers(len(options)))]

    def project(self, point: Point) -> tuple[float, float]:
        """Return the pixel of a point in the world."""
        scale = self.focal / point[2]
        return self.center + scale * point[0], self.horizon + scale * (self.eye - point[1])

    def polygon(
        self, points: Sequence[Point], color: Color, name: str = "", light: float = 1
    ) -> None:
        """Fill a polygon; without a class name the labels stay as they are."""
        pixels = [self.project(point) for point in points]
        self._image_pen.polygon(pixels, _lit(color, light))
        if name:
            self._label_pen.polygon(pixels, TRAIN_IDS[name])
            if any(y for _, y, _ in points):  # the ground's depth is there from the beginning
                self._depth_pen.polygon(pixels, points[0][2])

    def stroke(
        self, points: Sequence[Point], width: float, color: Color, name: str, light: float = 1
    ) -> None:
        """Draw a line with round ends; a single point gives a disc of diameter ``width``."""
        pixels = [self.project(point) for point in points]
        z = points[0][2]
        thick = max(width * self.focal / z, SUPERSAMPLING)
        pens = (self._image_pen, _lit(color, light)), (self._label_pen, TRAIN_IDS[name])
        for pen, ink in (*pens, (self._depth_pen, z)):
            pen.line(pixels, ink, round(thick), joint="curve")
            for u, v in (pixels[0], pixels[-1]):
                pen.ellipse((u - thick / 2, v - thick / 2, u + thick / 2, v + thick / 2), ink)

    def ground(self, x: Span, z: Span, color: Color, name: str = "") -> None:
        """Fill a rectangle of the ground."""
        self.polygon(_rectangle(x, z), color, name)

    def shadow(self, x: Span, z: Span, height: float) -> None:
        """Darken the ground under and next to something, away from the sun."""
        reach = -0.5 * self.sun * height
        corners = _rectangle((min(x) + min(0, reach), max(x) + max(0, reach)), z)
        self._shadow_pen.polygon([self.project(corner) for corner in corners], (12, 14, 24, 90))

    def box(
        self, x: Span, y: Span, z: Span, color: Color, name: str, taper: Span = (0, 0)
    ) -> tuple[Face, Face | None]:
        """Draw a box, and return its near face and the side that is visible, if one is.

        At the top it is narrower by ``taper``: meters at each side, and at the near and far end.
        """
        (x0, x1), (y0, y1), (z0, z1) = sorted(x), y, z
        side, end = taper
        a, b, c, d = (x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)
        e, f = (x0 + side, y1, z0 + end), (x1 - side, y1, z0 + end)
        g, h = (x1 - side, y1, z1 - end), (x0 + side, y1, z1 - end)
        near = Face((a, b, f, e), 0.93)
        left = Face((a, d, h, e), 1 - 0.2 * self.sun) if x0 > 0 else None
        right = Face((b, c, g, f), 1 + 0.2 * self.sun) if x1 < 0 else None
        top = Face((e, f, g, h), 1.1) if y1 < self.eye else None
        for face in (near, left, right, top):
            if face:
                self.polygon(face.corners, color, name, face.light)
        return near, left or right

    def panel(self, face: Face | None, u: Span, v: Span, color: Color) -> None:
        """Paint a rectangle, in shares of the width and height, onto a face if it is visible."""
        if face:
            corners = [face.at(u[i], v[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
            self.polygon(corners, color, light=face.light)

    def panels(
        self, face: Face | None, count: int, v: Span, color: Color, margin: float = 0.06
    ) -> None:
        """Paint ``count`` panels in a row; ``margin`` is the share left free on either side."""
        for i in range(count):
            self.panel(face, ((i + margin) / count, (i + 1 - margin) / count), v, color)


def _between(a: Point, b: Point, share: float) -> Point:
    """Return the point at ``share`` of the way from a to b."""
    x, y, z = (p + share * (q - p) for p, q in zip(a, b, strict=True))
    return x, y, z


def _rectangle(x: Span, z: Span) -> list[Point]:
    return [(x[0], 0, z[0]), (x[1], 0, z[0]), (x[1], 0, z[1]), (x[0], 0, z[1])]


def _lit(color: Color, light: float) -> Color:
    red, green, blue = (min(255, int(channel * light)) for channel in color)
    return red, green, blue
