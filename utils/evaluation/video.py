"""Video files, frame by frame: read one, write one whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.evaluation.pictures import Picture


class VideoFile:
    """The frames of a video, upright, in RGB; iterate over them once.

    Args:
        path: a file in any format that OpenCV decodes.

    Attributes:
        size: W, H of the first frame.
        frame_rate: frames a second.
        announced: how many frames the file says it holds; some formats only estimate it.

    Raises:
        UserError: the file is no video, is damaged at its beginning, or holds no frame.
    """

    def __init__(self, path: Path) -> None:
        # Quiet, FFmpeg and OpenCV: the message below says it.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        opened = self._capture.isOpened()
        there, frame = self._capture.read()
        self._first = frame
        self.frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        reason = ""
        if not opened:
            reason = "it is not a video, or is damaged"
        elif not there:
            reason = "it holds no frame that can be decoded"
        elif not (self.frame_rate > 0 and math.isfinite(self.frame_rate)):
            reason = "it does not say how many frames a second it has"
        if reason:
            raise UserError(
                f"cannot read {path} as a video: {reason}\n"
                "  convert it with `ffmpeg -i FILE new.mp4`; images are recognized by their "
                "extension"
            )
        self.size = (frame.shape[1], frame.shape[0])
        self.announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Picture]:
        there, frame = True, self._first
        while there:
            yield np.ascontiguousarray(frame[..., ::-1])  # OpenCV's channel order is BGR
            there, frame = self._capture.read()


@contextlib.contextmanager
def whole_video(
    path: Path, size: tuple[int, int], frame_rate: float
) -> Iterator[Callable[[Picture], None]]:
    """Write a video (MPEG-4 Part 2, "mp4v") beside its place; move it there once it is complete.

    The codec takes even sizes: of an odd one, OpenCV leaves out the last column or row.

    Args:
        path: ends in ``.mp4``.
        size: W, H of every frame.
        frame_rate: frames a second.

    Yields:
        A function that appends a frame, uint8, (H, W, 3), RGB.

    Raises:
        UserError: it cannot be written; what stood in its place still does.
    """
    beside = path.with_name(f".{path.stem}.writing.mp4")  # the extension chooses the format
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(beside), cv2.CAP_FFMPEG, codec, frame_rate, size)
    frames = 0

    def append(picture: Picture) -> None:
        nonlocal frames
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
        frames += 1

    try:
        if not writer.isOpened():
            raise UserError(
                f"cannot write {path}: no mp4v video of {size[0]}x{size[1]}, "
                f"{frame_rate:g} frames a second\n  choose another --snapshot_dir or size"
            )
        yield append
        writer.release()
        written = _count_frames(beside)
        if written != frames:  # OpenCV drops what it cannot write, and does not say so
            raise UserError(
                f"cannot write {path}: {written} of {frames} frames arrived\n"
                "  free space, or choose another --snapshot_dir; all frames must have one size"
            )
        os.replace(beside, path)
    finally:
        writer.release()
        beside.unlink(missing_ok=True)


def _count_frames(path: Path) -> int:
    return max(0, int(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT)))
