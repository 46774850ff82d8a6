"""Pictures from arrays: color maps, attention overlays, panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ATTENTION_COLORS, CONFIDENCE_COLORS = "inferno", "viridis"
ERROR_COLORS = {"right": (235, 235, 235), "wrong": (205, 40, 40), "ignored": (0, 0, 0)}

Picture = NDArray[np.uint8]
"""RGB, uint8, (H, W, 3)."""


def color_map(classes: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> Picture:
    """Paint a label map.

    Args:
        classes: train ids, uint8, (H, W); ids without a color become black.
        colors: one RGB color a class.

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
        colors: the name of a matplotlib color map.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    grid = Image.fromarray(np.asarray(values, np.float32)).resize(size, Image.Resampling.BILINEAR)
    return (matplotlib.colormaps[colors](np.asarray(grid))[..., :3] * 255).astype(np.uint8)


def overlay(picture: Picture, layer: Picture, alpha: float) -> Picture:
    """Blend a layer over a picture of the same size, ``alpha`` being the layer's share, 0..1."""
    return np.asarray(Image.blend(Image.fromarray(picture), Image.fromarray(layer), alpha))


def attention_over(picture: Picture, attention: NDArray[np.floating]) -> Picture:
    """Lay an attention map over a picture in gray, so that hue is the attention's alone.

    Args:
        picture: RGB, uint8, (H, W, 3).
        attention: (h, w), 0..1.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    gray = np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))
    return overlay(gray, heat_map(attention, picture.shape[1::-1], ATTENTION_COLORS), 0.6)


def attention_scale(size: tuple[int, int]) -> Picture:
    """What `attention_over` makes of 0 to 1, from left to right, on mid gray; size is W, H."""
    gray = np.full((size[1], size[0], 3), 128, np.uint8)
    return attention_over(gray, np.linspace(0, 1, size[0])[None])


def confidence_scale(size: tuple[int, int]) -> Picture:
    """The colors of confidence 0 to 1, from left to right; size is W, H."""
    return heat_map(np.linspace(0, 1, size[0])[None], size, CONFIDENCE_COLORS)


def tiles_of(
    picture: Picture,
    classes: NDArray[np.uint8],
    label: NDArray[np.uint8],
    attention: NDArray[np.floating] | None,
    colors: Sequence[tuple[int, int, int]],
    ignore_label: int,
) -> dict[str, Picture]:
    """Everything there is to see of an image, for `panel`.

    Args:
        picture: RGB, uint8, (H, W, 3).
        classes: predicted train ids, uint8, (H, W).
        label: train ids, uint8, (H, W); ``ignore_label`` everywhere where there is no label map.
        attention: (h, w), 0..1; None for a network without.
        colors: one RGB color a class.
        ignore_label: train id of pixels without a class.

    Returns:
        Title -> picture, RGB, uint8, (H, W, 3).
    """
    tiles = {"input": picture, "prediction": color_map(classes, colors)}
    if (label != ignore_label).any():
        tiles["ground truth"] = color_map(label, colors)
        tiles["error"] = error_map(classes, label, ignore_label)
    if attention is not None:
        tiles["attention"] = attention_over(picture, attention)
    return tiles


def legend(names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> Picture:
    """Name the colors of a color map, one row a class.

    Returns:
        RGB, uint8.
    """
    row, font = 24, ImageFont.load_default(16)
    width = round(max(font.getlength(name) for name in names))
    canvas = Image.new("RGB", (3 * row + width, row * (len(names) + 1)), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (name, color) in enumerate(zip(names, colors, strict=True)):
        top = row // 2 + row * index
        draw.rectangle((row // 2, top + 2, 2 * row - 4, top + row - 3), color)
        draw.text((2 * row + 4, top + row / 2), name, "black", font, anchor="lm")
    return np.asarray(canvas)


def panel(tiles: Mapping[str, Picture], width: int = 384) -> Picture:
    """Put pictures side by side, each under its title.

    Args:
        tiles: title -> picture; all pictures have one shape of frame (height / width).
        width: of a tile, in pixels.

    Returns:
        RGB, uint8.
    """
    rows, columns, _ = next(iter(tiles.values())).shape
    height, gap, caption = round(width * rows / columns), 8, 30
    canvas = Image.new("RGB", ((width + gap) * len(tiles) + gap, height + caption + gap), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(16)
    for position, (title, picture) in enumerate(tiles.items()):
        left = gap + position * (width + gap)
        draw.text((left + width / 2, caption / 2), title, "black", font, anchor="mm")
        canvas.paste(resized(picture, (width, height)), (left, caption))
    return np.asarray(canvas)


def panels_with_legend(
    rows: Sequence[Mapping[str, Picture]],
    maps: Sequence[NDArray[np.uint8]],
    names: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    width: int = 384,
) -> Picture:
    """Put the panels of images below one another, and below all what their colors mean.

    Args:
        rows: of each image, title -> picture, as from `tiles_of`.
        maps: train ids, uint8; the classes in them are named.
        names: of the classes.
        colors: one RGB color a class.
        width: of a tile, in pixels.

    Returns:
        RGB, uint8.
    """
    panels = [panel(tiles, width) for tiles in rows]
    titles = {title for tiles in rows for title in tiles}
    found = {train_id for ids in maps for train_id in np.unique(ids).tolist()}
    meanings = {name: colors[index] for index, name in enumerate(names) if index in found}
    samples = [(name, np.full((14, 20, 3), color, np.uint8)) for name, color in meanings.items()]
    if "error" in titles:
        errors = ERROR_COLORS.items()
        samples += [(name, np.full((14, 20, 3), color, np.uint8)) for name, color in errors]
    if "attention" in titles:
        samples.append(("attention, 0 to 1", attention_scale((120, 14))))
    return np.concatenate([*panels, _legend_strip(samples, panels[0].shape[1])])


def _legend_strip(samples: Sequence[tuple[str, Picture]], width: int) -> Picture:
    """Texts, each after a picture 14 pixels high, in as many lines as the width asks for."""
    font, line, margin = ImageFont.load_default(16), 24, 8
    places, left, top = [], margin, 0
    for text, sample in samples:
        length = sample.shape[1] + 6 + round(font.getlength(text))
        if left > margin and left + length > width - margin:
            left, top = margin, top + line
        places.append((left, top))
        left += length + 20
    strip = Image.new("RGB", (width, top + line + margin), "white")
    draw = ImageDraw.Draw(strip)
    for (left, top), (text, sample) in zip(places, samples, strict=True):
        right = left + sample.shape[1]
        strip.paste(Image.fromarray(sample), (left, top + 5))
        draw.rectangle((left - 1, top + 4, right, top + 19), outline="darkgray")
        draw.text((right + 6, top + line / 2), text, "black", font, anchor="lm")
    return np.asarray(strip)


def confidence_picture(confidence: NDArray[np.float32]) -> Picture:
    """Show the probability of each pixel's class, (H, W), 0..1, with its scale below."""
    heat = heat_map(confidence, confidence.shape[::-1], CONFIDENCE_COLORS)
    return with_color_bar(heat, confidence_scale, "confidence")


def resized(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """Resize a picture to W, H: one of few colors keeps them, another is interpolated."""
    flat = len(np.unique(picture.reshape(-1, 3)[::97], axis=0)) < 64
    resampling = Image.Resampling.NEAREST if flat else Image.Resampling.BICUBIC
    return Image.fromarray(picture).resize(size, resampling)


def with_color_bar(
    picture: Picture, scale: Callable[[tuple[int, int]], Picture], title: str
) -> Picture:
    """Put the scale of a heat map, 0 to 1, under it.

    Args:
        picture: RGB, uint8, (H, W, 3).
        scale: from W, H to the scale's picture: `attention_scale` or `confidence_scale`.
        title: what the colors show.

    Returns:
        RGB, uint8, (H + h, W, 3): the picture, then a strip with title, bar and ends.
    """
    width = picture.shape[1]
    letter = max(11, width // 64)
    font = ImageFont.load_default(letter)
    strip = Image.new("RGB", (width, 2 * letter), "white")
    draw = ImageDraw.Draw(strip)
    left = letter + round(draw.textlength(f"{title}  0  ", font))
    right = width - letter - round(draw.textlength("  1", font))
    draw.text((letter, letter), f"{title}  0", "black", font, anchor="lm")
    draw.text((width - letter, letter), "1", "black", font, anchor="rm")
    if right > left:
        strip.paste(Image.fromarray(scale((right - left, letter))), (left, letter // 2))
    return np.concatenate([picture, np.asarray(strip)])
