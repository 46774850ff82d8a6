"""Where things stand in a street: the same distribution in both domains."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from dataset.demo import buildings, figures, vehicles
from dataset.demo.canvas import Canvas, Span

ROAD, SIDEWALK, CURB, CENTER_LINE = (98, 98, 104), (190, 172, 152), (212, 206, 198), (236, 208, 120)
END = 125.0  # meters to what closes the street
ONCOMING_LANE = -3.4  # x of its center; the camera drives at 0

Thing = tuple[float, Callable[[], None]]
"""Meters ahead of the camera, and a call that draws it."""


def distances(rng: np.random.Generator, first: Span, gap: Span, end: float) -> Iterator[float]:
    """Yield distances along the street, up to ``end``; ``first`` and ``gap`` are least and most."""
    z = rng.uniform(*first)
    while z < end:
        yield z
        z += rng.uniform(*gap)


def draw_background(canvas: Canvas) -> None:
    """Draw grass, and trees and houses that end the street."""
    canvas.ground((-900, 900), (2, 4000), canvas.choose(buildings.GRASSES), "terrain")
    for x in range(-60, 61, 7):
        if canvas.rng.random() < 0.6:
            buildings.draw_tree(canvas, x, END, scale=2)
        else:
            height, facade = canvas.rng.uniform(8, 22), canvas.choose(buildings.FACADES)
            canvas.box((x - 5, x + 5), (0, height), (END - 10, END), facade, "building")


def draw_ground(canvas: Canvas, curbs: Span, facades: Span, has_tram: bool) -> None:
    """Draw sidewalks with or without a lawn, and the road with its lines and rails."""
    canvas.ground(facades, (2, END), SIDEWALK, "sidewalk")
    for curb, outward in zip(curbs, (-1, 1), strict=True):
        if canvas.rng.random() < 0.4:
            lawn = curb, curb + 1.6 * outward
            canvas.ground(lawn, (2, END), canvas.choose(buildings.GRASSES), "terrain")
    canvas.ground((curbs[0] - 0.2, curbs[1] + 0.2), (2, END), CURB, "sidewalk")
    canvas.ground(curbs, (2, END), ROAD, "road")
    for z in range(3, 110, 7):
        canvas.ground((-1.84, -1.68), (z, z + 3.5), CENTER_LINE)
    for x in (ONCOMING_LANE - 0.75, ONCOMING_LANE + 0.75):
        if has_tram:
            canvas.ground((x, x + 0.12), (2, END), figures.DARK)
    if canvas.rng.random() < 0.5:
        crossing = canvas.rng.uniform(7, 22)
        for x in np.arange(curbs[0] + 0.4, curbs[1] - 0.6, 1.0).tolist():
            canvas.ground((x, x + 0.5), (crossing, crossing + 3), figures.WHITE)


def draw_frontage(canvas: Canvas, facade: float) -> None:
    """Draw houses and gardens along one side of the street, far ones first."""
    x = facade, facade + (12 if facade > 0 else -12)
    edges = list(distances(canvas.rng, (1.5, 2), (9, 20), END))[::-1]
    for far, near in itertools.pairwise(edges):
        is_house = canvas.rng.random() < 0.68
        draw = buildings.draw_building if is_house else buildings.draw_garden
        draw(canvas, x, (near, far))


def list_sidewalk(canvas: Canvas, curb: float, facade: float) -> Iterator[Thing]:
    """Yield what stands at one side: parked cars, trees, lamps, signs, people, two-wheelers."""
    rng, outward = canvas.rng, 1 if curb > 0 else -1
    has_cars, has_trees = rng.random(2) < (0.6, 0.5)
    for z in distances(rng, (5, 12), (5.4, 12), 80 * has_cars):
        yield z, partial(vehicles.draw_car, canvas, curb - 1.2 * outward, z, curb < 0)
    for z in distances(rng, (9, 16), (9, 11), 90 * has_trees):
        yield z, partial(buildings.draw_tree, canvas, curb + 0.8 * outward, z)
    for z in distances(rng, (8, 20), (22, 22), 100):
        yield z, partial(figures.draw_lamp, canvas, curb + 0.2 * outward, z, -outward)
    for z in distances(rng, (8, 16), (7, 16), 36):
        draw = canvas.choose([figures.draw_sign, figures.draw_traffic_light])
        yield z, partial(draw, canvas, curb + 0.4 * outward, z)
    for z in distances(rng, (6, 14), (2, 12), 30):
        x, facing = (curb + facade) / 2 + rng.uniform(-1, 1), canvas.choose([-1, 1])
        yield z, partial(figures.draw_person, canvas, x, z, facing)
    for z in distances(rng, (7, 25), (8, 30), 20):
        draw_parked = canvas.choose([figures.draw_bicycle, figures.draw_motorcycle])
        yield z, partial(draw_parked, canvas, curb + 0.5 * outward, z, canvas.choose([-1, 1]))


def list_traffic(canvas: Canvas, right_curb: float, has_tram: bool) -> Iterator[Thing]:
    """Yield what drives: in the camera's lane, in the oncoming lane, and riders."""
    rng = canvas.rng
    ahead: list[Callable[[Canvas, float, float], None]] = [
        vehicles.draw_car, vehicles.draw_car, vehicles.draw_truck, vehicles.draw_bus,
    ]  # fmt: skip
    oncoming = [vehicles.draw_car, vehicles.draw_car, vehicles.draw_bus]
    for z in distances(rng, (10, 28), (14, 40), 90):
        yield z, partial(canvas.choose(ahead), canvas, rng.uniform(-0.7, 0.1), z)
    for z in distances(rng, (9, 30), (30, 60) if has_tram else (14, 40), 110):
        draw = vehicles.draw_train if has_tram else canvas.choose(oncoming)
        yield z, partial(draw, canvas, ONCOMING_LANE, z, True)
    for z in distances(rng, (6, 26), (10, 24), 26):
        x, facing = right_curb - 2.9, canvas.choose([-0.6, 0.6])
        two_wheeler = canvas.choose([figures.draw_bicycle, figures.draw_motorcycle])
        yield z, partial(two_wheeler, canvas, x, z, facing)
        yield z - 0.01, partial(figures.draw_rider, canvas, x, z, facing)


def draw_street(canvas: Canvas) -> None:
    """Draw the ground, then what lines the street, then what is on it, far things first."""
    rng = canvas.rng
    curbs = -rng.uniform(7, 8.4), rng.uniform(3.6, 5)
    facades = curbs[0] - rng.uniform(2.5, 4.5), curbs[1] + rng.uniform(2.5, 4.5)
    has_tram = rng.random() < 0.4
    draw_background(canvas)
    draw_ground(canvas, curbs, facades, has_tram)
    things = list(list_traffic(canvas, curbs[1], has_tram))
    for curb, facade in zip(curbs, facades, strict=True):
        draw_frontage(canvas, facade)
        things += list_sidewalk(canvas, curb, facade)
    for _, draw in sorted(things, key=lambda thing: thing[0], reverse=True):
        draw()
