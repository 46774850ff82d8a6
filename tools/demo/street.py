"""Where things stand in a street: the same distribution in both domains."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from tools.demo import things
from tools.demo.canvas import Canvas, Span, Spot

ROAD, SIDEWALK, CURB = (98, 98, 104), (190, 172, 152), (212, 206, 198)
END = 125.0  # meters to the trees that close the street

Draw = Callable[[Canvas, Spot], None]

AHEAD: list[Draw] = [things.draw_car, things.draw_truck]
ONCOMING: list[Draw] = [things.draw_car, things.draw_bus, things.draw_train]
PARKED: list[Draw] = [things.draw_bicycle, things.draw_motorcycle]
SIGNS: list[Draw] = [things.draw_sign, things.draw_traffic_light]
LOTS = [things.draw_house, things.draw_house, things.draw_garden]


def draw_ground(canvas: Canvas, curbs: Span, facades: Span) -> None:
    """Draw grass, trees at the end, the sidewalks, one with a lawn, and the road with its line."""
    canvas.ground((-900, 900), (2, 4000), things.GRASS, "terrain")
    for x in range(-60, 61, 8):
        things.draw_tree(canvas, Spot(x, END))
    canvas.ground(facades, (2, END), SIDEWALK, "sidewalk")
    lawn = canvas.choose(curbs)
    canvas.ground((lawn - 1.6, lawn + 1.6), (2, END), things.GRASS, "terrain")
    canvas.ground((curbs[0] - 0.2, curbs[1] + 0.2), (2, END), CURB, "sidewalk")
    canvas.ground(curbs, (2, END), ROAD, "road")
    for z in range(3, 110, 7):
        canvas.ground((-1.84, -1.68), (z, z + 3.5), things.YELLOW, "road")


def line_up(
    canvas: Canvas, draws: list[Draw], x: float, gap: Span, facing: float, end: float = 80
) -> list[tuple[Spot, Draw]]:
    """Return things along the street up to ``end``, with ``gap`` meters from one to the next."""
    row, z = [], canvas.rng.uniform(6, 6 + gap[1])
    while z < end:
        row.append((Spot(x + canvas.rng.uniform(-0.3, 0.3), z, facing), canvas.choose(draws)))
        z += canvas.rng.uniform(*gap)
    return row


def draw_street(canvas: Canvas) -> None:
    """Draw the ground, then what lines the street, then what is on it, far things first."""
    curbs = -canvas.rng.uniform(7, 8.4), canvas.rng.uniform(3.6, 5)
    facades = curbs[0] - canvas.rng.uniform(2.5, 4.5), curbs[1] + canvas.rng.uniform(2.5, 4.5)
    draw_ground(canvas, curbs, facades)
    placed = line_up(canvas, AHEAD, -0.3, (14, 40), 1)
    placed += line_up(canvas, ONCOMING, -3.6, (20, 45), -1)
    placed += line_up(canvas, [things.draw_rider], curbs[1] - 2.9, (8, 20), 0.6, 26)
    for curb, facade, outward in zip(curbs, facades, (-1, 1), strict=True):
        edges = np.cumsum([2, *canvas.rng.uniform(9, 20, 9)]).tolist()
        for near, far in reversed(list(itertools.pairwise(edges))):
            canvas.choose(LOTS)(canvas, (facade, facade + 12 * outward), (near, far))
        near_curb = curb + 0.6 * outward
        placed += line_up(canvas, [things.draw_car], curb - 1.2 * outward, (6, 18), outward)
        placed += line_up(canvas, [things.draw_tree], near_curb, (12, 30), outward)
        placed += line_up(canvas, [things.draw_lamp], near_curb, (22, 22), -outward)
        placed += line_up(canvas, SIGNS, near_curb, (7, 16), outward, 36)
        placed += line_up(canvas, PARKED, near_curb, (8, 30), outward, 30)
        placed += line_up(canvas, [things.draw_person], (curb + facade) / 2, (2, 12), outward, 30)
    for spot, draw in sorted(placed, key=lambda pair: pair[0].z, reverse=True):
        draw(canvas, spot)
