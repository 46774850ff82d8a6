"""Pictures from arrays: color maps, attention overlays, panels."""

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dataset.labels import Color, LabelSpace
from dataset.segmentation_dataset import SegmentationDataset
from inference.predict import Prediction, predict_dataset

# No class of Cityscapes or SYNTHIA has a color like these.
ERROR_COLORS = {"right": (235, 235, 235), "wrong": (140, 0, 255), "ignored": (0, 0, 0)}
TILE = 4.0  # inches that a tile is wide, which the size of the letters follows
GAP = 0.02  # between tiles, as a share of their width

Picture = NDArray[np.uint8]  # RGB, (H, W, 3)
Tiles = Mapping[str, Picture]  # title -> picture; all of one size


def color_map(classes: NDArray[np.uint8], colors: Sequence[Color]) -> Picture:
    """Color a label map, uint8, (H, W); train ids without a color become black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    return palette[classes]


def error_map(classes: NDArray[np.uint8], label: NDArray[np.uint8], ignore_label: int) -> Picture:
    """Show where predicted train ids, uint8, (H, W), are wrong, in `ERROR_COLORS`."""
    kind = np.where(label == ignore_label, 2, classes != label)
    return np.array(list(ERROR_COLORS.values()), np.uint8)[kind]


def heat_map(values: NDArray[np.floating], size: tuple[int, int], colors: str) -> Picture:
    """Show values, (h, w), 0..1, interpolated to W, H, in a matplotlib color map."""
    levels = cv2.resize(np.asarray(values, np.float32), size, interpolation=cv2.INTER_LINEAR)
    return matplotlib.colormaps[colors](levels, bytes=True)[..., :3]


def overlay(picture: Picture, layer: Picture, alpha: float = 0.5) -> Picture:
    """Blend a layer over a picture of the same size; ``alpha`` is the layer's share, 0..1."""
    return np.asarray(cv2.addWeighted(picture, 1 - alpha, layer, alpha, 0), np.uint8)


def attention_over(picture: Picture, attention: NDArray[np.floating]) -> Picture:
    """Show an attention map, (h, w), over its picture in gray; the colors span the map's range."""
    low, high = attention.min(), attention.max()
    shares = (attention - low) / max(high - low, 0.001)  # a smaller range is rounding
    gray = np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))
    return overlay(gray, heat_map(shares, picture.shape[1::-1], "inferno"), 0.6)


def attention_tile(picture: Picture, attention: Tensor) -> tuple[str, Picture]:
    """Return `attention_over` a picture, and a title that says which range its colors span."""
    values = attention.float().cpu().numpy()
    title = f"attention {values.min():.3f} to {values.max():.3f}"
    return title, attention_over(picture, values)


def attention_picture(picture: Picture, prediction: Prediction) -> Picture:
    """Show the attention over a picture, with the colors' scale, on mid gray, below."""
    assert prediction.attention is not None
    title, shown = attention_tile(picture, prediction.attention)
    scale = attention_over(np.full((16, 256, 3), 128, np.uint8), np.linspace(0, 1, 256)[None])
    return _with_scale(shown, scale, title)


def confidence_picture(confidence: Tensor) -> Picture:
    """Show the probability of each pixel's class, (H, W), with the colors' scale below."""
    values = confidence.cpu().numpy()
    shown = heat_map(values, values.shape[::-1], "viridis")
    scale = heat_map(np.linspace(0, 1, 256)[None], (256, 16), "viridis")
    return _with_scale(shown, scale, "confidence 0 to 1")


def dataset_tiles(
    dataset: SegmentationDataset, name: str, label: Tensor, predictions: Sequence[Prediction]
) -> dict[str, Picture]:
    """Return `tiles_of` an image, with what `predict_dataset` yields of it."""
    picture = resized(dataset.picture(name, label.shape), (label.shape[1], label.shape[0]))
    return tiles_of(picture, predictions, dataset.label_space, label, dataset.ignore_label)


def tiles_of(
    picture: Picture, predictions: Sequence[Prediction], space: LabelSpace,
    label: Tensor | None = None, ignore_label: int = 255,
) -> dict[str, Picture]:  # fmt: skip
    """Return an image and its predictions, one or two; of the last, errors and attention too.

    The label map, (H, W), has the image's size; there are no errors without a labelled pixel.
    """
    *first, classes = [prediction.classes.cpu().numpy() for prediction in predictions]
    tiles, which = {"input": picture}, ""
    if first:
        tiles["A's prediction"], which = color_map(first[0], space.colors), "B's "
    tiles[f"{which}prediction"] = color_map(classes, space.colors)
    if label is not None and (label != ignore_label).any():
        truth = label.byte().cpu().numpy()
        tiles["ground truth"] = color_map(truth, space.colors)
        tiles[f"{which}errors"] = error_map(classes, truth, ignore_label)
    if predictions[-1].attention is not None:
        title, tile = attention_tile(picture, predictions[-1].attention)
        tiles[title] = tile
    return tiles


def panels(network: nn.Module, dataset: SegmentationDataset) -> Iterator[tuple[str, Picture]]:
    """Predict the first three images of a data set; yield the name and `panel` of each."""
    predicted = predict_dataset([network], dataset, batch_size=1, num_workers=0)
    for name, label, predictions in islice(predicted, 3):
        tiles = dataset_tiles(dataset, name, label, predictions)
        yield name, panel(tiles, dataset.label_space, 256)


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize a picture to W, H; one of few colors keeps them, others are interpolated."""
    flat = len(np.unique(picture.reshape(-1, 3)[::97], axis=0)) < 64
    resampling = Image.Resampling.NEAREST if flat else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize(size, resampling))


def panel(tiles: Tiles, space: LabelSpace, width: int = 384) -> Picture:
    """Put tiles, ``width`` pixels wide, side by side, with the meaning of their colors below."""
    rows, columns = next(iter(tiles.values())).shape[:2]
    height = max(1, round(width * min(4, rows / columns)))
    size = TILE * (len(tiles) * (1 + GAP) - GAP), TILE * height / width  # inches
    figure = Figure(size, dpi=width / TILE)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=GAP)
    for place, (title, tile) in enumerate(tiles.items(), 1):
        axes = figure.add_subplot(1, len(tiles), place)
        axes.imshow(resized(tile, (width, height)), aspect="auto", interpolation="nearest")
        axes.set_title(title, size=15, y=1)  # a given y is quicker
        axes.axis("off")
    colors = dict(zip(space.names, space.colors, strict=True))
    if any("errors" in title for title in tiles):
        colors |= {f"errors: {name}": color for name, color in ERROR_COLORS.items()}
    return _with_legend(figure, colors)


def legend(space: LabelSpace) -> Picture:
    """Draw the colors of the classes with their names."""
    return _with_legend(Figure((7, 0.1), dpi=96), dict(zip(space.names, space.colors, strict=True)))


def _with_legend(figure: Figure, colors: Mapping[str, Color]) -> Picture:
    """Draw a figure, with samples of colors and their names below it."""
    faces = {name: "#{:02x}{:02x}{:02x}".format(*color) for name, color in colors.items()}
    samples = [Patch(facecolor=face, edgecolor="gray", label=name) for name, face in faces.items()]
    columns = int(figure.get_figwidth() / (0.6 + 0.12 * max(map(len, colors))))
    figure.legend(
        handles=samples, ncols=max(1, min(columns, len(colors))), fontsize=13, frameon=False,
        loc="upper center", bbox_to_anchor=(0.5, 0),
    )  # fmt: skip
    return _drawn(figure)


def _with_scale(picture: Picture, scale: Picture, title: str) -> Picture:
    """Put a scale with its title below a picture, which keeps its pixels; white is added."""
    strip = Figure((2.5, 0.2), dpi=max(320, picture.shape[1]) / 6)
    strip.add_axes((0, 0, 1, 1), frameon=False, xticks=(), yticks=()).imshow(scale, aspect="auto")
    strip.text(1.05, 0.4, title, va="center", size=12)
    parts = picture, _drawn(strip)
    width = max(part.shape[1] for part in parts)
    free = [((0, 0), (0, width - part.shape[1]), (0, 0)) for part in parts]
    padded = map(partial(np.pad, constant_values=255), parts, free)
    return np.concatenate(list(padded))


def _drawn(figure: Figure) -> Picture:
    """Draw a figure, as large as what is in it, and a margin."""
    stream = io.BytesIO()
    figure.savefig(stream, bbox_inches="tight", pad_inches=0.1)
    return np.asarray(Image.open(stream).convert("RGB"))
