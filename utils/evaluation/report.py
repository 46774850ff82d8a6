"""One page of HTML that holds a whole evaluation: scores, confusion matrix, the worst images."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from utils.evaluation.pictures import ERROR_COLORS, Picture, attention_scale, resized
from utils.evaluation.scores import Scores

TILE_WIDTH = 320


class Classes(Protocol):
    """Names and RGB colors of the classes, such as a `LabelSpace`."""

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def colors(self) -> Sequence[tuple[int, int, int]]: ...  # noqa: D102


class Panel(NamedTuple):
    """An image: its name, its mIoU (nan: it has no label), its pictures as <figure> elements."""

    name: str
    miou: float
    figures: str


class WorstPanels:
    """Keeps the images with the lowest mIoU, small enough for one page.

    Args:
        limit: how many; where nothing is scored, they are the first.
    """

    def __init__(self, limit: int = 50) -> None:
        self.limit = limit
        self.seen = 0
        self.titles: set[str] = set()  # of their pictures
        self.kept: list[Panel] = []

    def add(self, name: str, miou: float, tiles: Mapping[str, Picture]) -> None:
        """Take in an image if it is among the worst.

        Args:
            name: of the image.
            miou: of the image, 0..1; nan where it has no label.
            tiles: title -> picture, RGB, uint8, (H, W, 3).
        """
        self.seen += 1
        self.titles.update(tiles)
        if len(self.kept) < self.limit or _order(miou) < _order(self.kept[-1].miou):
            figures = "".join(_figure(title, name, tile) for title, tile in tiles.items())
            self.kept.append(Panel(name, miou, figures))
            self.kept = sorted(self.kept, key=lambda panel: _order(panel.miou))[: self.limit]


def page(
    title: str, protocol: str, scores: Scores | None, classes: Classes, panels: WorstPanels
) -> str:
    """Write the page.

    Args:
        title: the heading.
        protocol: what was scored and how.
        scores: None where nothing was scored.
        classes: their names and colors.
        panels: the images to show.

    Returns:
        HTML that refers to no other file.
    """
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    scored = _summary(scores) + _classes(scores, classes) + _confusion(scores) if scores else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation of {escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n<p>{escape(protocol)}</p>\n</header>\n"
        f"<main>\n{scored}{_panels(panels, classes)}</main>\n</body>\n</html>\n"
    )


def _summary(scores: Scores) -> str:
    low, high = scores.interval
    note = f"95 % interval {_percent(low)} to {_percent(high)}"
    if math.isnan(low):
        note = "one image: no interval"
    cards = [("mIoU", scores.miou, note)]
    if scores.miou_13 is not None:
        cards.append(("mIoU, 13 classes", scores.miou_13, "without wall, fence and pole"))
    cards += [
        ("Pixel accuracy", scores.pixel_accuracy, "of all labelled pixels"),
        ("Mean accuracy", scores.mean_accuracy, "over the classes in the labels"),
    ]
    items = "".join(
        f"<div><dt>{name}, %</dt><dd>{_percent(value)}<small>{remark}</small></dd></div>\n"
        for name, value, remark in cards
    )
    return f'<dl class="summary">\n{items}</dl>\n'


def _classes(scores: Scores, classes: Classes) -> str:
    shares = (scores.confusion.sum(1) / scores.confusion.sum()).tolist()
    low, high = scores.interval
    rows = "".join(
        f'<tr><th scope="row">{_swatch(color)}{escape(name)}</th>'
        f'<td class="number">{_percent(iou)}</td>{_bar(iou)}'
        f'<td class="number">{_percent(accuracy)}</td>'
        f'<td class="number">{_percent(share)}</td></tr>\n'
        for name, color, iou, accuracy, share in zip(
            scores.names, classes.colors, scores.iou, scores.accuracy, shares, strict=True
        )
    )
    interval = "" if math.isnan(low) else f'<b style="--from:{low:.4f};--to:{high:.4f}"></b>'
    return (
        '<section aria-labelledby="classes">\n<h2 id="classes">Classes</h2>\n'
        "<p>The mark on the mean is its 95 % interval, a bootstrap over images: where it would "
        'lie, had other images been drawn.</p>\n<div class="wide"><table class="classes">\n'
        "<thead><tr>"
        '<th scope="col">class</th><th scope="col" class="number">IoU, %</th><td></td>'
        '<th scope="col" class="number">accuracy, %</th>'
        '<th scope="col" class="number">share of pixels, %</th></tr></thead>\n'
        f'<tbody>\n{rows}</tbody>\n<tfoot><tr><th scope="row">mean</th>'
        f'<td class="number">{_percent(scores.miou)}</td>{_bar(scores.miou, interval)}'
        f'<td class="number">{_percent(scores.mean_accuracy)}</td><td></td></tr></tfoot>\n'
        "</table></div>\n</section>\n"
    )


def _confusion(scores: Scores) -> str:
    heads = "".join(
        f'<th scope="col"><span>{escape(name)}</span></th>' for name in map(str, scores.names)
    )
    rows = ""
    for index, (name, counts) in enumerate(
        zip(scores.names, scores.confusion.tolist(), strict=True)
    ):
        rows += f'<tr><th scope="row">{escape(name)}</th>{_confusion_cells(index, counts)}</tr>\n'
    return (
        '<section aria-labelledby="confusion">\n<h2 id="confusion">Confusion matrix</h2>\n'
        "<p>What becomes of a class: each row shows, in percent of the pixels labelled so, what "
        "they are predicted as; less than half a percent is left blank.</p>\n"
        '<div class="wide"><table class="confusion">\n'
        f"<thead><tr><td></td>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
        "</section>\n"
    )


def _confusion_cells(index: int, counts: Sequence[int]) -> str:
    total = sum(counts)
    if not total:
        return f'<td class="absent" colspan="{len(counts)}">not in the labels</td>'
    cells = ""
    for column, count in enumerate(counts):
        share = count / total
        kinds = [*(["right"] if column == index else []), *(["strong"] if share > 0.85 else [])]
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        shown = f"{100 * share:.0f}" if share >= 0.005 else ""
        cells += f'<td{kind} style="--share:{share:.3f}">{shown}</td>'
    return cells


def _panels(panels: WorstPanels, classes: Classes) -> str:
    scored = any(not math.isnan(panel.miou) for panel in panels.kept)
    which = "All" if panels.seen == len(panels.kept) else f"{len(panels.kept)} of"
    order = "lowest mIoU first" if scored else "in the order of the data"
    mean = (
        " An image's mIoU is the mean over the classes in its label map, or in its prediction of "
        "the pixels that are labelled."
    )
    swatches = _swatches(dict(zip(classes.names, classes.colors, strict=True)))
    legend = _swatches(ERROR_COLORS) if scored else ""
    if "attention" in panels.titles:
        legend += (
            f'<li>attention 0<img src="{_data_uri(attention_scale((64, 1)))}" '
            f'alt="from dark gray over purple and orange to pale yellow">1</li>'
        )
    articles = "".join(
        f"<article>\n<h3>{rank}. {escape(panel.name)}"
        f"{f' <span>{_image_miou(panel.miou)}</span>' if scored else ''}</h3>\n"
        f'<div class="tiles">{panel.figures}</div>\n</article>\n'
        for rank, panel in enumerate(panels.kept, 1)
    )
    return (
        '<section aria-labelledby="images">\n<h2 id="images">Images</h2>\n'
        f"<p>{which} {panels.seen} images, {order}.{mean if scored else ''}</p>\n"
        f'<ul class="legend">{swatches}</ul>\n'
        f'<ul class="legend">{legend}</ul>\n'
        f"{articles}</section>\n"
    )


def _order(miou: float) -> float:
    return math.inf if math.isnan(miou) else miou


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"  # noqa: RUF001


def _image_miou(miou: float) -> str:
    return "no label" if math.isnan(miou) else f"mIoU {_percent(miou)} %"


def _swatches(colors: Mapping[str, tuple[int, int, int]]) -> str:
    return "".join(f"<li>{_swatch(value)}{escape(name)}</li>" for name, value in colors.items())


def _swatch(color: tuple[int, int, int]) -> str:
    return f'<span class="swatch" style="background:#{bytes(color).hex()}"></span>'


def _bar(share: float, mark: str = "") -> str:
    length = 0.0 if math.isnan(share) else share
    return f'<td class="bar"><div style="--share:{length:.4f}"><i></i>{mark}</div></td>'


def _figure(title: str, name: str, picture: Picture) -> str:
    height, width = picture.shape[:2]
    shown = min(width, TILE_WIDTH)
    small = np.asarray(resized(picture, (shown, max(1, round(height * shown / width)))))
    return (
        f'<figure><img src="{_data_uri(small)}" width="{shown}" height="{small.shape[0]}" '
        f'alt="{escape(title)} of {escape(name)}"><figcaption>{escape(title)}</figcaption></figure>'
    )


def _data_uri(picture: Picture) -> str:
    """A picture of few colors as PNG, another as JPEG, within the address itself."""
    image, stream = Image.fromarray(picture), io.BytesIO()
    colors = image.getcolors(256)
    if colors:
        image.quantize(len(colors), dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    else:
        image.save(stream, "JPEG", quality=82)
    kind = "png" if colors else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
