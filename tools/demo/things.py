"""The things in a street: what lines it, what stands on the sidewalk, and what drives.

Vehicles that face 1 drive away from the camera, those that face -1 come towards it.
"""

from __future__ import annotations

import math

import numpy as np

from dataset.labels import Color
from tools.demo.canvas import Canvas, Face, Span, Spot, lit

SHADOW = (12, 14, 24, 90)
DARK, METAL, WHITE, GLASS = (32, 36, 36), (112, 118, 124), (236, 236, 232), (58, 80, 100)
RED, YELLOW, GREEN, BLUE = (204, 32, 36), (240, 192, 32), (48, 168, 104), (40, 80, 144)
FACADES = [(224, 192, 152), (196, 128, 96), (170, 184, 196), (232, 216, 188)]
ROOF, BRICK, WOOD, TRUNK = (140, 76, 64), (150, 116, 130), (156, 112, 70), (92, 70, 52)
GRASS, LEAVES, SKIN = (124, 168, 64), [(76, 140, 48), (100, 152, 56)], (210, 160, 128)
COATS, PAINTS = [RED, YELLOW, GREEN, BLUE], [RED, WHITE, BLUE, (60, 64, 72), (190, 170, 140)]


def draw_house(canvas: Canvas, x: Span, z: Span) -> None:
    """Draw a house with a shop and rows of windows; the facade stands at ``x[0]``."""
    storeys = int(canvas.rng.integers(2, 7))
    height = 3.1 * storeys
    canvas.ground((min(x) - height / 2, max(x)), z, SHADOW)
    for face in canvas.box(x, (0, height), z, canvas.choose(FACADES), "building"):
        columns = round(math.dist(*face.corners[:2]) / 2.7)
        canvas.panels(face, 1, (0.01, 0.7 / storeys), GLASS)
        for storey in range(1, storeys):
            rows = (storey + 0.2) / storeys, (storey + 0.8) / storeys
            canvas.panels(face, columns, rows, GLASS, margin=0.2)
    canvas.box(x, (height, height + 2.5), z, ROOF, "building", taper=3)


def draw_garden(canvas: Canvas, x: Span, z: Span) -> None:
    """Draw a tree behind a wall or a fence, which stands at ``x[0]``."""
    draw_tree(canvas, Spot(sum(x) / 2, sum(z) / 2))
    x = x[0], x[0] + 0.02 * (x[1] - x[0])
    walls = [("wall", WHITE, BRICK, 1), ("fence", DARK, WOOD, 25)]
    name, frame, color, panels = canvas.choose(walls)
    for face in canvas.box(x, (0, 1.6), z, frame, name):
        canvas.panels(face, panels, (0, 0.92), color, margin=0.15 if panels > 1 else 0)


def draw_tree(canvas: Canvas, spot: Spot) -> None:
    """Draw a trunk and a crown of clumps of leaves, the bright ones last and above."""
    height, leaf = canvas.rng.uniform(4.5, 8), canvas.choose(LEAVES)
    canvas.ground((spot.x - 0.5 * height, spot.x + 1), (spot.z, spot.z + 1), SHADOW)
    canvas.stroke(spot, "vegetation", 0.3, TRUNK, (0, 0), (0, 0.6 * height))
    for light in np.linspace(0.75, 1.2, 16).tolist():
        x, y = canvas.rng.normal(light - 1, 0.4, 2).clip(-0.8, 0.8).tolist()
        clump = 0.3 * height * x, 0.3 * height * (y + 2.3)
        canvas.stroke(spot, "vegetation", 0.2 * height, lit(leaf, light), clump)


def draw_lamp(canvas: Canvas, spot: Spot) -> None:
    """Draw a street lamp that reaches over the road."""
    canvas.stroke(spot, "pole", 0.18, METAL, (0, 0), (0, 6.2), (0.5, 6.8), (2, 7))


def draw_sign(canvas: Canvas, spot: Spot) -> None:
    """Draw a round traffic sign."""
    canvas.stroke(spot, "pole", 0.12, METAL, (0, 0), (0, 2.4))
    canvas.stroke(spot, "sign", 0.9, RED, (0, 2.5))
    canvas.stroke(spot, "sign", 0.6, WHITE, (0, 2.5))


def draw_traffic_light(canvas: Canvas, spot: Spot) -> None:
    """Draw a traffic light that shows red or green."""
    canvas.stroke(spot, "pole", 0.14, METAL, (0, 0), (0, 2.4))
    canvas.stroke(spot, "light", 0.6, DARK, (0, 2.6), (0, 3.4))
    color, y = canvas.choose([(RED, 3.4), (GREEN, 2.6)])
    canvas.stroke(spot, "light", 0.38, color, (0, y))


def draw_person(canvas: Canvas, spot: Spot) -> None:
    """Draw a person who walks."""
    canvas.stroke(spot, "person", 0.17, DARK, (-0.24, 0.08), (0, 0.86), (0.22, 0.08))
    canvas.stroke(spot, "person", 0.38, canvas.choose(COATS), (0, 0.98), (0, 1.3))
    canvas.stroke(spot, "person", 0.24, SKIN, (0.02, 1.62))


def draw_bicycle(canvas: Canvas, spot: Spot) -> None:
    """Draw a bicycle seen from the side."""
    for x in (-0.52, 0.52):
        canvas.stroke(spot, "bicycle", 0.7, DARK, (x, 0.35))
        canvas.stroke(spot, "bicycle", 0.5, METAL, (x, 0.35))
    frame = (-0.52, 0.35), (-0.2, 0.85), (-0.08, 0.32), (0.38, 0.9), (0.52, 0.35)
    canvas.stroke(spot, "bicycle", 0.1, canvas.choose(COATS), *frame)


def draw_motorcycle(canvas: Canvas, spot: Spot) -> None:
    """Draw a motorcycle seen from the side."""
    for x in (-0.68, 0.68):
        canvas.stroke(spot, "motorcycle", 0.66, DARK, (x, 0.33))
    canvas.stroke(spot, "motorcycle", 0.4, DARK, (-0.7, 0.72), (-0.2, 0.5), (0.2, 0.5))
    canvas.stroke(spot, "motorcycle", 0.3, canvas.choose(COATS), (-0.1, 0.78), (0.3, 0.82))
    canvas.stroke(spot, "motorcycle", 0.12, METAL, (0.68, 0.33), (0.4, 1.1))


def draw_rider(canvas: Canvas, spot: Spot) -> None:
    """Draw a rider with a helmet on a bicycle or a motorcycle."""
    canvas.choose([draw_bicycle, draw_motorcycle])(canvas, spot)
    coat = canvas.choose(COATS)
    canvas.stroke(spot, "rider", 0.19, DARK, (-0.26, 0.96), (0.16, 0.78), (0.04, 0.36))
    canvas.stroke(spot, "rider", 0.36, coat, (-0.24, 1.06), (0.02, 1.44))
    canvas.stroke(spot, "rider", 0.13, coat, (0.04, 1.42), (0.4, 1.1))
    canvas.stroke(spot, "rider", 0.27, WHITE, (0.13, 1.73))


def draw_body(
    canvas: Canvas, spot: Spot, name: str, half: float, height: float, length: float, paint: Color
) -> list[Face]:
    """Draw a box on wheels, ``half`` its width to either side, with lights at the near end."""
    x, z = (spot.x - half, spot.x + half), (spot.z, spot.z + length)
    canvas.ground((x[0] - height / 2, x[1]), z, SHADOW)
    for axle in (spot.z + 0.75 * length, spot.z + 0.1 * length):
        canvas.box(x, (0, 0.6), (axle, axle + 0.7), DARK, name)
    faces = canvas.box(x, (0.3, height), z, paint, name, taper=0.08)
    canvas.panels(faces[0], 2, (0.15, 0.3), RED if spot.facing > 0 else WHITE, margin=0.3)
    return faces


def draw_car(canvas: Canvas, spot: Spot) -> None:
    """Draw a car: a cabin on a body."""
    paint = canvas.choose(PAINTS)
    draw_body(canvas, spot, "car", 0.9, 0.95, 4.4, paint)
    x, z = (spot.x - 0.8, spot.x + 0.8), (spot.z + 0.5, spot.z + 3.6)
    for face in canvas.box(x, (0.95, 1.5), z, paint, "car", taper=0.25):
        canvas.panels(face, 1, (0.12, 0.85), GLASS)


def draw_truck(canvas: Canvas, spot: Spot) -> None:
    """Draw a truck with the doors of its cargo box."""
    faces = draw_body(canvas, spot, "truck", 1.25, 3.6, 7, canvas.choose(PAINTS))
    canvas.panels(faces[0], 2, (0.35, 0.95), METAL)


def draw_coach(canvas: Canvas, spot: Spot, name: str, length: float, paint: Color) -> None:
    """Draw a long vehicle with a row of windows."""
    near, *sides = draw_body(canvas, spot, name, 1.3, 3.2, length, paint)
    canvas.panels(near, 1, (0.42, 0.8), GLASS)
    for side in sides:
        canvas.panels(side, round(length / 2), (0.45, 0.82), GLASS)


def draw_bus(canvas: Canvas, spot: Spot) -> None:
    """Draw a bus, yellow or blue."""
    draw_coach(canvas, spot, "bus", 11, canvas.choose([YELLOW, BLUE]))


def draw_train(canvas: Canvas, spot: Spot) -> None:
    """Draw a tram, red or green."""
    draw_coach(canvas, spot, "train", 17, canvas.choose([RED, GREEN]))
