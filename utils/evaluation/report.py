"""One page of HTML with a whole evaluation: scores, confusion matrix, the worst images.

report.html is the template, report.css the style that is written into the page.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from dataset.labels import LabelSpace
from utils.evaluation.pictures import ERROR_COLORS, Picture, attention_scale, resized
from utils.evaluation.scores import Scores

TILE_WIDTH = 320


class Panel(NamedTuple):
    """An image: its name, its mIoU (nan if it has no label), its pictures' titles and URIs."""

    name: str
    miou: float
    pictures: dict[str, str]


class WorstPanels:
    """Keeps the images with the lowest mIoU, small enough for one page.

    Args:
        limit: how many; if nothing is scored, the first.
    """

    def __init__(self, limit: int = 50) -> None:
        self.limit = limit
        self.seen = 0
        self.kept: list[Panel] = []

    def add(self, name: str, miou: float, tiles: Mapping[str, Picture]) -> None:
        """Keep an image if it is among the worst.

        Args:
            name: of the image.
            miou: of the image, 0..1; nan if it has no label.
            tiles: title -> picture, RGB, uint8, (H, W, 3).
        """
        self.seen += 1
        if len(self.kept) < self.limit or _order(miou) < _order(self.kept[-1].miou):
            pictures = {title: _small_picture(tile) for title, tile in tiles.items()}
            self.kept.append(Panel(name, miou, pictures))
            self.kept = sorted(self.kept, key=lambda panel: _order(panel.miou))[: self.limit]


def page(
    title: str, protocol: str, scores: Scores | None, space: LabelSpace, images: WorstPanels
) -> str:
    """Write the page.

    Args:
        title: the heading.
        protocol: what was scored and how.
        scores: None if nothing was scored.
        space: names and colors of the classes.
        images: the images to show.

    Returns:
        HTML that refers to no other file.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters["percent"] = _percent
    templates.tests["nan"] = math.isnan
    return templates.get_template("report.html").render(
        title=title,
        protocol=protocol,
        scores=scores,
        counts=scores.confusion.tolist() if scores else [],
        pixels=int(scores.confusion.sum()) if scores else 0,
        space=space,
        images=images,
        errors=ERROR_COLORS,
        attention=_data_uri(attention_scale(64)),
    )


def _order(miou: float) -> float:
    return math.inf if math.isnan(miou) else miou


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"  # noqa: RUF001


def _small_picture(picture: Picture) -> str:
    height, width = picture.shape[:2]
    shown = min(width, TILE_WIDTH)
    return _data_uri(resized(picture, (shown, max(1, round(height * shown / width)))))


def _data_uri(picture: Picture) -> str:
    """Return a picture as a URI: PNG if it has few colors, else JPEG."""
    image, stream = Image.fromarray(picture), io.BytesIO()
    colors = image.getcolors(256)
    if colors:
        image.quantize(len(colors), dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    else:
        image.save(stream, "JPEG", quality=82)
    kind = "png" if colors else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
