"""An image and its label map, drawn in parallel through a pinhole camera, far things first.

World coordinates are metres: x to the right of the camera, y above the ground, z ahead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dataset.labels import CLASSES_19, IGNORE_LABEL, Color

SUPERSAMPLING = 3
DOMAINS = ("render", "camera")
UNIT_SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
TRAIN_IDS = {name: train_id for train_id, name in enumerate(CLASSES_19.names)}
Point = tuple[float, float, float]
Span = tuple[float, float]
Spans = tuple[Span, Span, Span]

# What sets the domains apart, as (render, camera); the other half is in PAINTS.
GAP: dict[str, tuple[float, float]] = {
    "sun": (0.25, 0.08),  # how far a wall's brightness moves towards or away from the light
    "shadow": (100, 60),  # opacity of cast shadows, 0..255
    "haze": (520, 190),  # metres after which haze makes 63 % of a color
    "glazing": (0.84, 0.46),  # share of a facade's width that is window
    "pitched": (0.15, 0.8),  # share of buildings with a pitched roof
    "clouds": (0.9, 0.3),
    "texture": (0.6, 1.0),
    "blur": (0.0, 0.0022),  # standard deviation as a share of the width
    "saturation": (1.1, 0.85),
    "red": (1.02, 0.97),
    "blue": (0.96, 0.96),
    "gamma": (1.0, 1.08),
    "vignetting": (0.0, 0.3),
    "noise": (0.0, 0.02),
    "bonnet": (0.0, 0.06),  # share of the height that the camera's own car hides
}

# Standard deviation of the grain, relative to the brightness.
GRAIN = {"road": 0.05, "sidewalk": 0.06, "building": 0.05, "wall": 0.12, "fence": 0.06}
GRAIN |= {"vegetation": 0.16, "terrain": 0.14}

# Colors by kind of thing, one of which is chosen for each thing; after a bar, those in "camera".
PAINTS = """
paint c8ccd0 22262c a01c20 24508c e8e8e6 7c848c 40464c 3c6e58 d0a040; glass 2c3a46; metal 70767c
coat b02c30 28487c e0d8c8 2c2c30 d8a030 4c7c5c 8c5c8c; trousers 2c3850 24242a 6c6250 485468
skin e0b090 c48c68 8c5c40 f0c8a8; hair 2c1c14 5c3c20 1c1c1c b89058; rubber 1c1c1e; dark 202424
coach d8a41c b8282c e4e0d4 2c6ca0; tram c82c28 e8c020 2c7858; cargo e8e6e0 d0d4d8 3c6898 c87c30
white f0f0ec; red cc2024; blue 2054a8; yellow f0c020; green 30c070; unlit 4c3c2c; amber f0a020
awning b83c34 2c6c54 2c4c80 d8b868; wood 8c6844 6c5c4c; trunk 5c4634; brick a88068 b4aca0 8c7468
sky 3c84dc | b4c6d4; haze c4dcf0 | dce0de; road 646468 | 66686a; kerb c8c0b0 | a4a4a0
sidewalk b0a69a | 8c8884; terrain 7ca840 | 788450; leaf 4c8c30 3c7c34 6c9838 | 4c5c34 5c6838 40502c
facade e0c098 d08860 a8bccc e8d8c0 b87058 90a8b0 | d0c0a0 b89878 a46c58 d8d4c8 989890 c8a878
roof 807468 a09488 | 8c5040 5c5450 744840; blind 587ca0 50708c | 586068 8c8c84
window 345c7c 2c5068 | 343c42 424a4e; frame d4e0e8 | e0ded8; centre ecb830 | dcdcd8; gloss 505862
cast 0c0e18
"""


def _parse_paints(column: int) -> dict[str, list[Color]]:
    paints = {}
    for entry in PAINTS.strip().replace("\n", ";").split(";"):
        kind, colors = entry.split(maxsplit=1)
        triplets = map(bytes.fromhex, colors.split("|")[column if "|" in colors else 0].split())
        paints[kind] = [(red, green, blue) for red, green, blue in triplets]
    return paints


class Scene(NamedTuple):
    """A picture and its annotation: RGB, (H, W, 3) uint8, and train ids, (H, W) uint8."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class Paint(NamedTuple):
    """What a shape is filled with; without a name the labels stay, with alpha 0 the image does."""

    color: Color
    name: str = ""
    shade: float = 1
    alpha: int = 255


class Face(NamedTuple):
    """A visible face of a box: lower left, lower right, upper right, upper left; and its light."""

    corners: tuple[Point, Point, Point, Point]
    shade: float


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], cells: int) -> NDArray[np.float32]:
    """Noise of mean 0 and standard deviation 1, (H, W); its coarsest octave has cells per H."""
    total = np.zeros(shape, np.float32)
    for octave in range(4):
        grid = [max(2, cells * 2**octave * side // shape[0]) for side in shape]
        coarse = rng.standard_normal(grid, np.float32)
        total += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.62**octave
    return np.asarray((total - total.mean()) / total.std())


class Canvas:
    """An image and its label map, drawn in parallel through one camera."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], domain: str) -> None:
        column = DOMAINS.index(domain)
        self.rng, self.paints = rng, _parse_paints(column)
        self.look = {key: pair[column] for key, pair in GAP.items()}
        self.width, self.height = (side * SUPERSAMPLING for side in size)
        self.focal = self.width * rng.uniform(0.72, 0.86)
        self.centre = self.width * rng.uniform(0.42, 0.58)
        self.horizon = self.height * rng.uniform(0.44, 0.52)
        self.eye = rng.uniform(1.7, 2.1)
        self.sun = int(rng.choice([-1, 1]))  # the side the light comes from
        self.visibility = self.look["haze"] * rng.uniform(0.8, 1.25)
        self.fog = self.paints["haze"][0]
        self.image = Image.fromarray(self._sky())
        self.labels = Image.new("L", self.image.size, TRAIN_IDS["sky"])
        self.pens = ImageDraw.Draw(self.image, "RGBA"), ImageDraw.Draw(self.labels)

    def _sky(self) -> NDArray[np.uint8]:
        shape = self.height // SUPERSAMPLING, self.width // SUPERSAMPLING
        share = np.clip(np.linspace(1.05, -0.95, shape[0]), 0, 1)[:, None, None] ** 0.7
        sky = share * self.paints["sky"][0] + (1 - share) * self.fog  # (H, 1, 3)
        puffs = smooth_noise(self.rng, shape, 3)[..., None]
        cover = self.look["clouds"] * np.clip(puffs * 0.7, 0, 1)
        sky = (sky * (1 - cover) + 250 * cover).astype(np.uint8)
        return np.asarray(cv2.resize(sky, (self.width, self.height)))

    def pick(self) -> dict[str, Color]:
        """Choose one color of each kind."""
        paints = zip(self.paints.items(), self.rng.random(len(self.paints)).tolist(), strict=True)
        return {kind: choices[int(len(choices) * draw)] for (kind, choices), draw in paints}

    def project(self, point: Point) -> tuple[float, float]:
        """Pixel of a point in the world."""
        scale = self.focal / point[2]
        return self.centre + scale * point[0], self.horizon + scale * (self.eye - point[1])

    def ink(self, paint: Paint, z: float) -> tuple[int, ...]:
        """The color under its light, seen through z metres of haze."""
        near = math.exp(-z / self.visibility)
        lit, far = near * paint.shade, 1 - near
        mixed = [lit * c + far * fog for c, fog in zip(paint.color, self.fog, strict=True)]
        return *[min(255, int(value)) for value in mixed], paint.alpha

    def polygon(self, points: Sequence[Point], paint: Paint) -> None:
        """Fill a polygon, whose first point counts for the haze."""
        pixels = [self.project(point) for point in points]
        if paint.alpha:
            self.pens[0].polygon(pixels, self.ink(paint, points[0][2]))
        if paint.name:
            self.pens[1].polygon(pixels, TRAIN_IDS[paint.name])

    def stroke(self, points: Sequence[Point], width: float, paint: Paint) -> None:
        """Draw a line with round ends; one point gives a disc."""
        pixels = [self.project(point) for point in points]
        thick = max(width * self.focal / points[0][2], 0.9 * SUPERSAMPLING)
        inks: list[tuple[int, ...] | int] = [self.ink(paint, points[0][2]), TRAIN_IDS[paint.name]]
        for pen, ink in zip(self.pens, inks, strict=True):
            if len(pixels) > 1:
                pen.line(pixels, ink, round(thick), joint="curve")
            for u, v in (pixels[0], pixels[-1])[: len(pixels)]:
                pen.ellipse((u - thick / 2, v - thick / 2, u + thick / 2, v + thick / 2), ink)

    def ground(self, x: Span, z: Span, paint: Paint) -> None:
        """Fill a rectangle of the ground, in slices for the haze."""
        edges = np.geomspace(*z, 2 + int(3 * math.log(z[1] / z[0]))).tolist()
        for near, far in itertools.pairwise(edges):
            corners = (x[0], 0, near), (x[1], 0, near), (x[1], 0, far), (x[0], 0, far)
            self.polygon(corners, paint)

    def shadow(self, x: Span, z: Span, height: float) -> None:
        """Darken the ground beside something that stands on it."""
        reach = -self.sun * 3 * self.look["sun"] * height
        x0, x1 = min(x) + min(0, reach), max(x) + max(0, reach)
        corners = (x0, 0, z[0]), (x1, 0, z[0]), (x1, 0, z[1]), (x0, 0, z[1])
        self.polygon(corners, Paint(self.paints["cast"][0], alpha=int(self.look["shadow"])))

    def box(self, spans: Spans, paint: Paint, taper: Point = (0, 0, 0)) -> dict[str, Face]:
        """Draw the visible faces of a box that tapers at its sides, near end and far end."""
        (x0, x1), (y0, y1), (z0, z1) = sorted(spans[0]), spans[1], spans[2]
        side, near, far = taper
        a, b, c, d = (x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)
        e, f = (x0 + side, y1, z0 + near), (x1 - side, y1, z0 + near)
        g, h = (x1 - side, y1, z1 - far), (x0 + side, y1, z1 - far)
        sun = self.look["sun"]
        faces = {"near": Face((a, b, f, e), 1 - 0.4 * sun)}
        if x0 > 0:
            faces["side"] = Face((a, d, h, e), 1 - sun * self.sun)
        if x1 < 0:
            faces["side"] = Face((b, c, g, f), 1 + sun * self.sun)
        if y1 < self.eye:
            faces["top"] = Face((e, f, g, h), 1 + 0.5 * sun)
        for face in faces.values():
            self.polygon(face.corners, paint._replace(shade=face.shade))
        return faces

    def panels(self, face: Face, outlines: NDArray[np.float64], color: Color) -> None:
        """Fill polygons in the image, given as shares u, v of the face: (N, K, 2)."""
        lower, *_, upper = face.corners
        if self.focal * (upper[1] - lower[1]) < 2 * SUPERSAMPLING * lower[2]:
            return  # a face two pixels high shows nothing of them
        corners = np.array([self.project(point) for point in face.corners], np.float32)
        warp = cv2.getPerspectiveTransform(UNIT_SQUARE, corners)
        pixels = cv2.perspectiveTransform(outlines, warp)  # (N, K, 2)
        pixels = pixels[(pixels.max(1) > 0).all(-1) & (pixels[..., 0].min(1) < self.width)]
        ink = self.ink(Paint(color, shade=face.shade), lower[2])
        for polygon in pixels.reshape(-1, 2 * pixels.shape[1]).tolist():  # (N, 2 K)
            self.pens[0].polygon(polygon, ink)


def surface(canvas: Canvas, labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Relative brightness of grain and paving joints, (H, W), that of the ground in perspective."""
    focal, scale = canvas.focal / SUPERSAMPLING, 1 / SUPERSAMPLING
    v, u = np.indices(labels.shape, np.float32)
    z = focal * canvas.eye / np.maximum(v - canvas.horizon * scale, 0.5)
    x = (u - canvas.centre * scale) * z / focal
    tile = smooth_noise(canvas.rng, (256, 256), 16)
    fade = np.minimum(1, 14 / z)  # far away the grain is finer than a pixel
    ground = tile[(z * 9).astype(int) % 256, (x * 14).astype(int) % 256] * fade
    flat = np.isin(labels, [TRAIN_IDS[name] for name in ("road", "sidewalk", "terrain")])
    grain = np.where(flat, ground, smooth_noise(canvas.rng, labels.shape, 16))
    amounts = np.zeros(256, np.float32)
    amounts[[TRAIN_IDS[name] for name in GRAIN]] = list(GRAIN.values())
    joints = ((x % 1.2 < 0.07) | (z % 1.2 < 0.1)) & (labels == TRAIN_IDS["sidewalk"])
    return np.asarray(1 + canvas.look["texture"] * grain * amounts[labels] - 0.14 * joints * fade)


def develop(canvas: Canvas, size: tuple[int, int]) -> Scene:
    """Turn the drawing into a picture: surfaces, the own car, lens, colors, sensor."""
    rng, look, (width, height) = canvas.rng, canvas.look, canvas.image.size
    if look["bonnet"]:
        bonnet = -0.1 * width, (1 - look["bonnet"]) * height, 1.1 * width, 1.3 * height
        canvas.pens[0].ellipse(bonnet, "#282c34", "#606870", SUPERSAMPLING)
        canvas.pens[1].ellipse(bonnet, IGNORE_LABEL)
    middle = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    labels = np.asarray(canvas.labels)[middle, middle].copy()
    image = cv2.resize(np.asarray(canvas.image), size, interpolation=cv2.INTER_AREA)
    image = image * (surface(canvas, labels) / 255)[..., None]
    if look["blur"]:
        image = cv2.GaussianBlur(image, (0, 0), look["blur"] * size[0])
    tint = np.array((look["red"], 1, look["blue"]), np.float32)
    gray = image.mean(-1, keepdims=True)
    image = (gray + look["saturation"] * (image - gray)) * tint
    image = np.clip(image * rng.uniform(0.92, 1.06), 0, 1) ** look["gamma"]
    v, u = np.ogrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    image *= 1 - look["vignetting"] / 2 * (u**2 + v**2)[..., None].astype(np.float32)
    image += look["noise"] * rng.standard_normal(image.shape, np.float32) * (0.5 + image)
    return Scene(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), labels)
