"""Flat things: people, two-wheelers, signs, traffic lights and street lamps.

They stand at ``x`` and ``z``; ``facing`` -1 mirrors them, and values between show them at an angle.
"""

from __future__ import annotations

from dataset.demo.canvas import Canvas
from dataset.labels import Color

METAL, DARK, WHITE, UNLIT = (112, 118, 124), (32, 36, 36), (240, 240, 236), (76, 60, 44)
RED, BLUE, YELLOW, GREEN = (204, 32, 36), (32, 84, 168), (240, 192, 32), (48, 192, 112)
COATS = [(192, 44, 44), (40, 72, 144), (216, 160, 48), (224, 216, 200), (76, 124, 92)]
TROUSERS = [(44, 56, 80), (40, 40, 46), (108, 98, 80)]
SKINS = [(224, 176, 144), (196, 140, 104), (140, 92, 64)]
HAIRS = [(44, 28, 20), (92, 60, 32), (184, 144, 88)]


class Figure:
    """Draws flat shapes of one class, given by x and y in meters from the point where it stands."""

    def __init__(self, canvas: Canvas, name: str, x: float, z: float, facing: float = 1) -> None:
        self.canvas, self.name, self.x, self.z, self.facing = canvas, name, x, z, facing

    def stroke(self, width: float, color: Color, *points: tuple[float, float]) -> None:
        """Draw a line; a single point gives a disc."""
        placed = [(self.x + self.facing * x, y, self.z) for x, y in points]
        self.canvas.stroke(placed, width, color, self.name)

    def fill(self, color: Color, *points: tuple[float, float]) -> None:
        """Fill a polygon."""
        placed = [(self.x + self.facing * x, y, self.z) for x, y in points]
        self.canvas.polygon(placed, color, self.name)


def draw_person(canvas: Canvas, x: float, z: float, facing: float) -> None:
    """Draw a person who walks."""
    canvas.shadow((x - 0.2, x + 0.2), (z, z + 0.25), 1.7)
    person = Figure(canvas, "person", x, z, facing)
    coat, trousers = canvas.choose(COATS), canvas.choose(TROUSERS)
    person.stroke(0.17, trousers, (-0.02, 0.86), (0.12, 0.46), (0.22, 0.08))
    person.stroke(0.17, trousers, (-0.02, 0.86), (-0.05, 0.46), (-0.26, 0.1))
    person.stroke(0.11, DARK, (0.22, 0.05), (0.31, 0.05))
    person.stroke(0.11, DARK, (-0.26, 0.08), (-0.18, 0.05))
    person.stroke(0.36, coat, (0, 1.3), (0, 0.98))
    person.stroke(0.13, coat, (0.02, 1.38), (0.17, 1.12), (0.28, 0.98))
    person.stroke(0.26, canvas.choose(HAIRS), (0, 1.63))
    person.stroke(0.2, canvas.choose(SKINS), (0.03, 1.59))


def draw_rider(canvas: Canvas, x: float, z: float, facing: float) -> None:
    """Draw a rider with a helmet, to sit on a bicycle or a motorcycle."""
    rider, coat = Figure(canvas, "rider", x, z, facing), canvas.choose(COATS)
    rider.stroke(0.19, canvas.choose(TROUSERS), (-0.26, 0.96), (0.16, 0.78), (0.04, 0.36))
    rider.stroke(0.36, coat, (-0.24, 1.06), (0.02, 1.44))
    rider.stroke(0.13, coat, (0.04, 1.42), (0.24, 1.18), (0.4, 1.1))
    rider.stroke(0.2, canvas.choose(SKINS), (0.16, 1.68))
    rider.stroke(0.27, canvas.choose(COATS), (0.13, 1.75))


def draw_bicycle(canvas: Canvas, x: float, z: float, facing: float) -> None:
    """Draw a bicycle seen from the side."""
    canvas.shadow((x - 0.6, x + 0.6), (z, z + 0.25), 0.8)
    bicycle, paint = Figure(canvas, "bicycle", x, z, facing), canvas.choose(COATS)
    for wheel in ((-0.52, 0.35), (0.52, 0.35)):
        bicycle.stroke(0.7, DARK, wheel)
        bicycle.stroke(0.52, METAL, wheel)
    pedals, seat, handlebar = (-0.08, 0.32), (-0.2, 0.82), (0.4, 0.82)
    bicycle.stroke(0.09, paint, (-0.52, 0.35), pedals, handlebar, seat, (-0.52, 0.35))
    bicycle.stroke(0.09, paint, pedals, (-0.25, 0.95))
    bicycle.stroke(0.08, DARK, (0.52, 0.35), (0.38, 1.05), (0.48, 1.08))
    bicycle.stroke(0.14, DARK, (-0.36, 0.97), (-0.16, 0.97))


def draw_motorcycle(canvas: Canvas, x: float, z: float, facing: float) -> None:
    """Draw a motorcycle seen from the side."""
    canvas.shadow((x - 0.8, x + 0.8), (z, z + 0.25), 0.8)
    motorcycle, paint = Figure(canvas, "motorcycle", x, z, facing), canvas.choose(COATS)
    for wheel in ((-0.68, 0.32), (0.68, 0.32)):
        motorcycle.stroke(0.64, DARK, wheel)
        motorcycle.stroke(0.3, METAL, wheel)
    motorcycle.stroke(0.38, DARK, (-0.25, 0.44), (0.2, 0.46))
    motorcycle.stroke(0.3, paint, (-0.1, 0.78), (0.3, 0.82))
    motorcycle.stroke(0.16, DARK, (-0.8, 0.8), (-0.1, 0.82))
    motorcycle.stroke(0.1, METAL, (0.68, 0.32), (0.44, 1.08), (0.34, 1.14))
    motorcycle.stroke(0.2, YELLOW, (0.55, 0.87))


def draw_sign(canvas: Canvas, x: float, z: float) -> None:
    """Draw a traffic sign: a red disc, a triangle or a blue board."""
    canvas.stroke([(x, 0, z), (x, 2.4, z)], 0.12, METAL, "pole")
    sign, kind = Figure(canvas, "sign", x, z), canvas.choose(["disc", "triangle", "board"])
    if kind == "disc":
        sign.stroke(0.9, RED, (0, 2.5))
        sign.stroke(0.6, WHITE, (0, 2.5))
    elif kind == "triangle":
        sign.fill(RED, (-0.58, 2.9), (0.58, 2.9), (0, 1.9))
        sign.fill(WHITE, (-0.32, 2.74), (0.32, 2.74), (0, 2.2))
    else:
        sign.fill(WHITE, (-0.9, 2.2), (0.9, 2.2), (0.9, 3.2), (-0.9, 3.2))
        sign.fill(BLUE, (-0.82, 2.28), (0.82, 2.28), (0.82, 3.12), (-0.82, 3.12))
        sign.stroke(0.11, WHITE, (-0.6, 2.9), (0.5, 2.9))
        sign.stroke(0.11, WHITE, (-0.6, 2.55), (0.2, 2.55))


def draw_traffic_light(canvas: Canvas, x: float, z: float) -> None:
    """Draw a traffic light that shows red or green."""
    canvas.stroke([(x, 0, z), (x, 2.4, z)], 0.14, METAL, "pole")
    light = Figure(canvas, "light", x, z)
    light.fill(DARK, (-0.3, 2.3), (0.3, 2.3), (0.3, 3.8), (-0.3, 3.8))
    lamps = canvas.choose([(RED, UNLIT, UNLIT), (UNLIT, UNLIT, GREEN)])
    for lamp, y in zip(lamps, (3.5, 3.05, 2.6), strict=True):
        light.stroke(0.38, lamp, (0, y))


def draw_lamp(canvas: Canvas, x: float, z: float, facing: float) -> None:
    """Draw a street lamp that reaches over the road."""
    canvas.shadow((x - 0.1, x + 0.1), (z, z + 0.2), 6)
    lamp = Figure(canvas, "pole", x, z, facing)
    lamp.stroke(0.2, METAL, (0, 0), (0, 6.2))
    lamp.stroke(0.13, METAL, (0, 6.2), (0.5, 6.8), (1.6, 7))
    lamp.stroke(0.24, WHITE, (1.5, 7), (2.1, 7))
