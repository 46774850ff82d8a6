"""Pictures from arrays: color maps, attention overlays, panels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from dataset.labels import Color, LabelSpace
from dataset.segmentation_dataset import SegmentationDataset
from inference.predict import Prediction, predict
from model.SEAN import network_input

ATTENTION_COLORS, CONFIDENCE_COLORS = "inferno", "viridis"
# No class of Cityscapes or SYNTHIA has a color like these.
ERROR_COLORS = {"right": (235, 235, 235), "wrong": (140, 0, 255), "ignored": (0, 0, 0)}
ERROR, ATTENTION = "error", "attention"  # how titles of tiles begin
ATTENTION_SCALE = "attention, lowest to highest of the image"
FLAT = 0.001  # a smaller range of attention is rounding, not structure
GAP, TITLE, LINE, BAR = 8, 30, 24, 14  # of panels and legends, in pixels

Picture = NDArray[np.uint8]
"""RGB, uint8, (H, W, 3)."""

Tiles = Mapping[str, Picture]
"""Title -> picture."""


def color_map(classes: NDArray[np.uint8], colors: Sequence[Color]) -> Picture:
    """Color a label map, uint8, (H, W); train ids without a color become black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    return palette[classes]


def error_map(classes: NDArray[np.uint8], label: NDArray[np.uint8], ignore_label: int) -> Picture:
    """Show where a prediction is wrong, in `ERROR_COLORS`.

    Args:
        classes: predicted train ids, uint8, (H, W).
        label: train ids, uint8, (H, W).
        ignore_label: train id of pixels without a class.
    """
    kind = np.where(label == ignore_label, 2, classes != label)
    return np.array(list(ERROR_COLORS.values()), np.uint8)[kind]


def heat_map(values: NDArray[np.floating], size: tuple[int, int], colors: str) -> Picture:
    """Show values on one color scale for all images: 0 is its low end, 1 its high end.

    Args:
        values: (h, w), 0..1.
        size: W, H of the picture; the values are interpolated bilinearly.
        colors: name of a matplotlib color map.
    """
    table = (matplotlib.colormaps[colors](np.arange(256))[:, :3] * 255).astype(np.uint8)
    levels = cv2.resize(np.asarray(values, np.float32), size, interpolation=cv2.INTER_LINEAR)
    levels *= 256  # this and the next line are matplotlib's own rule
    return table[np.minimum(levels, 255, out=levels).astype(np.uint8)]


def overlay(picture: Picture, layer: Picture, alpha: float = 0.5) -> Picture:
    """Blend a layer over a picture of the same size; ``alpha`` is the layer's share, 0..1."""
    return np.asarray(cv2.addWeighted(picture, 1 - alpha, layer, alpha, 0), np.uint8)


def attention_over(picture: Picture, attention: NDArray[np.floating]) -> Picture:
    """Show an attention map, (h, w), over its picture in gray.

    The colors span the map's own range (see `attention_title`): attention close to a constant, as
    in an early network, would show nothing on a fixed scale.
    """
    low, high = attention.min(), attention.max()
    flat = high - low < FLAT
    shares = np.full_like(attention, 0.5) if flat else (attention - low) / (high - low)
    gray = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return overlay(
        np.asarray(gray, np.uint8), heat_map(shares, picture.shape[1::-1], ATTENTION_COLORS), 0.6
    )


def attention_title(attention: NDArray[np.floating]) -> str:
    """Say which range the colors of `attention_over` span."""
    low, high = attention.min(), attention.max()
    if high - low < FLAT:
        return f"{ATTENTION} {low:.3f} everywhere"
    return f"{ATTENTION} {low:.3f} to {high:.3f}"


def attention_scale(width: int) -> Picture:
    """Return the colors of `attention_over` on mid gray, lowest to highest from left to right."""
    return attention_over(np.full((BAR, width, 3), 128, np.uint8), np.linspace(0, 1, width)[None])


def attention_picture(picture: Picture, attention: NDArray[np.floating]) -> Picture:
    """Show an attention map, (h, w), over its picture, with the scale below."""
    width = picture.shape[1]
    samples = {attention_title(attention): attention_scale(width // 3 + 1)}
    return _stacked([attention_over(picture, attention), legend(samples, width)])


def confidence_picture(confidence: NDArray[np.float32]) -> Picture:
    """Show the probability of each pixel's class, (H, W), with the scale below."""
    height, width = confidence.shape
    length = width // 3 + 1
    scale = heat_map(np.linspace(0, 1, length)[None], (length, BAR), CONFIDENCE_COLORS)
    heat = heat_map(confidence, (width, height), CONFIDENCE_COLORS)
    return _stacked([heat, legend({"confidence, 0 to 1": scale}, width)])


def _stacked(pictures: Sequence[Picture]) -> Picture:
    """Put pictures below each other; narrower ones get white at their right."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate([
        np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
        for picture in pictures
    ])  # fmt: skip


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
        the network has it, with its range in the title.
    """
    classes = prediction.classes.cpu().numpy()
    tiles = {"input": picture, "prediction": color_map(classes, colors)}
    if label is not None and (label != ignore_label).any():
        tiles["ground truth"] = color_map(label, colors)
        tiles[ERROR] = error_map(classes, label, ignore_label)
    if prediction.attention is not None:
        attention = prediction.attention.float().cpu().numpy()
        tiles[attention_title(attention)] = attention_over(picture, attention)
    return tiles


def compared_tiles(tiles: Tiles, first: Picture) -> dict[str, Picture]:
    """Show two networks' predictions of an image next to each other.

    Args:
        tiles: `tiles_of` the second network, B.
        first: the color map of the first network's prediction, A.

    Returns:
        Input and both predictions; ground truth and B's errors if ``tiles`` has them.
    """
    shown = {
        "input": tiles["input"],
        "A's prediction": first,
        "B's prediction": tiles["prediction"],
    }
    if ERROR in tiles:
        shown |= {"ground truth": tiles["ground truth"], "B's errors": tiles[ERROR]}
    return shown


def predicted_tiles(
    network: nn.Module, dataset: SegmentationDataset, count: int
) -> Iterator[tuple[str, dict[str, Picture]]]:
    """Predict the first images of a data set; yield the name and `tiles_of` each."""
    device = next(network.parameters()).device
    colors = dataset.label_space.colors
    for image, label, name in map(dataset.__getitem__, range(min(count, len(dataset)))):
        height, width = (image if label is None else label).shape[-2:]
        images = network_input(image[None].to(device))
        (prediction,) = predict(network, images, [(height, width)])
        picture = resized(image.permute(1, 2, 0).numpy(), (width, height))
        truth = None if label is None else label.numpy()
        yield name, tiles_of(picture, prediction, truth, colors, dataset.ignore_label)


def panels(
    network: nn.Module, dataset: SegmentationDataset, count: int = 3
) -> Iterator[tuple[str, Picture]]:
    """Predict the first images of a data set; yield the name and `panel` of each."""
    for name, tiles in predicted_tiles(network, dataset, count):
        yield name, panel([tiles], dataset.label_space, 256)


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize a picture to W, H; one of few colors keeps them, others are interpolated."""
    flat = len(np.unique(picture.reshape(-1, 3)[::97], axis=0)) < 64
    resampling = Image.Resampling.NEAREST if flat else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize(size, resampling))


def panel(rows: Sequence[Tiles], space: LabelSpace, width: int = 384) -> Picture:
    """Put the tiles of each image side by side under their titles, and a legend below all.

    Args:
        rows: of each image, the tiles, of one shape; shown at most four times as high as wide.
        space: names and colors of the classes.
        width: of a tile, in pixels.

    Returns:
        RGB, uint8.
    """
    font, strips = ImageFont.load_default(16), []
    for tiles in rows:
        first = next(iter(tiles.values()))
        height = max(1, round(width * min(4, first.shape[0] / first.shape[1])))
        size = (width + GAP) * len(tiles) + GAP, TITLE + height + GAP
        canvas = Image.new("RGB", size, "white")
        for index, (title, tile) in enumerate(tiles.items()):
            left = GAP + index * (width + GAP)
            place = left + width / 2, TITLE / 2
            ImageDraw.Draw(canvas).text(place, title, "black", font, anchor="mm")
            canvas.paste(Image.fromarray(resized(tile, (width, height))), (left, TITLE))
        strips.append(np.asarray(canvas))
    width = strips[0].shape[1]
    strips.append(legend(swatches(space.names, space.colors), width))
    if any(ERROR in tiles for tiles in rows):
        strips.append(legend(swatches(ERROR_COLORS, ERROR_COLORS.values()), width, "error map:"))
    if any(title.startswith(ATTENTION) for tiles in rows for title in tiles):
        strips.append(legend({ATTENTION_SCALE: attention_scale(120)}, width))
    return _stacked(strips)


def swatches(names: Iterable[str], colors: Iterable[Color]) -> dict[str, Picture]:
    """Return a small picture of each color, by name."""
    return {
        name: np.full((BAR, 20, 3), color, np.uint8)
        for name, color in zip(names, colors, strict=True)
    }


def legend(samples: Mapping[str, Picture], width: int = 384, heading: str = "") -> Picture:
    """Say what colors mean.

    Args:
        samples: text -> picture, 14 pixels high.
        width: of the legend, which has as many lines as it takes; it is wider if a sample is.
        heading: what the samples have in common; before the first.

    Returns:
        RGB, uint8.
    """
    font = ImageFont.load_default(16)
    widths = [sample.shape[1] + 6 + round(font.getlength(text)) for text, sample in samples.items()]
    width = max([width, *(GAP + own + GAP for own in widths)])
    strip = Image.new("RGB", (width, LINE * (len(samples) + 1) + GAP), "white")
    draw, left, top = ImageDraw.Draw(strip), GAP, 0
    if heading:
        draw.text((left, LINE / 2), heading, "black", font, anchor="lm")
        left += round(font.getlength(heading)) + 12
    for (text, sample), own in zip(samples.items(), widths, strict=True):
        right = left + own
        if left > GAP and right > width - GAP:
            left, right, top = GAP, GAP + right - left, top + LINE
        end = left + sample.shape[1]
        strip.paste(Image.fromarray(sample), (left, top + 5))
        draw.rectangle((left - 1, top + 4, end, top + 19), outline="darkgray")
        draw.text((end + 6, top + LINE / 2), text, "black", font, anchor="lm")
        left = right + 20
    return np.asarray(strip)[: top + LINE + GAP]
