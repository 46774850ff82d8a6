"""One page of HTML with a whole evaluation: scores, comparison, confusion matrix, images."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from dataset.labels import LabelSpace
from inference.pictures import ERROR_COLORS, Picture, Tiles, resized
from inference.scores import Values, cells, percent

TILE_WIDTH = 320
MOST = 50  # images that one page shows


class Shown(NamedTuple):
    """An image on the page."""

    rank: float  # the images with the lowest are shown
    miou: Sequence[float]  # 0..1; of both networks if two are compared; nan without a label
    name: str
    pictures: dict[str, str]  # title -> data URI


def keep_worst(kept: list[Shown], name: str, miou: Sequence[float], tiles: Tiles) -> None:
    """Insert an image where it ranks: lowest mIoU, or largest difference, first; of `MOST`."""
    rank = miou[0] if len(miou) == 1 else -abs(miou[1] - miou[0])
    rank = 1.0 if rank != rank else rank
    if len(kept) < MOST or rank < kept[-1].rank:
        kept.append(Shown(rank, miou, name, {t: _data_uri(tile) for t, tile in tiles.items()}))
        kept.sort(key=lambda shown: shown.rank)
        del kept[MOST:]


def page(
    title: str, protocol: str, scores: Values | None, space: LabelSpace, images: Sequence[Shown],
    comparison: Values | None = None,
) -> str:  # fmt: skip
    """Return HTML that refers to no other file; the values are those of `inference.scores`."""
    loader = FileSystemLoader(Path(__file__).parent)
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.filters |= {"percent": percent, "cells": cells}
    return templates.get_template("report.html").render(
        title=title, protocol=protocol, scores=scores, space=space, images=images,
        comparison=comparison, errors=ERROR_COLORS,
    )  # fmt: skip


def _data_uri(picture: Picture) -> str:
    """Return a picture, made small, as a URI: PNG if it has few colors, else JPEG."""
    height, width = picture.shape[:2]
    shown = min(width, TILE_WIDTH)
    image = Image.fromarray(resized(picture, (shown, max(1, round(height * shown / width)))))
    kind, stream = "png" if image.getcolors(256) else "jpeg", io.BytesIO()
    image.save(stream, kind, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
