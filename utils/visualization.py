"""Pictures from arrays: colour maps, attention overlays, panels."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""RGB, uint8, (H, W, 3)."""


def colour_map(classes: NDArray[np.uint8], colours: Sequence[tuple[int, int, int]]) -> Picture:
    """Paint a label map.

    Args:
        classes: train ids, uint8, (H, W); ids without a colour become black.
        colours: one RGB colour a class.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    return palette[classes]


def error_map(classes: NDArray[np.uint8], label: NDArray[np.uint8], ignore_label: int) -> Picture:
    """Show where a prediction is wrong.

    Args:
        classes: predicted train ids, uint8, (H, W).
        label: train ids, uint8, (H, W).
        ignore_label: train id of pixels without a class.

    Returns:
        RGB, uint8, (H, W, 3): right is pale, wrong is red, ignored is black.
    """
    picture = np.full((*label.shape, 3), 235, np.uint8)
    picture[classes != label] = (205, 40, 40)
    picture[label == ignore_label] = 0
    return picture


def heat_map(values: NDArray[np.floating], size: tuple[int, int], colours: str) -> Picture:
    """Show values on one colour scale for all images: 0 is its low end, 1 its high end.

    Args:
        values: (h, w), 0..1.
        size: W, H of the picture; the values are interpolated bilinearly.
        colours: the name of a matplotlib colour map.

    Returns:
        RGB, uint8, (H, W, 3).
    """
    grid = Image.fromarray(np.asarray(values, np.float32)).resize(size, Image.Resampling.BILINEAR)
    return (matplotlib.colormaps[colours](np.asarray(grid))[..., :3] * 255).astype(np.uint8)


def overlay(picture: Picture, layer: Picture, alpha: float) -> Picture:
    """Blend a layer over a picture of the same size, ``alpha`` being the layer's share, 0..1."""
    return np.asarray(Image.blend(Image.fromarray(picture), Image.fromarray(layer), alpha))


def panel(tiles: Sequence[tuple[str, Picture]], width: int = 384) -> Picture:
    """Put pictures side by side, each under its title.

    Args:
        tiles: title and picture; all pictures have one shape of frame (height / width).
        width: of a tile, in pixels.

    Returns:
        RGB, uint8.
    """
    height, gap, caption = round(width * tiles[0][1].shape[0] / tiles[0][1].shape[1]), 8, 30
    canvas = Image.new("RGB", ((width + gap) * len(tiles) + gap, height + caption + gap), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(16)
    for position, (title, picture) in enumerate(tiles):
        left = gap + position * (width + gap)
        draw.text((left + width / 2, caption / 2), title, "black", font, anchor="mm")
        nearest = len(np.unique(picture.reshape(-1, 3)[::97], axis=0)) < 64
        resampling = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
        tile = Image.fromarray(picture).resize((width, height), resampling)
        canvas.paste(tile, (left, caption))
    return np.asarray(canvas)
