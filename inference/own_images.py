"""Own images and videos -> label maps, colors, overlays. Without labels nothing is scored."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from torch import nn
from tqdm import tqdm

from dataset.image_files import IMAGE_EXTENSIONS, read_image
from dataset.labels import LabelSpace
from dataset.segmentation_dataset import files_below
from inference.output_files import Outputs
from inference.pictures import Picture, color_map, legend, overlay, tiles_of
from inference.predict import Prediction, predict_pictures
from utils.errors import UserError, counted
from utils.files import replace_when_done, save_png

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are ours to tell
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

LEGEND = "legend.png"

Predict = Callable[[Iterable[Picture]], Iterator[tuple[Picture, Prediction]]]
"""`predict_pictures` of one network."""


def predict_own_images(
    network: nn.Module, space: LabelSpace, source: Path, outputs: Outputs,
    input_size: tuple[int, int], batch_size: int,
) -> None:  # fmt: skip
    """Predict an image, a folder of images, or a video, and write the results.

    For images, writes the files of `Outputs` at each image's size and in its subfolder; for a
    video, STEM_overlay.mp4. legend.png shows what the colors mean.

    Raises:
        UserError: there is nothing to read, results would replace images or each other, or a file
            cannot be written.
    """
    if not os.path.exists(source):
        raise UserError(f"no image, folder or video {source}\n  correct the path after --images")
    predict = partial(predict_pictures, network, input_size=input_size, batch_size=batch_size)
    if source.is_file() and source.suffix.lower() not in IMAGE_EXTENSIONS:
        _predict_video(Video(source), source, predict, space, outputs)
        return
    parent, names = source, sorted(files_below(source))
    if source.is_file():
        parent, names = source.parent, [source.name]
    names = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS]
    if not names:
        raise UserError(
            f"no images under {source}\n"
            f"  images end in {' '.join(IMAGE_EXTENSIONS)}; a video is given by its own path"
        )
    images = [parent / name for name in names]
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    files = [LEGEND, *(file for stem in stems for file in outputs.files(stem))]
    searched = {source, *(image.parent for image in images)} if source.is_dir() else set()
    with outputs.open(files, images, searched):
        save_png(outputs.folder / LEGEND, legend(space))
        predicted = predict(read_image(image, upright=True) for image in images)
        bar = tqdm(stems, "own images", unit="image", dynamic_ncols=True)
        for stem, (picture, prediction) in zip(bar, predicted, strict=True):
            tiles = tiles_of(picture, [prediction], None, space.colors) if outputs.panel else None
            outputs.save(stem, prediction, space, picture, tiles)
    print(f"{counted(len(names), 'image')}: label maps, colors and overlays in {outputs.folder}")


def _predict_video(
    video: Video, source: Path, predict: Predict, space: LabelSpace, outputs: Outputs
) -> None:
    path = outputs.folder / f"{source.stem}_overlay.mp4"
    with outputs.open([path.name, LEGEND], [source], ()):
        save_png(outputs.folder / LEGEND, legend(space))
        frames = (
            overlay(picture, color_map(prediction.classes.cpu().numpy(), space.colors))
            for picture, prediction in tqdm(predict(video), "video", video.announced, unit="frame")
        )
        count = write_video(path, frames, video.size, video.frame_rate)
    print(f"{path}: {counted(count, 'frame')} of {video.announced} announced")


class Video:
    """The frames of a video, upright, in RGB; iterate over them once.

    Attributes:
        size: W, H of the first frame.
        frame_rate: frames per second.
        announced: how many frames the file says it holds; some formats only estimate it.

    Raises:
        UserError: the file is not a video, or damaged; or its path is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self._capture = cv2.VideoCapture(_utf8(path.resolve()), cv2.CAP_FFMPEG)
        found, self._first = self._capture.read()
        self.frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        if not (found and 0 < self.frame_rate < math.inf):
            raise UserError(
                f"cannot read {path} as a video: it is not one, is damaged, or has no frame rate\n"
                "  convert it with `ffmpeg -i FILE new.mp4`; images are known by their extension"
            )
        self.size = (self._first.shape[1], self._first.shape[0])
        self.announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Picture]:
        found, frame = True, self._first
        while found:
            yield np.ascontiguousarray(frame[..., ::-1])
            found, frame = self._capture.read()


def write_video(
    path: Path, frames: Iterable[Picture], size: tuple[int, int], frame_rate: float
) -> int:
    """Write frames of one size, W, H, as a video (mp4v) that appears at ``path`` when complete.

    The codec takes even sizes; OpenCV leaves out the last column or row of odd ones.

    Returns:
        How many frames there were.

    Raises:
        UserError: the file cannot be written, or its path is not UTF-8; whatever was at ``path``
            is unchanged.
    """
    count, codec = 0, cv2.VideoWriter.fourcc(*"mp4v")
    with replace_when_done(path) as part:
        writer = cv2.VideoWriter(_utf8(part), cv2.CAP_FFMPEG, codec, frame_rate, size)
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
            count += 1
        writer.release()
        written = int(cv2.VideoCapture(str(part), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != count:  # OpenCV drops what it cannot write, and does not say so
            raise UserError(
                f"cannot write {path}: {written} of {count} frames arrived\n"
                "  free space, or choose another --snapshot_dir; all frames must have one size"
            )
    return count


def _utf8(path: Path) -> str:
    """Return a path as text; OpenCV crashes on one that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        remedy = "rename the file or folder"
        raise UserError(f"{path}: videos need a path that is UTF-8\n  {remedy}") from None
    return str(path)
