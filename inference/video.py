"""Video files, frame by frame."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inference.pictures import Picture
from utils.errors import UserError
from utils.files import replace_when_done

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are ours to tell


class VideoFile:
    """The frames of a video, upright, in RGB; iterate over them once.

    Args:
        path: a file in any format that OpenCV decodes.

    Attributes:
        size: W, H of the first frame.
        frame_rate: frames per second.
        announced: how many frames the file says it holds; some formats only estimate it.

    Raises:
        UserError: the file is not a video, is damaged at its beginning, or holds no frame; or
            its path is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        # FFmpeg prints nothing: the message below says it.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        self._capture = cv2.VideoCapture()
        if path.is_file():  # reading a pipe would wait until something is written into it
            self._capture.open(_utf8(path.resolve()), cv2.CAP_FFMPEG)
        found, self._first = self._capture.read()
        self.frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        if not (found and self.frame_rate > 0 and math.isfinite(self.frame_rate)):
            raise UserError(
                f"cannot read {path} as a video: it is not one, is damaged, or has no "
                "frame rate\n"
                "  convert it with `ffmpeg -i FILE new.mp4`; images are recognized by their "
                "extension"
            )
        self.size = (self._first.shape[1], self._first.shape[0])
        self.announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Picture]:
        found, frame = True, self._first
        while found:
            yield _swap_channels(frame)
            found, frame = self._capture.read()


def write_video(
    path: Path, frames: Iterable[Picture], size: tuple[int, int], frame_rate: float
) -> int:
    """Write a video (MPEG-4 Part 2, "mp4v") that appears at ``path`` once it is complete.

    The codec takes even sizes; OpenCV leaves out the last column or row of odd ones.

    Args:
        path: ends in ``.mp4``.
        frames: RGB, uint8, (H, W, 3).
        size: W, H of every frame.
        frame_rate: frames per second.

    Returns:
        How many frames there were.

    Raises:
        UserError: the file cannot be written, or its path is not UTF-8; whatever was at ``path``
            is unchanged.
    """
    _utf8(path)  # the file could be written under such a name, but not read
    count = 0
    with replace_when_done(path) as part:
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(_utf8(part), cv2.CAP_FFMPEG, codec, frame_rate, size)
        try:
            if not writer.isOpened():
                raise UserError(
                    f"cannot write {path}: no mp4v video of {size[0]}x{size[1]}, "
                    f"{frame_rate:g} frames a second\n  choose another --snapshot_dir or size"
                )
            for frame in frames:
                writer.write(_swap_channels(frame))
                count += 1
        finally:
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
    text = str(path)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(
            f"{path}: videos are not read from or written to a path that is not UTF-8\n"
            "  rename the file or folder"
        )
    return text


def _swap_channels(picture: Any) -> Picture:
    """Turn RGB into BGR, OpenCV's order, or back."""
    return np.ascontiguousarray(picture[..., ::-1])
