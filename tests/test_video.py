"""Videos are read frame by frame and written whole or not at all."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.pictures import Picture
from inference.video import VideoFile, write_video
from utils.errors import UserError


def frames(count: int, width: int = 64, height: int = 32) -> list[Picture]:
    """A red rectangle that grows on a blue ground which brightens: every frame is another."""
    pictures = np.zeros((count, height, width, 3), np.uint8)
    for index, picture in enumerate(pictures):
        picture[..., 2] = 60 + 190 * index // count
        picture[: height // 2, : 8 + 4 * index] = (250, 20, 0)
    return list(pictures)


def write(path: Path, pictures: list[Picture], codec: str = "mp4v", rate: float = 25) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    for picture in pictures:
        writer.write(picture[..., ::-1].copy())
    writer.release()
    return path


def test_frames_are_read_in_rgb_and_in_order(tmp_path: Path) -> None:
    pictures = frames(9)
    video = VideoFile(write(tmp_path / "video.avi", pictures, "MJPG", 12.5))
    assert (video.size, video.frame_rate, video.announced) == ((64, 32), 12.5, 9)
    read = list(video)
    assert [frame.shape for frame in read] == [(32, 64, 3)] * 9
    nearest = [
        int(np.argmin([np.abs(frame - picture.astype(int)).mean() for picture in pictures]))
        for frame in read
    ]
    assert nearest == list(range(9))


def test_turned_recordings_are_read_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "video.mp4", frames(3, 64, 32))
    content = path.read_bytes()
    # The track header's matrix: a quarter turn instead of none, as a telephone writes it.
    one = 1 << 16
    none, turn = (
        struct.pack(">9i", *matrix, 0, 0, 0, 1 << 30)
        for matrix in ((one, 0, 0, 0, one), (0, one, 0, -one, 0))
    )
    assert none in content
    path.write_bytes(content[: content.rindex(none)] + turn + content[content.rindex(none) + 36 :])
    video = VideoFile(path)
    assert video.size == (32, 64)
    assert next(iter(video)).shape == (64, 32, 3)


@pytest.mark.parametrize("rate", [1, 29.97, 120])
def test_size_and_frame_rate_survive_writing(rate: float, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    pictures = frames(7, 48, 40)
    assert write_video(path, pictures, (48, 40), rate) == 7
    assert os.listdir(tmp_path) == ["video.mp4"]
    video = VideoFile(path)
    assert video.size == (48, 40)
    assert video.announced == 7
    assert video.frame_rate == pytest.approx(rate, rel=1e-3)
    for read, picture in zip(video, pictures, strict=True):
        assert np.abs(read - picture.astype(int)).mean() < 12


def test_frames_that_do_not_arrive_are_told(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"earlier")
    with pytest.raises(UserError, match="1 of 2 frames"):
        write_video(path, [*frames(1), *frames(1, 48, 40)], (64, 32), 10)
    assert os.listdir(tmp_path) == ["video.mp4"]
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize(("folder", "size"), [("none", (64, 32)), ("", (1, 1))])
def test_what_cannot_be_written_is_told(folder: str, size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"video\.mp4"):
        write_video(tmp_path / folder / "video.mp4", [], size, 10)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"caf\xe9/a.mp4", b"a\nb.mp4"])
def test_names_that_opencv_cannot_take_are_told(name: bytes, tmp_path: Path) -> None:
    """It ends the process on one that is not UTF-8."""
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    write(tmp_path / "video.mp4", frames(3)).rename(path)
    if b"\n" in name:
        assert len(list(VideoFile(path))) == 3
        assert write_video(path, frames(2), (64, 32), 25) == 2
        return
    shown = re.escape(str(path).replace("\udce9", r"\udce9"))
    with pytest.raises(UserError, match=rf"{shown}.*not UTF-8\n  rename"):
        VideoFile(path)
    with pytest.raises(UserError, match=r"not UTF-8\n  rename"):
        write_video(path, frames(2), (64, 32), 25)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("case", ["text", "cut short", "no frames", "pipe"])
def test_what_is_no_video_is_refused(case: str, tmp_path: Path) -> None:
    path = write(tmp_path / "video.mp4", frames(5))
    if case == "text":
        path.write_text("a letter to a friend\n" * 99)
    elif case == "cut short":
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    elif case == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        write(path, [np.zeros((32, 64, 3), np.uint8)])
        content = path.read_bytes()
        path.write_bytes(content.replace(b"stsz", b"free"))
    with pytest.raises(UserError, match=r"video\.mp4.*\n  "):
        VideoFile(path)
