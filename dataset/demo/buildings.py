"""What lines the street: houses, gardens behind walls or fences, and trees."""

from __future__ import annotations

import numpy as np

from dataset.demo.canvas import Canvas, Face, Span
from dataset.labels import Color

FACADES = [
    (224, 192, 152), (196, 128, 96), (170, 184, 196), (232, 216, 188), (180, 108, 88),
    (208, 176, 112),
]  # fmt: skip
ROOFS, WINDOWS = [(140, 76, 64), (92, 84, 84)], [(58, 86, 112), (70, 78, 84), (48, 72, 84)]
AWNINGS = [(184, 60, 52), (44, 108, 84), (44, 76, 128), (216, 184, 104)]
GRASSES, LEAVES = [(124, 168, 64), (136, 160, 76)], [(76, 140, 48), (60, 116, 52), (108, 152, 56)]
BRICKS, WOOD = [(150, 116, 130), (128, 116, 142)], (156, 112, 70)
FRAME, SHOP, TRUNK, RAIL = (226, 226, 222), (54, 60, 68), (92, 70, 52), (52, 60, 66)


def draw_windows(
    canvas: Canvas, face: Face | None, storeys: int, columns: int, glass: Color
) -> None:
    """Paint rows of windows with frames above the ground floor."""
    for storey in range(1, storeys):
        for margin, color in ((0.17, FRAME), (0.22, glass)):
            v = (storey + margin) / storeys, (storey + 1 - margin) / storeys
            canvas.panels(face, columns, v, color, margin)


def draw_building(canvas: Canvas, x: Span, z: Span) -> None:
    """Draw a house, with or without a shop and a pitched roof; the facade stands at ``x[0]``."""
    storeys = int(canvas.rng.integers(2, 7))
    height = 3.1 * storeys
    facade, glass, awning = (canvas.choose(colors) for colors in (FACADES, WINDOWS, AWNINGS))
    has_shop, has_roof = canvas.rng.random(2) < (0.6, 0.5)
    canvas.shadow(x, z, height)
    near, side = canvas.box(x, (0, height), z, facade, "building")
    for face, meters in ((near, abs(x[1] - x[0])), (side, z[1] - z[0])):
        draw_windows(canvas, face, storeys, round(meters / 2.7), glass)
        if has_shop:
            canvas.panel(face, (0.05, 0.95), (0.01, 0.6 / storeys), SHOP)
            canvas.panel(face, (0.03, 0.97), (0.62 / storeys, 0.86 / storeys), awning)
        canvas.panel(face, (0, 1), (1 - 0.4 / height, 1), FRAME)
    if has_roof:
        canvas.box(x, (height, height + 3), z, canvas.choose(ROOFS), "building", (3, 0))


def draw_garden(canvas: Canvas, x: Span, z: Span) -> None:
    """Draw grass and trees behind a wall or a fence of planks, which stands at ``x[0]``."""
    canvas.ground(x, z, canvas.choose(GRASSES), "terrain")
    for tree_z in sorted(canvas.rng.uniform(z[0] + 1, z[1] - 1, 2).tolist(), reverse=True):
        draw_tree(canvas, x[0] + canvas.rng.uniform(0.3, 0.8) * (x[1] - x[0]), tree_z)
    x, y = (x[0], x[0] + 0.02 * (x[1] - x[0])), (0, canvas.rng.uniform(1.3, 2.3))
    if canvas.rng.random() < 0.5:
        for face in canvas.box(x, y, z, canvas.choose(BRICKS), "wall"):
            canvas.panel(face, (0, 1), (0.88, 1), FRAME)
    else:
        near, side = canvas.box(x, y, z, RAIL, "fence")
        canvas.panel(near, (0, 1), (0.05, 1), WOOD)
        canvas.panels(side, round(2 * (z[1] - z[0])), (0.05, 1), WOOD, margin=0.15)


def draw_tree(canvas: Canvas, x: float, z: float, scale: float = 1) -> None:
    """Draw a trunk and a crown of clumps of leaves, brighter above and towards the sun."""
    height, leaf = scale * canvas.rng.uniform(4.5, 8), canvas.choose(LEAVES)
    radius, middle = 0.3 * height, 0.66 * height
    canvas.shadow((x - radius / 2, x + radius / 2), (z, z + radius / 2), height / 2)
    canvas.stroke([(x, 0, z), (x, middle, z)], 0.06 * height, TRUNK, "vegetation")
    count = int(np.clip(500 / z, 8, 50))
    clumps = canvas.rng.normal(0, 0.4, (count, 2)).clip(-0.9, 0.9)  # (count, 2)
    light = 0.95 + 0.28 * (clumps @ (0.6 * canvas.sun, 1)) + canvas.rng.normal(0, 0.06, count)
    for i in np.argsort(light).tolist():
        center = x + radius * clumps[i, 0].item(), middle + 1.1 * radius * clumps[i, 1].item(), z
        width = radius * canvas.rng.uniform(0.4, 0.75)
        canvas.stroke([center], width, leaf, "vegetation", light[i].item())
