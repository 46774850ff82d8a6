"""Pictures from arrays: color maps, attention overlays, panels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from dataset.labels import Color, LabelSpace
from dataset.segmentation_dataset import SegmentationDataset
from dataset.transforms import network_input
from utils.evaluation.predict import Prediction, predict

ATTENTION_COLORS, CONFIDENCE_COLORS = "inferno", "viridis"
ERROR_COLORS = {"right": (235, 235, 235), "wrong": (205, 40, 40), "ignored": (0, 0, 0)}
TRUTH, ERROR, ATTENTION = "ground truth", "error", "attention"  # titles of tiles
GAP, TITLE, LINE, SWATCH = 8, 30, 24, (20, 14)  # of panels and legends, in pixels

Picture = NDArray[np.uint8]
"""RGB, uint8, (H, W, 3)."""

Tiles = Mapping[str, Picture]
"""Title -> picture."""


def color_map(classes: NDArray[np.uint8], colors: Sequence[Color]) -> Picture:
    """Color a label map.

    Args:
        classes: train ids, uint8, (H, W); ids without a color become black.
        colors: RGB, one per class.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    return palette[classes]


def error_map(classes: NDArray[np.uint8], label: NDArray[np.uint8], ignore_label: int) -> Picture:
    """Show where a prediction is wrong.

    Args:
        classes: predicted train ids, uint8, (H, W).
        label: train ids, uint8, (H, W).
        ignore_label: train id of pixels without a class.

    Returns:
        RGB, uint8, (H, W, 3), in `ERROR_COLORS`.
    """
    kind = np.where(label == ignore_label, 2, classes != label)
    return np.array(list(ERROR_COLORS.values()), np.uint8)[kind]


def heat_map(values: NDArray[np.floating], size: tuple[int, int], colors: str) -> Picture:
    """Show values on one color scale for all images: 0 is its low end, 1 its high end.

    Args:
        values: (h, w), 0..1.
        size: W, H of the picture; the values are interpolated bilinearly.
        colors: name of a matplotlib color map.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    grid = Image.fromarray(np.asarray(values, np.float32)).resize(size, Image.Resampling.BILINEAR)
    return (matplotlib.colormaps[colors](np.asarray(grid))[..., :3] * 255).astype(np.uint8)


def overlay(picture: Picture, layer: Picture, alpha: float = 0.5) -> Picture:
    """Blend a layer over a picture of the same size; ``alpha`` is the layer's share, 0..1."""
    return np.asarray(Image.blend(Image.fromarray(picture), Image.fromarray(layer), alpha))


def attention_over(picture: Picture, attention: NDArray[np.floating]) -> Picture:
    """Lay an attention map over a picture in gray, so that all hues are the attention's.

    Args:
        picture: RGB, uint8, (H, W, 3).
        attention: (h, w), 0..1.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    gray = np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))
    return overlay(gray, heat_map(attention, picture.shape[1::-1], ATTENTION_COLORS), 0.6)


def attention_scale(size: tuple[int, int]) -> Picture:
    """Return what `attention_over` makes of 0 to 1, left to right, on mid gray; size is W, H."""
    gray = np.full((size[1], size[0], 3), 128, np.uint8)
    return attention_over(gray, np.linspace(0, 1, size[0])[None])


def attention_picture(picture: Picture, attention: NDArray[np.floating]) -> Picture:
    """Show an attention map, (h, w), over its picture, with the scale below."""
    width = picture.shape[1]
    scale = attention_scale((max(width // 3, 1), SWATCH[1]))
    strip = legend({"attention, 0 to 1": scale}, width)
    return np.concatenate([attention_over(picture, attention), strip])


def confidence_picture(confidence: NDArray[np.float32]) -> Picture:
    """Show the probability of each pixel's class, (H, W), with the scale below."""
    height, width = confidence.shape
    length = max(width // 3, 1)
    scale = heat_map(np.linspace(0, 1, length)[None], (length, SWATCH[1]), CONFIDENCE_COLORS)
    heat = heat_map(confidence, (width, height), CONFIDENCE_COLORS)
    return np.concatenate([heat, legend({"confidence, 0 to 1": scale}, width)])


def tiles_of(
    picture: Picture,
    prediction: Prediction,
    label: NDArray[np.uint8] | None,
    colors: Sequence[Color],
    ignore_label: int,
) -> dict[str, Picture]:
    """Show everything that is known of an image.

    Args:
        picture: RGB, uint8, (H, W, 3).
        prediction: of the picture, at its size.
        label: train ids, uint8, (H, W); None if there is no label map.
        colors: RGB, one per class.
        ignore_label: train id of pixels without a class.

    Returns:
        Input and prediction; ground truth and errors if the label map names a class; attention if
        the network has it.
    """
    classes = prediction.classes.cpu().numpy()
    tiles = {"input": picture, "prediction": color_map(classes, colors)}
    if label is not None and (label != ignore_label).any():
        tiles[TRUTH] = color_map(label, colors)
        tiles[ERROR] = error_map(classes, label, ignore_label)
    if prediction.attention is not None:
        tiles[ATTENTION] = attention_over(picture, prediction.attention.float().cpu().numpy())
    return tiles


def panels(
    network: nn.Module, dataset: SegmentationDataset, count: int = 3
) -> Iterator[tuple[str, Picture]]:
    """Show the first images of a data set, for TensorBoard.

    Args:
        network: a SEANet, or a wrapper of one.
        dataset: read one image at a time.
        count: images to show, if there are as many.

    Yields:
        An image's name, and its panel with a legend.
    """
    for name, tiles in predicted_tiles(network, dataset, count):
        yield name, panel([tiles], dataset.label_space, 256)


def predicted_tiles(
    network: nn.Module, dataset: SegmentationDataset, count: int
) -> Iterator[tuple[str, dict[str, Picture]]]:
    """Yield names and tiles of the first images of a data set; arguments as of `panels`."""
    device = next(network.parameters()).device
    colors = dataset.label_space.colors
    for image, label, name in map(dataset.__getitem__, range(min(count, len(dataset)))):
        height, width = (image if label is None else label).shape[-2:]
        images = network_input(image[None].to(device))
        (prediction,) = predict(network, images, [(height, width)])
        picture = resized(image.permute(1, 2, 0).numpy(), (width, height))
        truth = None if label is None else label.numpy()
        yield name, tiles_of(picture, prediction, truth, colors, dataset.ignore_label)


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize a picture to W, H; one of few colors keeps them, others are interpolated."""
    flat = len(np.unique(picture.reshape(-1, 3)[::97], axis=0)) < 64
    resampling = Image.Resampling.NEAREST if flat else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize(size, resampling))


def panel(rows: Sequence[Tiles], space: LabelSpace, width: int = 384) -> Picture:
    """Put the tiles of each image side by side, and below all what their colors mean.

    Args:
        rows: of each image, the tiles; all of one shape (height / width).
        space: names and colors of the classes. The legend names those that are visible.
        width: of a tile, in pixels.

    Returns:
        RGB, uint8.
    """
    small = [
        {
            title: resized(tile, (width, round(width * tile.shape[0] / tile.shape[1])))
            for title, tile in tiles.items()
        }
        for tiles in rows
    ]
    shown = {title: tile for tiles in small for title, tile in tiles.items()}
    maps = [tiles[title] for tiles in small for title in ("prediction", TRUTH) if title in tiles]
    colors = {
        (red, green, blue) for tile in maps for red, green, blue in tile.reshape(-1, 3).tolist()
    }
    samples = swatches(space, colors)
    if ERROR in shown:
        samples |= {name: _swatch(color) for name, color in ERROR_COLORS.items()}
    if ATTENTION in shown:
        samples["attention, 0 to 1"] = attention_scale((120, SWATCH[1]))
    pictures = [_side_by_side(tiles) for tiles in small]
    return np.concatenate([*pictures, legend(samples, pictures[0].shape[1])])


def _side_by_side(tiles: Tiles) -> Picture:
    """Put pictures of one size next to each other, under their titles."""
    height, width, _ = next(iter(tiles.values())).shape
    size = (width + GAP) * len(tiles) + GAP, TITLE + height + GAP
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for left, (title, tile) in zip(range(GAP, size[0], width + GAP), tiles.items(), strict=False):
        draw.text((left + width / 2, TITLE / 2), title, "black", font, anchor="mm")
        canvas.paste(Image.fromarray(tile), (left, TITLE))
    return np.asarray(canvas)


def swatches(space: LabelSpace, wanted: set[Color] | None = None) -> dict[str, Picture]:
    """Return the classes of the wanted colors, by default all: name -> a small picture."""
    return {
        name: _swatch(color)
        for name, color in zip(space.names, space.colors, strict=True)
        if wanted is None or color in wanted
    }


def _swatch(color: Color) -> Picture:
    return np.full((SWATCH[1], SWATCH[0], 3), color, np.uint8)


def legend(samples: Mapping[str, Picture], width: int = 384) -> Picture:
    """Say what colors mean.

    Args:
        samples: text -> picture, 14 pixels high.
        width: of the legend, which has as many lines as it takes.

    Returns:
        RGB, uint8.
    """
    font = ImageFont.load_default(16)
    places, left, top = [], GAP, 0
    for text, sample in samples.items():
        length = sample.shape[1] + 6 + round(font.getlength(text))
        if left > GAP and left + length > width - GAP:
            left, top = GAP, top + LINE
        places.append((left, top))
        left += length + 20
    strip = Image.new("RGB", (width, top + LINE + GAP), "white")
    draw = ImageDraw.Draw(strip)
    for (left, top), (text, sample) in zip(places, samples.items(), strict=True):
        right = left + sample.shape[1]
        strip.paste(Image.fromarray(sample), (left, top + 5))
        draw.rectangle((left - 1, top + 4, right, top + 19), outline="darkgray")
        draw.text((right + 6, top + LINE / 2), text, "black", font, anchor="lm")
    return np.asarray(strip)
