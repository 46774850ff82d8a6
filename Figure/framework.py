"""Draw `Figure/framework.png`: one training iteration, and what is inside both networks.

Run from the project root: `python Figure/framework.py`. One unit of the drawing is one pixel.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Outline

WIDTH, HEIGHT = 2000, 1390
ROWS = (1170, 950, 710, 510)  # of the upper panel: source, student, teacher, attention
# Hues after Okabe and Ito, which stay apart under the common color deficiencies.
INK, GRAY, PALE = "#20262E", "#5B6470", "#F5F6F8"
SOURCE, TARGET, TEACHER, ATTENTION = "#0072B2", "#C85200", "#00805C", "#A3467F"

# How a thing looks in the source image, in the target image and in a label map (Cityscapes'
# colors; windows and lane marks count as what they are on).
PAINT = {
    "sky": ("#6EC1F5", "#B9BEC2", "#4682B4"),
    "wall": ("#E2A46C", "#7C776F", "#464646"),
    "shade": ("#B9744A", "#625F5B", "#464646"),
    "window": ("#FFF1C9", "#94979A", "#464646"),
    "pavement": ("#C9CCD1", "#85847F", "#F423E8"),
    "road": ("#5C616B", "#4C4E50", "#804080"),
    "lane": ("#FFFFFF", "#A5A59F", "#804080"),
    "tree": ("#3FA34D", "#49573F", "#6B8E23"),
    "car": ("#D7263D", "#343E4C", "#00008E"),
    "glass": ("#BFE6FF", "#8B979E", "#00008E"),
    "wheel": ("#1C1C1C", "#202020", "#00008E"),
}
RENDERED, REAL, LABEL = range(3)

Point = tuple[float, float]
Scene = list[tuple[str, list[Point]]]  # (thing, outline), painted in order, in a 2 x 1 frame
Picture = Scene | np.ndarray
CAR: Scene = [  # 1 long, round x = 0
    ("wheel", [(-0.46, 0), (-0.28, 0), (-0.28, 0.12), (-0.46, 0.12)]),
    ("wheel", [(0.28, 0), (0.46, 0), (0.46, 0.12), (0.28, 0.12)]),
    ("car", [(-0.5, 0.1), (0.5, 0.1), (0.5, 0.42), (0.34, 0.44), (-0.34, 0.44), (-0.5, 0.42)]),
    ("car", [(-0.34, 0.44), (0.34, 0.44), (0.24, 0.68), (-0.24, 0.68)]),
    ("glass", [(-0.28, 0.44), (0.28, 0.44), (0.2, 0.62), (-0.2, 0.62)]),
]


def rectangle(x: float, y: float, width: float, height: float) -> list[Point]:
    """Return the corners of a rectangle given by its lower left corner and its size."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def street(roofs: list[float], trees: list[float], cars: list[Point]) -> Scene:
    """Compose a street from roof heights, the trees' x and the cars' (x, size), left to right."""
    scene: Scene = [("sky", rectangle(0, 0, 2, 1))]
    half = len(roofs) // 2
    wide = 0.84 / half
    for i, roof in enumerate(roofs):
        left = i * wide + (0.32 if i >= half else 0)
        scene.append(("shade" if i % 2 else "wall", rectangle(left, 0.3, wide, roof - 0.3)))
        for y in np.arange(roof - 0.14, 0.4, -0.16):
            for x in (0.2, 0.6):
                scene.append(("window", rectangle(left + x * wide, y, 0.2 * wide, 0.08)))
    road = [(0.2, 0.0), (1.8, 0.0), (1.08, 0.36), (0.92, 0.36)]
    scene += [("pavement", rectangle(0, 0, 2, 0.36)), ("road", road)]
    for low, high in ((0.0, 0.09), (0.15, 0.21), (0.26, 0.30)):
        a, b = 0.035 * (1 - low / 0.4), 0.035 * (1 - high / 0.4)
        scene.append(("lane", [(1 - a, low), (1 + a, low), (1 + b, high), (1 - b, high)]))
    turn = np.linspace(0, 2 * np.pi, 25)
    for x in trees:
        crown = list(zip(x + 0.15 * np.cos(turn), 0.58 + 0.17 * np.sin(turn), strict=True))
        scene += [("tree", rectangle(x - 0.02, 0.26, 0.04, 0.2)), ("tree", crown)]
    for x, size in cars:
        scene += [(name, [(x + size * u, 0.05 + size * v) for u, v in c]) for name, c in CAR]
    return scene


def label_grid(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Return label colors on a coarse grid with doubtful borders: (18, 36, 3), 0 to 1."""
    x, y = np.meshgrid((np.arange(36) + 0.5) / 18, 1 - (np.arange(18) + 0.5) / 18)
    cells = np.column_stack([x.ravel(), y.ravel()])
    colors = np.zeros((18, 36, 3))
    for thing, outline in scene:
        inside = Outline(outline).contains_points(cells).reshape(18, 36)
        colors[inside] = to_rgb(PAINT[thing][LABEL])
    return np.where(rng.random((18, 36, 1)) < 0.15, np.roll(colors, 1, axis=1), colors)


def blur(grid: np.ndarray) -> np.ndarray:
    """Return the means over 5 x 5 windows of (h, w, 3) colors."""
    padded = np.pad(grid, ((2, 2), (2, 2), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (0, 1)).mean((3, 4))


def attention_grid(colors: np.ndarray) -> np.ndarray:
    """Return an attention map that is high where labels change: (h, w), 0 to 1."""
    attention = blur(np.abs(colors - blur(colors))).sum(2)
    return (attention - attention.min()) / np.ptp(attention)


class Canvas:
    """The few elements that the drawing is made of."""

    def __init__(self) -> None:
        rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"})
        self.figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.axes.set_axis_off()
        self.axes.autoscale(False)

    def text(self, x: float, y: float, words: str, size: float = 20, **style: Any) -> None:
        """Write words, centred on (x, y) unless the style says otherwise."""
        style = {"ha": "center", "va": "center", "color": INK, **style}
        self.axes.text(x, y, words, fontsize=size, linespacing=1.25, zorder=6, **style)

    def frame(self, x: Point, y: Point, **style: Any) -> Patch:
        """Draw a rounded rectangle over two intervals."""
        shape = "round,pad=0,rounding_size=12"
        patch = FancyBboxPatch((x[0], y[0]), x[1] - x[0], y[1] - y[0], shape, **style)
        return self.axes.add_patch(patch)

    def box(self, x: Point, y: Point, fill: str, edge: str, title: str, note: str = "") -> None:
        """Draw a box with a bold title above a note."""
        self.frame(x, y, fc=fill, ec=edge, lw=2.2, zorder=2)
        above, below = (18 * (part.count("\n") + bool(part)) for part in (note, title))
        self.text(sum(x) / 2, sum(y) / 2 + above, title, weight="bold")
        self.text(sum(x) / 2, sum(y) / 2 - below, note)

    def arrow(self, points: list[Point], color: str, width: float = 3.2, dash: str = "-") -> None:
        """Draw an arrow along a polyline of level and upright lines, with rounded corners."""
        ends = np.array(points, dtype=float)
        vertices, codes = [ends[0]], [Outline.MOVETO]
        for before, corner, after in zip(ends, ends[1:], ends[2:], strict=False):
            near, far = (corner + 16 * np.sign(other - corner) for other in (before, after))
            vertices += [near, corner, far]
            codes += [Outline.LINETO, Outline.CURVE3, Outline.CURVE3]
        ahead = np.sign(ends[-1] - ends[-2])
        neck = ends[-1] - 15 * ahead
        line = Outline([*vertices, neck], [*codes, Outline.LINETO])
        self.axes.add_patch(PathPatch(line, fc="none", ec=color, lw=width, ls=dash, zorder=3))
        head = [ends[-1], neck + 9 * ahead[::-1], neck - 9 * ahead[::-1]]
        self.axes.add_patch(Polygon(head, fc=color, ec="none", zorder=3))

    def node(self, x: float, y: float, sign: str) -> None:
        """Draw a circle with an operator's sign."""
        self.axes.add_patch(Circle((x, y), 22, fc="white", ec=INK, lw=2.6, zorder=4))
        self.text(x, y, sign, 24)

    def picture(
        self, x: float, y: float, content: Picture, edge: str, caption: str = "", look: int = LABEL
    ) -> None:
        """Draw a 220 x 110 thumbnail round (x, y): a scene in one of its looks, or a map."""
        left, right, low, high = x - 110, x + 110, y - 55, y + 55
        frame = self.frame((left, right), (low, high), fc="none", ec=edge, lw=3, zorder=5)
        self.text(x, low - 24, caption)
        parts: list[Any]
        if isinstance(content, np.ndarray):
            extent = (left, right, low, high)
            parts = [self.axes.imshow(content, "inferno", extent=extent, aspect="auto", zorder=4)]
        else:
            corners = [(PAINT[name][look], np.array(c) * 110 + (left, low)) for name, c in content]
            parts = [self.axes.add_patch(Polygon(c, fc=fill, zorder=4)) for fill, c in corners]
        for part in parts:
            part.set_clip_path(frame)


def draw_network(canvas: Canvas, y: float, edge: str, name: str, note: str) -> None:
    """Draw a network of the upper panel: its name, a glyph of its layers, who updates it."""
    canvas.box((600, 880), (y - 175, y + 175), PALE, edge, "")
    canvas.text(740, y + 108, name, 27, weight="bold", color=edge)
    for x, tall in zip(range(638, 840, 32), (100, 80, 60, 44, 44, 44, 60), strict=True):
        canvas.axes.add_patch(Rectangle((x, y - tall / 2), 14, tall, color=edge, zorder=3))
    canvas.text(740, y - 108, note, color=GRAY)


def draw_iteration(canvas: Canvas, source: Scene, target: Scene) -> None:
    """Draw the upper panel: the three passes and the teacher's update."""
    rng = np.random.default_rng(0)
    source_map, student_map, teacher_map = (label_grid(s, rng) for s in (source, target, target))
    attention = attention_grid(teacher_map)
    y1, y2, y3, y4 = ROWS
    canvas.text(40, 1350, "One training iteration", 24, ha="left", weight="bold")
    draw_network(canvas, (y1 + y2) / 2, SOURCE, "Student", "gradient steps")
    draw_network(canvas, (y3 + y4) / 2, TEACHER, "Teacher", "no gradients")
    canvas.arrow([(740, 884), (740, 787)], TEACHER, 6)
    canvas.text(718, 836, r"EMA, $\alpha$ = 0.99", ha="right", color=TEACHER, weight="bold")

    canvas.picture(150, y1, source, SOURCE, "Source image", RENDERED)
    canvas.arrow([(262, y1), (598, y1)], SOURCE)
    canvas.picture(150, 830, target, TARGET, "Target image", REAL)
    for row, side, words in ((y2, 1, "noise"), (y3, -1, "independent\nnoise")):
        canvas.arrow([(262, 830), (325, 830), (325, row), (443, row)], TARGET)
        canvas.arrow([(489, row), (598, row)], TARGET)
        canvas.node(466, row, "+")
        canvas.arrow([(466, row + 80 * side), (466, row + 24 * side)], GRAY)
        canvas.text(466, row + (82 + 18 * len(words.split())) * side, words)
    outputs = (
        (y1, blur(source_map.repeat(5, 0).repeat(5, 1)), SOURCE, "Upsampled logits"),
        (y2, student_map, TARGET, "Student softmax"),
        (y3, teacher_map, TARGET, "Teacher softmax"),
        (y4, attention, ATTENTION, "Attention $M_t$"),
    )
    for row, grid, color, words in outputs:
        canvas.arrow([(882, row), (988, row)], color)
        canvas.picture(1100, row, grid, color, words)
        canvas.arrow([(1212, row), (1348 if row == y4 else 1298, row)], color)
    canvas.picture(1460, y4, attention > 0.3, ATTENTION, "Keep $M_t$ > threshold")
    canvas.arrow([(1460, y4 + 57), (1460, y3 - 57)], ATTENTION)


def draw_losses(canvas: Canvas, source: Scene) -> None:
    """Draw the right part of the upper panel, the way of the gradients and the legend."""
    y1, y2, y3, _ = ROWS
    canvas.box((1300, 1620), (y1 - 50, y1 + 50), "white", INK, "Segmentation loss", "cross-entropy")
    canvas.picture(1800, y1, source, SOURCE)
    canvas.text(1800, y1 + 79, "Source label")
    canvas.arrow([(1688, y1), (1622, y1)], SOURCE)
    note = "mean squared error\nover the kept cells"
    canvas.box((1300, 1620), (y3 - 55, y2 + 35), "white", INK, "Self-ensembling\nloss", note)

    total = y1 - 122
    canvas.arrow([(1460, y1 - 52), (1460, total + 24)], INK)
    canvas.arrow([(1460, y2 + 37), (1460, total - 24)], INK)
    canvas.text(1480, total - 42, r"$\times$ 0.3", ha="left")
    canvas.node(1460, total, "+")
    canvas.arrow([(1484, total), (1688, total)], INK)
    canvas.box((1690, 1970), (total - 42, total + 42), INK, INK, "")
    canvas.text(1830, total, "Total loss", 22, color="white", weight="bold")
    top = y1 + 125
    canvas.arrow([(1942, total + 44), (1942, top), (740, top), (740, y1 + 67)], INK, 3.2, "--")
    canvas.text(1341, top + 26, "gradients, to the student only")

    streams = {"source domain": SOURCE, "target domain": TARGET, "attention map": ATTENTION}
    for row, (words, color) in zip((560, 510, 460), streams.items(), strict=True):
        canvas.arrow([(1670, row), (1740, row)], color)
        canvas.text(1758, row, words, ha="left")


def draw_inside(canvas: Canvas, image: Scene) -> None:
    """Draw the lower panel: trunk, attention head and classifier."""
    canvas.text(40, 393, "Inside both networks", 24, ha="left", weight="bold")
    canvas.box((20, 1980), (14, 366), PALE, PALE, "")
    grid = label_grid(image, np.random.default_rng(1))
    low, high = 121, 263
    canvas.picture(145, low, image, INK, "Image", REAL)
    canvas.box((300, 540), (low - 55, low + 55), "white", INK, "VGG-16 trunk", "to 1/8 size")
    for start, stop in ((257, 298), (542, 1396), (1444, 1488), (1702, 1738)):
        canvas.arrow([(start, low), (stop, low)], INK)
    canvas.text(980, low + 26, "features")

    canvas.arrow([(570, low), (570, high), (618, high)], INK)
    canvas.box((600, 1280), (210, 353), "white", ATTENTION, "")
    canvas.text(940, 326, "Attention head", 21, color=ATTENTION, weight="bold")
    spans = {"pool": (620, 698), "upsample": (732, 890), r"1$\times$1 conv": (924, 1078)}
    for words, (left, right) in {**spans, "sigmoid": (1112, 1258)}.items():
        canvas.box((left, right), (high - 30, high + 30), PALE, GRAY, "", words)
        canvas.arrow([(right, high), (1308 if right == 1258 else right + 32, high)], INK)
    canvas.picture(1420, 285, attention_grid(grid), ATTENTION)
    canvas.text(1548, 285, "attention $M$", ha="left")
    canvas.arrow([(1420, 228), (1420, low + 24)], ATTENTION)
    canvas.text(1402, 185, "1 + $M$", ha="right")
    canvas.node(1420, low, r"$\times$")
    canvas.box((1490, 1700), (low - 55, low + 55), "white", INK, "Classifier", "dilated convs")
    canvas.picture(1850, low, grid, INK, "Logits, 1/8 size")


def main() -> None:
    """Draw the figure and write it next to this file."""
    source = street([0.95, 0.72, 0.6, 0.62, 0.85, 0.98], [0.62], [(1.32, 0.5)])
    target = street([0.8, 0.9, 0.66, 0.55, 0.6, 0.7, 0.92, 0.8], [1.5, 0.2], [(0.72, 0.42)])
    canvas = Canvas()
    draw_iteration(canvas, source, target)
    draw_losses(canvas, source)
    draw_inside(canvas, target)
    canvas.figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
