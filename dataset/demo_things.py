"""What stands in the drawn street scenes: houses, gardens, trees, people, signs, vehicles."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from dataset.demo_canvas import Canvas, Paint, Span, Spans

Shares = float | NDArray[np.float64]

# Flat things as strokes: class, color, width, points x,y; width 0 fills the polygon.
SPRITES = """
walker: person trousers .16 -.02,.86 .12,.46 .22,.08; person trousers .16 -.02,.86 -.05,.46 -.26,.1
; person dark .1 .22,.05 .31,.05; person dark .1 -.26,.08 -.18,.05; person coat .32 0,1.32 0,.98
; person coat .12 .02,1.38 .16,1.12 .28,.98; person hair .24 0,1.63; person skin .19 .03,1.59
stander: person trousers .17 -.1,.86 -.11,.08; person trousers .17 .1,.86 .11,.08
; person dark .12 -.11,.06; person dark .12 .11,.06; person coat .4 0,1.27 0,.95
; person coat .12 -.2,1.36 -.27,1.1 -.22,.88; person coat .12 .2,1.36 .27,1.1 .22,.88
; person awning .22 .3,.78 .3,.66; person hair .25 0,1.64; person skin .19 0,1.6
bicycle: bicycle dark .7 -.52,.35; bicycle dark .7 .52,.35; bicycle metal .54 -.52,.35
; bicycle metal .54 .52,.35; bicycle paint .07 -.52,.35 -.08,.32 .4,.82 -.2,.82 -.52,.35
; bicycle paint .07 -.08,.32 -.25,.95; bicycle dark .06 .52,.35 .38,1.05 .48,1.08
; bicycle dark .12 -.34,.97 -.16,.97
motorcycle: motorcycle rubber .62 -.68,.31; motorcycle rubber .62 .68,.31
; motorcycle metal .3 -.68,.31; motorcycle metal .3 .68,.31; motorcycle dark .36 -.2,.42 .2,.45
; motorcycle paint .3 -.1,.78 .3,.82; motorcycle dark .16 -.72,.82 -.1,.82
; motorcycle paint .16 -.8,.72 -.5,.68; motorcycle metal .09 .68,.31 .44,1.08 .34,1.14
; motorcycle paint .24 .5,.86; motorcycle yellow .14 .6,.88; motorcycle metal .1 -.75,.35 .05,.32
cyclist: rider trousers .16 -.22,.98 .14,.74 .02,.36; rider coat .3 -.2,1.08 .08,1.46
; rider coat .11 .1,1.44 .3,1.2 .44,1.1; rider skin .2 .2,1.7; rider awning .22 .18,1.77
biker: rider trousers .18 -.3,.9 .16,.8 .02,.36; rider coat .36 -.3,1.02 -.02,1.42
; rider coat .13 0,1.4 .18,1.16 .36,1.12; rider awning .3 .1,1.68; rider dark .12 .2,1.68
prohibition: pole metal .09 0,0 0,2.5; sign red .8 0,2.5; sign white .54 0,2.5
mandatory: pole metal .09 0,0 0,2.4; sign white .86 0,2.4; sign blue .78 0,2.4
; sign white .12 0,2.2 0,2.6
yield: pole metal .09 0,0 0,2.3; sign red 0 -.5,2.8 .5,2.8 0,1.95
; sign white 0 -.3,2.68 .3,2.68 0,2.2
priority: pole metal .09 0,0 0,2.4; sign white 0 -.55,2.5 0,1.95 .55,2.5 0,3.05
; sign yellow 0 -.42,2.5 0,2.08 .42,2.5 0,2.92
board: pole metal .1 -.6,0 -.6,2.6; pole metal .1 .6,0 .6,2.6
; sign white 0 -1,2.2 1,2.2 1,3.3 -1,3.3; sign blue 0 -.93,2.27 .93,2.27 .93,3.23 -.93,3.23
; sign white .1 -.7,2.95 .5,2.95; sign white .1 -.7,2.6 .2,2.6
stop: pole metal .12 0,0 0,2.4; light dark 0 -.24,2.3 .24,2.3 .24,3.5 -.24,3.5; light red .32 0,3.22
; light unlit .28 0,2.88; light unlit .28 0,2.54
go: pole metal .12 0,0 0,2.4; light dark 0 -.24,2.3 .24,2.3 .24,3.5 -.24,3.5; light unlit .28 0,3.22
; light unlit .28 0,2.88; light green .32 0,2.54
gantry: pole metal .2 0,0 0,5.9; pole metal .14 0,5.9 3.4,6.1
; light dark 0 2.8,5 3.4,5 3.4,6.5 2.8,6.5; light red .38 3.1,6.2; light unlit .32 3.1,5.75
; light unlit .32 3.1,5.3
lamp: pole metal .16 0,0 0,6.2; pole metal .1 0,6.2 .5,6.8 1.6,7; pole white .2 1.5,7 2,7
"""

# Vehicles seen from behind, as boxes after each bar: color, width, y and z from..to, taper at the
# sides, near and far end. Panels on a box: face, color, u,v..u,v in shares of the face, and how
# many side by side. Wheels: color, radius and z.
VEHICLES = """
car: dark 1.6 .05 .4 .3 4 0 0 0| paint 1.8 .3 .92 0 4.3 .06 .06 .12; wheel .33 .85; wheel .33 3.45
; near lamp .03 .5 .2 .82; near lamp .8 .5 .97 .82; near white .38 .28 .62 .5; near dark 0 0 1 .16
| paint 1.64 .92 1.46 .45 3.1 .2 .42 .75; near glass .08 .12 .92 .86; side glass .2 .14 .86 .84 2
van: dark 1.8 .05 .5 .3 4.6 0 0 0| paint 1.95 .35 1.15 0 4.9 .04 .04 .1; wheel .35 .95
; wheel .35 3.9; near lamp .02 .4 .13 .95; near lamp .87 .4 .98 .95; near white .38 .3 .62 .5
; near dark 0 0 1 .14| paint 1.87 1.15 2 .08 3.9 .14 .2 .7; near glass .1 .2 .9 .85
; side glass .06 .2 .88 .82 3
truck: dark 2.3 .1 .8 .4 8 0 0 0| paint 2.4 .6 2.9 6.3 8.2 .06 0 .3; near glass .1 .5 .9 .86
; near lamp .04 .08 .2 .2; near lamp .8 .08 .96 .2; side glass .35 .55 .8 .85; wheel .48 7
| cargo 2.5 .6 3.6 0 6 0 0 0; near dark .49 .04 .51 .97; near lamp .02 .02 .16 .07; wheel .48 1.2
; near lamp .84 .02 .98 .07; near dark 0 0 1 .014; side coat .1 .4 .9 .6; wheel .48 2.3
bus: dark 2.4 .1 .5 .4 11 0 0 0| coach 2.55 .35 3.15 0 11.5 .06 .05 .05; near glass .07 .42 .93 .84
; near amber .2 .87 .8 .96; near lamp .04 .1 .18 .2; near lamp .82 .1 .96 .2; near dark 0 0 1 .07
; side white 0 .3 1 .34; side glass .03 .44 .97 .82 6; wheel .5 2; wheel .5 9
train: dark 2.2 .05 .5 .4 22 0 0 0| tram 2.5 .3 3.2 0 24 .1 .25 .25; side white 0 .36 1 .42
; near glass .1 .42 .9 .84; near amber .25 .87 .75 .96; near lamp .06 .12 .2 .22
; near lamp .8 .12 .94 .22; near white 0 .3 1 .36; near dark 0 0 1 .08; side glass .03 .46 .98 .84 9
| metal 1.6 3.2 3.5 3 8 .1 0 0
"""


def _parse(table: str) -> dict[str, list[list[list[str]]]]:
    lines = table.replace("\n;", ";").replace("\n|", "|").strip().splitlines()
    pairs = (line.split(":") for line in lines)
    return {k: [[e.split() for e in part.split(";")] for part in v.split("|")] for k, v in pairs}


STROKES, BOXES = _parse(SPRITES), _parse(VEHICLES)


def _rectangles(u0: Shares, v0: Shares, u1: Shares, v1: Shares) -> NDArray[np.float64]:
    """Corners u, v of rectangles, (N, 4, 2)."""
    corners = np.broadcast_arrays(u0, v0, u1, v0, u1, v1, u0, v1)
    return np.stack(corners, -1).reshape(-1, 4, 2).astype(float)


def draw_building(canvas: Canvas, side: int, x: float, z: Span) -> None:
    """A house on the side (-1 left, 1 right) of the street, its facade at x."""
    rng, look, colors = canvas.rng, canvas.look, canvas.pick()
    storeys, depth = int(rng.integers(2, 7)), 11
    height, cell = 3.1 * storeys + 0.9, 3.1 / (3.1 * storeys + 0.9)
    spans: Spans = (x, x + side * depth), (0, height), z
    if side == canvas.sun:
        canvas.shadow(spans[0], z, height * 0.8)
    faces = canvas.box(spans, Paint(colors["facade"], "building"))
    if rng.random() < look["pitched"]:
        spans = spans[0], (height, height + 3), z
        canvas.box(spans, Paint(colors["roof"], "building"), (3, 0, 0))
    for kind, face in faces.items():
        metres = z[1] - z[0] if kind == "side" else depth
        columns = math.ceil(metres / 2.7 * min(1, 30 / z[0]))  # far windows merge
        canvas.panels(face, _rectangles(0, 1 - 0.5 / height, 1, 1), colors["frame"])
        storey, column = np.divmod(np.arange(storeys * columns), columns)
        share = np.where(storey > 0, look["glazing"], 0.84)  # the ground floor is shops
        u0, u1 = (column + (1 - share) / 2) / columns, (column + (1 + share) / 2) / columns
        v0, v1 = (storey + np.where(storey > 0, 0.3, 0.04)) * cell, (storey + 0.8) * cell
        du, dv = (u1 - u0) * 0.1, (v1 - v0) * 0.07
        layers = {
            "frame": _rectangles(u0 - du, v0 - dv, u1 + du, v1 + dv),
            "window": _rectangles(u0, v0, u1, v1),
            "blind": _rectangles(u0, v1 - (v1 - v0) * rng.uniform(0, 0.8, len(u0)), u1, v1),
        }
        for layer, outlines in layers.items():
            if layer == "window" or z[0] < 50:
                canvas.panels(face, outlines, colors[layer])
        if rng.random() < 0.6:
            canvas.panels(face, _rectangles(0.03, 0.74 * cell, 0.97, cell), colors["awning"])


def draw_garden(canvas: Canvas, side: int, x: float, z: Span) -> None:
    """Grass and trees behind a wall, a fence of rails or planks, or a hedge."""
    rng, colors = canvas.rng, canvas.pick()
    canvas.ground((x, x + side * 60), z, Paint(colors["terrain"], "terrain"))
    for tree in sorted(rng.uniform(z[0] + 1, z[1] - 1, 2).tolist(), reverse=True):
        draw_tree(canvas, x + side * rng.uniform(3, 9), tree)
    kinds = [("wall", "brick"), ("fence", "rubber"), ("fence", "wood"), ("vegetation", "leaf")]
    name, fill = kinds[rng.choice(4, p=[0.38, 0.3, 0.2, 0.12])]
    # Between the rails of a fence the picture shows the grass, the labels do not.
    paint = Paint(colors[fill], name, alpha=0 if fill == "rubber" else 255)
    for face in canvas.box(((x, x + side * 0.3), (0, rng.uniform(1.2, 2.4)), z), paint).values():
        if name == "fence":
            width = (0.05 if fill == "wood" else 0.14) / (z[1] - z[0])
            u = np.arange(0, 1, 5 * width)
            canvas.panels(face, _rectangles(u, 0, u + width, 1), colors["dark"])
            canvas.panels(face, _rectangles(0, 0.1, 1, 0.18), colors[fill])
        coping = colors["kerb" if name == "wall" else fill]
        canvas.panels(face, _rectangles(0, 0.88, 1, 1), coping)


def draw_tree(canvas: Canvas, x: float, z: float, scale: float = 1) -> None:
    """A trunk and a crown of leaf clumps, brighter above and towards the sun."""
    rng, colors = canvas.rng, canvas.pick()
    height = scale * rng.uniform(4.5, 8)
    radius, middle = 0.3 * height, 0.66 * height
    canvas.shadow((x - radius / 2, x + radius / 2), (z, z + radius / 2), height / 2)
    trunk = Paint(colors["trunk"], "vegetation")
    canvas.stroke([(x, 0, z), (x, middle, z)], 0.05 * height, trunk)
    clumps = rng.normal(0, 0.4, (int(np.clip(500 / z, 8, 50)), 2)).clip(-0.9, 0.9)
    light = clumps @ (0.6 * canvas.sun, 1) * 0.25 * (1 + canvas.look["sun"])
    light += rng.normal(0.9, 0.07, len(light))
    for index in np.argsort(light):
        centre = x + radius * clumps[index, 0], middle + 1.1 * radius * clumps[index, 1], z
        leaves = Paint(colors["leaf"], "vegetation", light[index])
        canvas.stroke([centre], radius * rng.uniform(0.35, 0.7), leaves)


def draw_sprite(canvas: Canvas, kind: str, x: float, z: float, facing: float) -> None:
    """Draw flat things; facing squeezes them, as when seen at an angle, or mirrors them."""
    colors = canvas.pick()
    canvas.shadow((x - 0.2, x + 0.2), (z, z + 0.25), 1.6)
    strokes = itertools.chain(*(STROKES[part][0] for part in kind.split("+")))
    for name, color, width, *pairs in strokes:
        corners = [pair.split(",") for pair in pairs]
        points = [(x + facing * float(u), float(v), z) for u, v in corners]
        if float(width):
            canvas.stroke(points, float(width), Paint(colors[color], name))
        else:
            canvas.polygon(points, Paint(colors[color], name))


@functools.cache
def _outlines(panel: tuple[str, ...], y: Span, z: Span) -> list[tuple[str, NDArray[np.float64]]]:
    """Colors and outlines (N, K, 2) of one entry in VEHICLES, on a box that spans y and z."""
    kind, *entry = panel
    if kind == "wheel":
        radius, centre = map(float, entry)
        turn = np.linspace(0, 2 * np.pi, 13)
        u = (centre + radius * np.cos(turn) - z[0]) / (z[1] - z[0])
        v = (radius + radius * np.sin(turn) - y[0]) / (y[1] - y[0])
        tyre = np.stack([u, v], -1)[None]
        return [("rubber", tyre), ("metal", 0.55 * tyre + 0.45 * tyre.mean((0, 1)))]
    u0, v0, u1, v1, *count = map(float, entry[1:])
    left = np.linspace(u0, u1, int(count[0]) if count else 1, endpoint=False)
    right = left + (u1 - u0) / len(left) * (0.9 if count else 1)
    shine = [("gloss", _rectangles(left, (v0 + v1) / 2, right, v1))] if entry[0] == "glass" else []
    return [(entry[0], _rectangles(left, v0, right, v1)), *shine]


def draw_vehicle(canvas: Canvas, kind: str, x: float, z: float, facing: float) -> None:
    """Draw a vehicle whose near end is at z: its back, or its front if facing is negative."""
    colors = canvas.pick()
    colors["lamp"] = colors["red" if facing > 0 else "white"]
    length = max(float(box[0][5]) for box in BOXES[kind])
    canvas.shadow((x - 1.1, x + 1.1), (z, z + length), 1.5 if length < 6 else 3)
    far_to_near = sorted(BOXES[kind], key=lambda b: (float(b[0][2]), -facing * float(b[0][4])))
    for (color, *metres), *panels in far_to_near:
        width, y0, y1, z0, z1, side, near, far = map(float, metres)
        ends, taper = (z + z0, z + z1), (side, near, far)
        if facing < 0:
            ends, taper = (z + length - z1, z + length - z0), (side, far, near)
        spans = (x - width / 2, x + width / 2), (y0, y1), ends
        paint = Paint(colors[color], "car" if kind == "van" else kind)
        faces = canvas.box(spans, paint, taper)
        for panel in panels:
            face = "near" if panel[0] == "near" else "side"
            mirrored = facing < 0 and face == "side"
            for color, outlines in _outlines(tuple(panel), (y0, y1), (z0, z1)):
                if mirrored:
                    outlines = (1, 0) + outlines * (-1, 1)
                if face in faces:
                    canvas.panels(faces[face], outlines, colors[color])
