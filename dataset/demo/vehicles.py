"""Cars, trucks, buses and trams, as boxes; the end nearer to the camera stands at ``z``."""

from __future__ import annotations

import math

from dataset.demo.canvas import Canvas, Face, Span
from dataset.demo.figures import DARK, METAL, RED, WHITE, YELLOW
from dataset.labels import Color

GLASS, SHINE = (44, 58, 70), (86, 100, 112)
CAR_PAINTS = [
    (200, 204, 208), (40, 44, 52), (168, 36, 36), (36, 80, 144), (232, 232, 228), (60, 110, 88),
    (208, 160, 64),
]  # fmt: skip
BUS_PAINTS = [(216, 164, 28), (228, 224, 212), (44, 108, 160)]
TRAIN_PAINTS = [(200, 44, 40), (232, 200, 32), (44, 120, 88)]
CARGO_PAINTS = [(232, 230, 224), (60, 104, 152), (200, 124, 48), (150, 160, 168)]


def draw_wheel(canvas: Canvas, side: Face | None, name: str, radius: float, axle: float) -> None:
    """Draw a wheel on the side of a vehicle, ``axle`` meters from its near end."""
    if side is None:
        return
    x, _, z = side.corners[0]
    for size, color in ((radius, DARK), (0.55 * radius, METAL)):
        turns = [math.tau * step / 12 for step in range(12)]
        rim = [(size * math.cos(turn), size * math.sin(turn)) for turn in turns]
        canvas.polygon([(x, radius + dy, z + axle + dz) for dz, dy in rim], color, name)


def draw_windows(canvas: Canvas, face: Face | None, count: int, v: Span) -> None:
    """Paint windows next to each other, with a reflection in their upper half."""
    canvas.panels(face, count, v, GLASS)
    canvas.panels(face, count, (sum(v) / 2, v[1]), SHINE)


def draw_lights(canvas: Canvas, face: Face, oncoming: bool, v: Span) -> None:
    """Paint two lights: white at the front, red at the back."""
    color = WHITE if oncoming else RED
    canvas.panel(face, (0.03, 0.2), v, color)
    canvas.panel(face, (0.8, 0.97), v, color)


def draw_car(canvas: Canvas, x: float, z: float, oncoming: bool = False) -> None:
    """Draw a car: a cabin on a body."""
    paint, length = canvas.choose(CAR_PAINTS), canvas.rng.uniform(4.0, 4.7)
    canvas.shadow((x - 0.9, x + 0.9), (z, z + length), 1.3)
    canvas.box((x - 0.8, x + 0.8), (0.05, 0.4), (z + 0.3, z + length), DARK, "car")
    ends = z, z + length
    near, side = canvas.box((x - 0.9, x + 0.9), (0.3, 0.95), ends, paint, "car", (0.06, 0.08))
    draw_wheel(canvas, side, "car", 0.33, 0.85)
    draw_wheel(canvas, side, "car", 0.33, length - 0.9)
    draw_lights(canvas, near, oncoming, (0.5, 0.8))
    canvas.panel(near, (0, 1), (0, 0.2), DARK)
    canvas.panel(near, (0.38, 0.62), (0.28, 0.48), WHITE)
    ends = z + 0.45, z + length - 1
    near, side = canvas.box((x - 0.82, x + 0.82), (0.95, 1.5), ends, paint, "car", (0.2, 0.5))
    draw_windows(canvas, near, 1, (0.12, 0.88))
    draw_windows(canvas, side, 2, (0.14, 0.86))


def draw_truck(canvas: Canvas, x: float, z: float) -> None:
    """Draw a truck seen from behind: a cargo box, and the cab in front of it."""
    cab_paint, cargo_paint = canvas.choose(CAR_PAINTS), canvas.choose(CARGO_PAINTS)
    canvas.shadow((x - 1.2, x + 1.2), (z, z + 8.2), 3)
    ends = z + 6.2, z + 8.2
    _, side = canvas.box((x - 1.2, x + 1.2), (0.4, 2.9), ends, cab_paint, "truck", (0.06, 0.15))
    draw_wheel(canvas, side, "truck", 0.5, 1)
    draw_windows(canvas, side, 1, (0.5, 0.88))
    canvas.box((x - 1.1, x + 1.1), (0.1, 0.8), (z + 0.3, z + 6), DARK, "truck")
    near, side = canvas.box((x - 1.25, x + 1.25), (0.7, 3.6), (z, z + 6), cargo_paint, "truck")
    draw_wheel(canvas, side, "truck", 0.5, 1.2)
    draw_lights(canvas, near, False, (0.03, 0.1))
    canvas.panel(near, (0.49, 0.51), (0.03, 1), DARK)


def draw_coach(
    canvas: Canvas, x: float, z: float, oncoming: bool, name: str, length: float, paint: Color
) -> Face | None:
    """Draw a long box with a row of windows, and return its side if it is visible."""
    ends = z, z + length
    canvas.shadow((x - 1.3, x + 1.3), ends, 3)
    canvas.box((x - 1.1, x + 1.1), (0.05, 0.5), (z + 0.3, z + length), DARK, name)
    near, side = canvas.box((x - 1.3, x + 1.3), (0.3, 3.2), ends, paint, name, (0.08, 0.1))
    draw_windows(canvas, near, 1, (0.42, 0.8))
    draw_windows(canvas, side, round(length / 2), (0.45, 0.82))
    draw_lights(canvas, near, oncoming, (0.12, 0.22))
    canvas.panel(near, (0, 1), (0, 0.08), DARK)
    canvas.panel(near, (0.25, 0.75), (0.86, 0.96), YELLOW)
    return side


def draw_bus(canvas: Canvas, x: float, z: float, oncoming: bool = False) -> None:
    """Draw a bus: a coach with wheels."""
    side = draw_coach(canvas, x, z, oncoming, "bus", 11, canvas.choose(BUS_PAINTS))
    draw_wheel(canvas, side, "bus", 0.5, 2)
    draw_wheel(canvas, side, "bus", 0.5, 9)


def draw_train(canvas: Canvas, x: float, z: float, oncoming: bool) -> None:
    """Draw a tram: a long coach with a white stripe and a pantograph."""
    side = draw_coach(canvas, x, z, oncoming, "train", 24, canvas.choose(TRAIN_PAINTS))
    canvas.panel(side, (0, 1), (0.3, 0.38), WHITE)
    arm = (x - 0.5, 3.2, z + 3), (x + 0.3, 3.8, z + 3), (x - 0.3, 4.3, z + 3)
    canvas.stroke(arm, 0.1, METAL, "train")
