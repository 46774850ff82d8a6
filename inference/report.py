"""One page of HTML with a whole evaluation: scores, comparison, confusion matrix, images.

report.html is the template, report.css the style that is written into the page.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from dataset.labels import LabelSpace
from inference.compare import Comparison
from inference.pictures import (
    ATTENTION_SCALE,
    ERROR_COLORS,
    Picture,
    attention_scale,
    resized,
)
from inference.scores import Scores

TILE_WIDTH = 320


class Panel(NamedTuple):
    """An image in the report.

    Attributes:
        name: of the image.
        miou: of the image, 0..1, nan if it has no label; of both networks if two are compared.
        pictures: title -> URI.
    """

    name: str
    miou: Sequence[float]
    pictures: dict[str, str]


class RankedPanels:
    """Keeps the images with the lowest mIoU, or the largest difference, small enough for one page.

    Args:
        limit: how many; if nothing is scored, the first.
    """

    def __init__(self, limit: int = 50) -> None:
        self.limit = limit
        self.seen = 0
        self.kept: list[Panel] = []

    def add(self, name: str, miou: Sequence[float], tiles: Mapping[str, Picture]) -> None:
        """Keep an image if it ranks among the first.

        Args:
            name: of the image.
            miou: as in `Panel`.
            tiles: title -> picture, RGB, uint8, (H, W, 3).
        """
        self.seen += 1
        if len(self.kept) < self.limit or _order(miou) < _order(self.kept[-1].miou):
            pictures = {title: _small_picture(tile) for title, tile in tiles.items()}
            self.kept.append(Panel(name, miou, pictures))
            self.kept = sorted(self.kept, key=lambda panel: _order(panel.miou))[: self.limit]


def page(
    title: str,
    protocol: str,
    scores: Scores | None,
    space: LabelSpace,
    images: RankedPanels,
    comparison: Comparison | None = None,
) -> str:
    """Write the page.

    Args:
        title: the heading.
        protocol: what was scored and how.
        scores: None if nothing was scored.
        space: names and colors of the classes.
        images: the images to show.
        comparison: with another network.

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
        comparison=comparison,
        errors=ERROR_COLORS,
        attention=_data_uri(attention_scale(64)),
        attention_scale=ATTENTION_SCALE,
    )


def _order(miou: Sequence[float]) -> float:
    rank = miou[0] if len(miou) == 1 else -abs(miou[1] - miou[0])
    return math.inf if math.isnan(rank) else rank


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
