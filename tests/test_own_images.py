"""Own images and videos: results equal a naive computation, and nothing is written over."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from dataset.labels import LabelSpace
from inference.own_images import predict_own_images
from inference.pictures import Picture, attention_over, heat_map
from inference.video import VideoFile
from model.SEAN import MEAN_BGR, Output
from tests.runs import contents
from tests.test_video import frames, write
from training.options import EvaluationOptions
from utils.errors import UserError

SPACE = LabelSpace(("blue", "green", "red"), ((10, 20, 200), (0, 255, 100), (255, 128, 0)))
ENDINGS = (".png", "_color.png", "_overlay.png", "_attention.png", "_confidence.png")


class Brightest(nn.Module):
    """Its class is the channel, of BGR minus mean, that is the brightest in a cell of 8x8."""

    use_attention = True

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Output:
        cells = F.avg_pool2d(images, 8)
        return Output(cells[:, :1].sigmoid(), cells)


def naive_scores(picture: Picture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `Brightest` gives for a picture that enters it at 64x32: per cell, and per pixel."""
    resized = np.asarray(Image.fromarray(picture).resize((64, 32), Image.Resampling.BICUBIC))
    bgr = resized[..., ::-1].astype(float) - MEAN_BGR
    cells = bgr.reshape(4, 8, 8, 8, 3).mean((1, 3)).transpose(2, 0, 1)  # (3, h, w)
    size = picture.shape[:2]
    pixels = F.interpolate(torch.from_numpy(cells)[None], size=size, mode="bilinear")[0]
    return cells, pixels.numpy()


def naive_classes(picture: Picture) -> NDArray[np.uint8]:
    """What `Brightest` says of a picture."""
    return naive_scores(picture)[1].argmax(0).astype(np.uint8)


def blobs(seed: int, width: int, height: int) -> Picture:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def predict(source: Path, folder: Path, **options: object) -> None:
    config = EvaluationOptions(images=str(source), snapshot_dir=str(folder))
    predict_own_images(Brightest(), SPACE, (64, 32), replace(config, **options))


def written(folder: Path) -> list[str]:
    """What the user sees: neither the lock nor the list of the files."""
    return sorted(name for name in contents(folder) if Path(name).name[0] != ".")


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "day/late").mkdir(parents=True)
    for name, seed, mode, size in (
        ("a.png", 0, "RGB", (37, 23)),
        ("day/a.tif", 1, "L", (64, 32)),
        ("day/b.c.webp", 2, "RGB", (131, 75)),
        ("day/late/d.PNG", 3, "RGBA", (1, 9)),
        ("e.bmp", 4, "P", (200, 16)),
    ):
        Image.fromarray(blobs(seed, *size)).convert(mode).save(folder / name, lossless=True)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.mark.parametrize("batch_size", [1, 3])
def test_images_equal_the_naive_computation(
    batch_size: int, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = tmp_path / "maps"
    # --demo asks for the last two, which own images do not have.
    predict(photos, maps, batch_size=batch_size, demo=True, report=True, save_panels=True)
    stems = {"a": "a.png", "day/a": "day/a.tif", "day/b.c": "day/b.c.webp", "e": "e.bmp"}
    stems["day/late/d"] = "day/late/d.PNG"
    expected = [f"{stem}{end}.png" for stem in stems for end in ("", "_color", "_overlay")]
    assert written(maps) == sorted([*expected, "legend.png"])
    for stem, name in stems.items():
        picture = np.asarray(Image.open(photos / name).convert("RGB"))
        classes = read(maps / f"{stem}.png")
        assert classes.shape == picture.shape[:2]
        assert (classes != naive_classes(picture)).mean() < 0.002, name  # ties between channels
        colors = np.array(SPACE.colors)[classes]
        np.testing.assert_array_equal(read(maps / f"{stem}_color.png"), colors)
        blend = (picture.astype(int) + colors) / 2
        np.testing.assert_allclose(read(maps / f"{stem}_overlay.png"), blend, atol=0.5)
    assert len(np.unique(read(maps / "day/b.c.png"))) == 3
    found = {tuple(color) for color in read(maps / "legend.png").reshape(-1, 3).tolist()}
    assert set(SPACE.colors) <= found
    assert "nothing was scored" in capsys.readouterr().out


def test_attention_and_confidence_equal_the_naive_computation(photos: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    predict(photos / "day", maps, save_attention=True, save_confidence=True, batch_size=2)
    pictures = [f"{stem}{end}" for stem in ("a", "b.c", "late/d") for end in ENDINGS]
    assert written(maps) == sorted([*pictures, "legend.png"])
    picture = read(photos / "day/b.c.webp")
    height, width = picture.shape[:2]
    cells, scores = naive_scores(picture)
    attention = attention_over(picture, 1 / (1 + np.exp(-cells[0])))
    shown = read(maps / "b.c_attention.png")
    assert np.abs(shown[:height, :width].astype(int) - attention).max() <= 2
    odds = np.exp(scores - scores.max(0))
    confidence = heat_map(1 / odds.sum(0), (width, height), "viridis")
    shown = read(maps / "b.c_confidence.png")
    assert (np.abs(shown[:height, :width].astype(int) - confidence) > 4).mean() < 0.002
    assert len(shown) > height, "no scale below"


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_photographs_are_turned_upright(name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    Image.fromarray(blobs(5, 48, 24)).save(tmp_path / name, exif=exif)
    predict(tmp_path / name, tmp_path / "maps")
    stored = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    upright = np.rot90(stored, -1).astype(int)
    blend = (upright + read(tmp_path / "maps/photo_color.png")) / 2
    np.testing.assert_allclose(read(tmp_path / "maps/photo_overlay.png"), blend, atol=0.5)


# --- video ------------------------------------------------------------------------------------


def test_a_video_gives_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "drive.avi", frames(11), "MJPG", 12.5)
    predict(source, tmp_path / "maps", batch_size=4)
    assert written(tmp_path / "maps") == ["drive_overlay.mp4", "legend.png"]
    video = VideoFile(tmp_path / "maps/drive_overlay.mp4")
    assert (video.size, video.frame_rate, video.announced) == ((64, 32), 12.5, 11)
    for result, frame in zip(video, VideoFile(source), strict=True):
        colors = np.array(SPACE.colors)[naive_classes(frame)]
        assert np.abs(result - (frame / 2 + colors / 2)).mean() < 12  # the codec's loss
    out = capsys.readouterr().out
    assert "11 frames of 64x32, 12.5 per second" in out
    assert "nothing was scored" in out


def test_a_video_of_odd_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = [Image.fromarray(picture) for picture in frames(4, 65, 33)]
    first.save(tmp_path / "moving.gif", save_all=True, append_images=others, duration=100)
    predict(tmp_path / "moving.gif", tmp_path / "maps")
    video = VideoFile(tmp_path / "maps/moving_overlay.mp4")
    assert (video.size, video.frame_rate, len(list(video))) == ((64, 32), 10, 4)
    assert "even sizes: moving.gif is 65x33" in capsys.readouterr().out


def test_a_video_cut_short_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "drive.avi", frames(12), "MJPG")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])
    predict(source, tmp_path / "maps")
    count = len(list(VideoFile(tmp_path / "maps/drive_overlay.mp4")))
    assert f"announces 12 frames, {count} could be read" in capsys.readouterr().out


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "folder", "more", "fragment"),
    [
        ("none", "maps", "", "none"),
        ("empty", "maps", "", "no images under"),
        ("photos/notes.txt", "maps", "", "notes.txt as a video"),
        ("photos", "photos", "", "within the data folder"),
        ("photos", "photos/maps", "", "within the data folder"),
        ("photos/a.png", "photos", "", "/a.png would be written over"),
        ("photos/", "photos/", "", "within the data folder"),
        ("linked", "photos", "", "within the data folder"),
        ("links", "photos", "", "/a.png would be written over"),
        ("photos", "linked_day", "", "within the data folder"),
        ("photos", "photographs", "", "photographs/a.png would be replaced"),
        ("photos", "maps", "a.jpg", "/a.png would be written twice"),
        ("photos", "maps", "a_color.jpg", "/a_color.png would be written twice"),
        ("photos", "maps", "day/letter.jpg", "day/letter.jpg"),
        ("photos", "maps", "legend.jpg", "/legend.png would be written twice"),
        ("photos", "", "photos/a.png", "within the data folder"),
        ("photos", "maps", "e\nerror: \033[2J.png", r"e\nerror: \x1b[2J.png"),
    ],
)
def test_what_would_do_harm_is_refused(
    source: str, folder: str, more: str, fragment: str, photos: Path, tmp_path: Path
) -> None:
    for name in ("empty", "links", "photographs"):
        (tmp_path / name).mkdir()
    (tmp_path / "photographs/a.png").write_bytes(b"mine")
    (tmp_path / "linked").symlink_to("photos")
    (tmp_path / "linked_day").symlink_to("photos/day")
    (tmp_path / "links/a.png").symlink_to("../photos/a.png")
    if more:
        (photos / more).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(photos / more)
    if "letter" in more or "\n" in more:
        (photos / more).write_text("dear reader")
    before = contents(tmp_path)
    with pytest.raises(UserError) as caught:
        predict(tmp_path / source, tmp_path / folder)
    assert fragment in str(caught.value)
    assert "\n  " in str(caught.value)
    assert contents(tmp_path, ".lock") == before


def test_a_file_in_place_of_a_subfolder_is_told(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/day").write_text("mine")
    with pytest.raises(UserError, match=r"cannot make the folder .*maps/day: File exists\n  "):
        predict(photos, tmp_path / "maps")


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("photos/a.png", {"save_panels": True}),
        ("photos", {"save_label_ids": True, "save_panels": True, "save_attention": True}),
        ("drive.avi", {"save_attention": True}),
        ("drive.avi", {"save_confidence": True, "report": True}),
    ],
)
def test_options_without_meaning_are_refused(
    source: str, options: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    write(tmp_path / "drive.avi", frames(2), "MJPG")
    with pytest.raises(UserError) as caught:
        predict(tmp_path / source, tmp_path / "maps", **options)
    problem, _, advice = str(caught.value).partition("\n  ")
    refused = set(options) - ({"save_attention"} if source == "photos" else set())
    assert {word for word in problem.split() if word.startswith("--")} == {
        "--images", *(f"--{name}" for name in refused)
    }  # fmt: skip
    assert advice
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    "name",
    [
        b"a\nb.png",
        b"\033[2J.jpg",
        b"caf\xe9.png",
        b"a_color.png",
        b"...png",
        b"-a.b.PNG",
        b"%s.png",
    ],
)
def test_odd_names_work(name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, maps = tmp_path / os.fsdecode(b"caf\xe9\033"), tmp_path / os.fsdecode(b"\xe9\033maps")
    photos.mkdir()
    path = photos / os.fsdecode(name)
    Image.new("RGB", (16, 8)).save(path, "JPEG" if name.endswith(b"jpg") else "PNG")
    predict(photos, maps)
    predict(photos, maps, save_confidence=True)  # over its own files
    stem = path.name[: -len(path.suffix)]
    files = [f"{stem}{end}.png" for end in ("", "_color", "_overlay", "_confidence")]
    assert written(maps) == sorted(["legend.png", *(f for f in files if f[0] != ".")])
    assert all((maps / file).exists() for file in files)
    out = capsys.readouterr().out
    assert out.startswith("1 image: ")
    assert r"\udce9\x1bmaps" in out
