"""Own images and videos -> label maps, colors, overlays; nothing is scored, without labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from dataset.image_files import IMAGE_EXTENSIONS, read_image
from dataset.labels import LabelSpace
from dataset.layout import files_below
from dataset.transforms import network_input, resize_image
from utils.device import autocast
from utils.errors import UserError
from utils.evaluation.pictures import (
    Picture,
    attention_over,
    attention_scale,
    color_map,
    confidence_picture,
    legend,
    overlay,
    with_color_bar,
)
from utils.evaluation.predict import class_map, confidence_map, scoring
from utils.evaluation.predictions import save_png
from utils.evaluation.video import VideoFile, whole_video
from utils.files import make_folder
from utils.options import EvaluationConfig

LEGEND = "legend.png"
ENDINGS = (".png", "_color.png", "_overlay.png", "_attention.png", "_confidence.png")
"""Of the files that are written of an image: the fields of `Painted`."""


class Painted(NamedTuple):
    """What is written of a picture, at its own size; None where it is not asked for.

    Attributes:
        classes: train ids, uint8, (H, W).
        colors: the classes' colors, RGB.
        overlay: the colors over the picture, RGB.
        attention: over the picture in gray, with its scale below, RGB.
        confidence: probability of the class, with its scale below, RGB.
    """

    classes: NDArray[np.uint8]
    colors: Picture
    overlay: Picture
    attention: Picture | None
    confidence: Picture | None


Paint = Callable[[Iterable[Picture]], Iterator[Painted]]


def predict_own_images(
    source: Path,
    network: nn.Module,
    space: LabelSpace,
    config: EvaluationConfig,
    device: torch.device,
) -> None:
    """Predict images or a video and write the pictures into ``config.snapshot_dir``.

    Of images STEM.png (train ids), STEM_color.png and STEM_overlay.png, at the image's own size and
    in its subfolder, and STEM_attention.png and STEM_confidence.png if asked for; of a video
    STEM_overlay.mp4; and what the colors mean, legend.png.

    Args:
        source: an image, a folder of images, or a video.
        network: returns attention and logits; it is on the device.
        space: names and colors of its classes.
        config: the options.
        device: where to compute.

    Raises:
        UserError: there is nothing to read, it would be written over, or an option asks for what
            there is not of it.
        UserError: a file cannot be written.
    """
    folder = Path(config.snapshot_dir)
    if not source.exists():
        raise UserError(f"no image, folder or video {source}\n  correct the path after --images")
    paint = partial(paint_pictures, network, space, config, device)
    is_video = not source.is_dir() and source.suffix.lower() not in IMAGE_EXTENSIONS
    _check_options(source, config, is_video)
    write = _write_video if is_video else _write_images
    done = write(source, folder, paint)
    save_png(folder / LEGEND, legend(space.names, space.colors))
    print(f"{done}\nnothing was scored: own images have no labels")


def paint_pictures(
    network: nn.Module,
    space: LabelSpace,
    config: EvaluationConfig,
    device: torch.device,
    pictures: Iterable[Picture],
) -> Iterator[Painted]:
    """Predict pictures of any sizes, ``config.batch_size`` at once, and no more held in memory.

    Args:
        network: returns attention and logits; it is on the device.
        space: colors of its classes.
        config: the options; pictures are stretched to ``input_size``, as in training.
        device: where to compute.
        pictures: RGB, uint8, (H, W, 3).
    """
    remaining = iter(pictures)
    while batch := list(islice(remaining, config.batch_size)):
        resized = np.stack([resize_image(picture, config.input_size) for picture in batch])
        images = torch.from_numpy(resized)
        with scoring(network), autocast(device, config.precision):
            attention, logits = network(network_input(images.to(device)))
        for picture, heat, scores in zip(batch, attention[:, 0], logits, strict=True):
            yield _paint(picture, heat, scores, space, config)


def _paint(
    picture: Picture, attention: Tensor, logits: Tensor, space: LabelSpace, config: EvaluationConfig
) -> Painted:
    size = picture.shape[:2]
    classes = class_map(logits, size).cpu().numpy()
    colors = color_map(classes, space.colors)
    heat = confidence = None
    if config.save_attention:
        heat = attention_over(picture, attention.float().cpu().numpy())
        heat = with_color_bar(heat, attention_scale, "attention")
    if config.save_confidence:
        confidence = confidence_picture(confidence_map(logits, size).cpu().numpy())
    return Painted(classes, colors, overlay(picture, colors, config.alpha), heat, confidence)


def output_files(names: Iterable[str], source: Path, folder: Path) -> list[list[Path]]:
    """Where the pictures of each image go, in the order of `ENDINGS`.

    Args:
        names: images, as paths within their folder.
        source: the images' folder.
        folder: where to write.

    Raises:
        UserError: a file would be written twice, or over an image.
    """
    written, read = folder.resolve(), source.resolve()
    inputs = [read / name for name in names]
    files = [
        [written / path.relative_to(read).with_name(path.stem + ending) for ending in ENDINGS]
        for path in inputs
    ]
    outputs = [path for paths in files for path in paths]
    times = Counter([*inputs, *outputs, written / LEGEND])
    for path in outputs:
        if times[path] > 1:
            raise UserError(
                f"{path} would be written twice, or over an image\n"
                "  rename the images called so, or evaluate them apart, into folders of their own"
            )
    return files


def _write_images(source: Path, folder: Path, paint: Paint) -> str:
    parent = source if source.is_dir() else source.parent
    names = sorted(files_below(source)) if source.is_dir() else [source.name]
    names = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS]
    if not names:
        raise UserError(
            f"no images under {source}\n"
            f"  images end in {' '.join(IMAGE_EXTENSIONS)}; a video is given by its own path"
        )
    _check_apart(source, folder)
    files = output_files(names, parent, folder)
    _check_readable([parent / name for name in names])
    painted = paint(read_image(parent / name, upright=True) for name in names)
    bar = tqdm(files, unit="image", desc="own images", dynamic_ncols=True)
    for paths, pictures in zip(bar, painted, strict=True):
        make_folder(paths[0].parent)
        for path, picture in zip(paths, pictures, strict=True):
            if picture is not None:
                save_png(path, picture)
    return f"{len(names)} images: label maps, colors and overlays in {folder}"


def _write_video(source: Path, folder: Path, paint: Paint) -> str:
    video = VideoFile(source)
    _check_apart(source, folder)
    make_folder(folder)
    path = folder / f"{source.stem}_overlay.mp4"
    frames = 0
    with whole_video(path, video.size, video.frame_rate) as append:
        total = video.announced or None
        for painted in tqdm(paint(video), total=total, unit="frame", desc="video"):
            append(painted.overlay)
            frames += 1
    written = VideoFile(path)
    width, height = written.size
    done = f"{path}: {frames} frames of {width}x{height}, {written.frame_rate:.6g} a second, mp4v"
    if written.size != video.size:
        done += f" (which takes even sizes: {source.name} is {video.size[0]}x{video.size[1]})"
    if frames < video.announced:
        done += f"\n{source} announces {video.announced} frames, {frames} could be read"
    return done


def _check_options(source: Path, config: EvaluationConfig, is_video: bool) -> None:
    refused = ["export"]
    if not config.demo:  # which asks for these of its own images
        refused += ["report", "save_panels"]
    if is_video:
        refused += ["save_attention", "save_confidence"]
    given = [f"--{name}" for name in refused if getattr(config, name)]
    if given:
        raise UserError(
            f"--images {source} takes no {' and no '.join(given)}\n"
            "  leave it out: there are no labels; --save_attention and --save_confidence are for "
            "images, not for videos"
        )


def _check_readable(paths: Sequence[Path]) -> None:
    """Refuse what is no image before the first result is written; headers alone are read."""
    bad = []
    for path in paths:
        try:
            Image.open(path).close()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            bad.append(str(path))
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise UserError(
            f"cannot read {', '.join(bad[:5])}{more}: not an image, or damaged\n"
            "  replace such files, or leave them out; nothing was written"
        )


def _check_apart(source: Path, folder: Path) -> None:
    """Refuse to write where images are read: results would replace them, or be read as images."""
    written, read = folder.resolve(), source.resolve()
    if written.is_relative_to(read) or (source.is_file() and written == read.parent):
        raise UserError(
            f"--snapshot_dir {folder} is within the folder of {source}\n"
            "  choose another: predictions are called like the images"
        )
