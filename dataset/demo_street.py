"""Where things stand in the drawn street scenes: the same distribution in both domains."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dataset.demo_canvas import Canvas, Paint, Span
from dataset.demo_things import (
    BOXES,
    draw_building,
    draw_garden,
    draw_sprite,
    draw_tree,
    draw_vehicle,
)

END = 125.0  # metres to the skyline that closes the street


class Street(NamedTuple):
    """Where carriageway and pavements end, at the left and the right, and whether trams run."""

    kerbs: Span
    facades: Span
    tram: bool


def _row(rng: np.random.Generator, first: Span, gap: Span, end: float) -> Iterator[float]:
    """Distances along the street."""
    z = rng.uniform(*first)
    while z < end:
        yield z
        z += rng.uniform(*gap)


def draw_ground(canvas: Canvas, street: Street) -> None:
    """Grass up to the skyline that ends the street, pavements, verges, the road and its lines."""
    rng, colors, (left, right) = canvas.rng, canvas.pick(), street.kerbs
    canvas.ground((-900, 900), (2, 4000), Paint(colors["terrain"], "terrain"))
    for x in np.arange(-60.0, 61, 7).tolist():
        if rng.random() < 0.6:
            draw_tree(canvas, x, END, 2)
        else:
            spans = (x - 5.0, x + 5.0), (0.0, rng.uniform(8, 22)), (END - 10.0, END)
            canvas.box(spans, Paint(canvas.pick()["facade"], "building"))
    canvas.ground(street.facades, (2, END), Paint(colors["sidewalk"], "sidewalk"))
    canvas.ground((left - 0.2, right + 0.2), (2, END), Paint(colors["kerb"], "sidewalk"))
    canvas.ground(street.kerbs, (2, END), Paint(colors["road"], "road"))
    for edge, outwards in ((left - 0.2, -1.3), (right + 0.2, 1.3)):
        if rng.random() < 0.35:
            canvas.ground((edge, edge + outwards), (2, END), Paint(colors["terrain"], "terrain"))
    for dash in range(3, 110, 7):
        canvas.ground((-1.84, -1.68), (dash, dash + 3.5), Paint(colors["centre"]))
    for x in (left + 2.1, right - 2.2):
        canvas.ground((x, x + 0.1), (2, END), Paint(colors["kerb"]))
    for x in (-4.2, -2.7):
        canvas.ground((x, x + 0.12 * street.tram), (2, END), Paint(colors["dark"]))
    if rng.random() < 0.5:
        crossing = rng.uniform(7, 22)
        for x in np.arange(left + 0.4, right - 0.6, 1.0).tolist():
            canvas.ground((x, x + 0.5), (crossing, crossing + 3), Paint(colors["white"]))


class Thing(NamedTuple):
    """Something in the street; facing is negative for what looks at the camera or to the left."""

    z: float
    kind: str
    x: float
    facing: float


def list_things(rng: np.random.Generator, street: Street) -> Iterator[Thing]:
    """All that stands or moves between the facades."""

    def choose(words: str) -> str:
        return str(rng.choice(words.split()))

    for side, kerb, facade in zip((-1, 1), street.kerbs, street.facades, strict=True):
        parked, planted = rng.random(2) < (0.65, 0.5)
        for z in _row(rng, (5, 12), (5.4, 8), 90 * parked):
            if rng.random() < 0.7:
                yield Thing(z, choose("car car car van"), kerb - side * 1.3, side)
        for z in _row(rng, (9, 16), (9, 11), 90 * planted):
            yield Thing(z, "tree", kerb + side * 0.5, 1)
        for z in _row(rng, (8, 20), (22, 22), 100):
            yield Thing(z, "lamp", kerb + side * 0.2, -side)
        for z in _row(rng, (6, 16), (5, 16), 36):
            kind = choose("prohibition mandatory yield priority board stop go gantry")
            yield Thing(z, kind, kerb + side * 0.3, -side)
        for z in _row(rng, (6, 16), (2, 12), 30):
            x = (kerb + facade) / 2 + rng.uniform(-1, 1)
            yield Thing(z, choose("walker walker stander"), x, rng.choice([-1, 1]))
        for z in _row(rng, (6, 25), (8, 30), 18):
            kind = choose("bicycle motorcycle")
            yield Thing(z, kind, kerb + side * 0.4, rng.choice([-1, 1]))
    for z in _row(rng, (9, 25), (14, 40), 90):
        kind = choose("car car car van truck bus bicycle+cyclist motorcycle+biker")
        facing = 1 if kind in BOXES else rng.choice([-0.5, 0.6])
        yield Thing(z, kind, rng.uniform(-0.7, 0.1), facing)
    for z in _row(rng, (8, 30), (30, 60) if street.tram else (14, 40), 110):
        kind = "train" if street.tram else choose("car car car van truck bus")
        yield Thing(z, kind, -3.4, -1)
    for z in _row(rng, (5, 25), (8, 20), 20):
        kind = choose("bicycle+cyclist motorcycle+biker")
        yield Thing(z, kind, street.kerbs[1] - 2.9, rng.choice([-0.5, 0.6]))


def draw_street(canvas: Canvas) -> None:
    """Ground, then houses and gardens at both sides, then what is on the street."""
    rng = canvas.rng
    left, right = -rng.uniform(7, 8.4), rng.uniform(3.6, 5)
    facades = left - rng.uniform(2.5, 4.5), right + rng.uniform(2.5, 4.5)
    street = Street((left, right), facades, rng.random() < 0.35)
    draw_ground(canvas, street)
    for side, x in zip((-1, 1), facades, strict=True):
        edges = list(_row(rng, (1.5, 2), (9, 20), END))[::-1]
        for far, near in itertools.pairwise(edges):
            draw = draw_building if rng.random() < 0.68 else draw_garden
            draw(canvas, side, x, (near, far))
    for z, kind, x, facing in sorted(list_things(rng, street), reverse=True):
        if kind == "tree":
            draw_tree(canvas, x, z)
        elif kind in BOXES:
            draw_vehicle(canvas, kind, x, z, facing)
        else:
            draw_sprite(canvas, kind, x, z, facing)
