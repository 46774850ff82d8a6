"""Own images and videos: results equal a naive computation, and nothing is written over."""

import os

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from dataset.labels import LabelSpace
from inference.output_files import Outputs
from inference.own_images import predict_own_images
from inference.pictures import attention_over, heat_map
from model.SEAN import MEAN_BGR, Output
from tests.runs import contents, read
from utils.errors import UserError

SPACE = LabelSpace(("blue", "green", "red"), ((10, 20, 200), (0, 255, 100), (255, 128, 0)))
PHOTOS = (
    ("a.png", "RGB", (37, 23)),
    ("day/a.tif", "L", (64, 32)),
    ("day/b.c.webp", "RGB", (131, 75)),
    ("day/late/-d.PNG", "RGBA", (1, 9)),
    ("a\nb.bmp", "P", (200, 16)),
    (os.fsdecode(b"caf\xe9.jpg"), "RGB", (48, 24)),
)
HARM = "would lie among the data, or replace an input"


class Brightest(nn.Module):
    """Its class is the channel, of BGR minus mean, that is the brightest in a cell of 8x8."""

    use_attention = True

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        cells = F.avg_pool2d(images, 8)
        return Output(cells[:, :1].sigmoid(), cells)


def naive_scores(picture):
    """What `Brightest` gives for a picture that enters it at 64x32: per cell, and per pixel."""
    resized = np.asarray(Image.fromarray(picture).resize((64, 32), Image.Resampling.BICUBIC))
    bgr = resized[..., ::-1].astype(float) - MEAN_BGR
    cells = bgr.reshape(4, 8, 8, 8, 3).mean((1, 3)).transpose(2, 0, 1)  # (3, h, w)
    size = picture.shape[:2]
    pixels = F.interpolate(torch.from_numpy(cells)[None], size=size, mode="bilinear")[0]
    return cells, pixels.numpy()


def predict(source, folder, batch_size=2, kinds=()):
    outputs = Outputs(folder, SPACE, kinds)
    predict_own_images(Brightest(), source, outputs, (64, 32), batch_size)


@pytest.fixture
def photos(tmp_path, rng):
    folder, turned = tmp_path / "photos", Image.Exif()
    turned[0x0112] = 6  # stored a quarter turn to the left
    (folder / "day/late").mkdir(parents=True)
    for name, mode, size in PHOTOS:
        more = {"exif": turned} if name.endswith("jpg") else {"lossless": True}
        blobs = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
        picture = blobs.resize(size, Image.Resampling.BICUBIC)
        picture.convert(mode).save(folder / name, **more)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_images_equal_the_naive_computation(photos, tmp_path):
    """Photographs are turned upright; files that evaluation did not write stay."""
    maps = tmp_path / os.fsdecode(b"\xe9\033maps")
    maps.mkdir()
    (maps / "mine.png").write_bytes(b"mine")
    for kinds in ((), ("attention", "confidence", "panels")):
        predict(photos, maps, 3, kinds)
    stems = {name.rpartition(".")[0]: name for name, *_ in PHOTOS}
    endings = ("", "_attention", "_color", "_confidence", "_overlay", "_panel")
    expected = [f"{stem}{end}.png" for stem in stems for end in endings]
    assert contents(maps, ".lock").keys() == {*expected, "legend.png", "mine.png"}
    assert (maps / "mine.png").read_bytes() == b"mine"
    for stem, name in stems.items():
        picture = read(photos / name, "RGB")
        picture = np.rot90(picture, -1) if name.endswith("jpg") else picture
        height, width = picture.shape[:2]
        cells, scores = naive_scores(picture)
        classes = read(maps / f"{stem}.png")
        assert classes.shape == (height, width)
        assert (classes != scores.argmax(0)).mean() < 0.002, name  # ties between channels
        colors = np.array(SPACE.colors)[classes]
        np.testing.assert_array_equal(read(maps / f"{stem}_color.png"), colors)
        blend = (picture.astype(int) + colors) / 2
        np.testing.assert_allclose(read(maps / f"{stem}_overlay.png"), blend, atol=0.5)
        attention = attention_over(picture, 1 / (1 + np.exp(-cells[0])))
        confidence = 1 / np.exp(scores - scores.max(0)).sum(0)
        heat = heat_map(confidence, (width, height), "viridis")
        for kind, drawn in (("attention", attention), ("confidence", heat)):
            shown = read(maps / f"{stem}_{kind}.png")[:height, :width].astype(int)
            assert (np.abs(shown - drawn) > 4).mean() < 0.002


def read_video(path):
    video, pictures = cv2.VideoCapture(str(path)), []
    while (frame := video.read()[1]) is not None:
        pictures.append(frame[..., ::-1])
    return pictures


@pytest.mark.parametrize(("width", "height"), [(64, 32), (66, 35)])
def test_a_video_gives_a_video(width, height, tmp_path, capsys):
    """A red rectangle grows on a blue ground which brightens: every frame is another."""
    source = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (width, height))
    for index in range(11):
        picture = np.full((height, width, 3), (60 + 17 * index, 0, 0), np.uint8)  # BGR
        picture[: height // 2, : 8 + 4 * index] = (0, 20, 250)
        writer.write(picture)
    writer.release()
    predict(source, tmp_path / "maps", batch_size=4)
    target = tmp_path / "maps/drive_overlay.mp4"
    assert contents(tmp_path / "maps", ".lock").keys() == {target.name, "legend.png"}
    assert cv2.VideoCapture(str(target)).get(cv2.CAP_PROP_FPS) == 12.5
    for result, frame in zip(read_video(target), read_video(source), strict=True):
        colors = np.array(SPACE.colors)[naive_scores(frame)[1].argmax(0)]
        expected = (frame / 2 + colors / 2)[: height // 2 * 2]  # the codec takes even sizes
        assert np.abs(result - expected).mean() < 12  # the codec's loss
    assert "11 frames of 11 announced, 12.5 per second" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "folder", "more", "fragment"),
    [
        ("photos/notes.txt", "maps", "", "notes.txt as a video"),
        ("photos", "photos/maps", "", HARM),
        ("photos", "linked_day", "", HARM),
        ("photos", "links", "", HARM),
        ("photos/a.png", "photos", "", "/a.png " + HARM),
        ("links", "photos", "", "/a.png " + HARM),
        ("photos", "maps", "a.jpg", "/a.png would be written twice"),
        ("photos", "maps", "legend.jpg", "/legend.png would be written twice"),
        (os.fsdecode(b"caf\xe9.avi"), "maps", os.fsdecode(b"../caf\xe9.avi"), "UTF-8"),
    ],
)
def test_what_would_do_harm_is_refused(source, folder, more, fragment, photos, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "linked_day").symlink_to("photos/day")
    (tmp_path / "links/a.png").symlink_to("../photos/a.png")
    (tmp_path / "links/day").symlink_to("../photos/day")
    if more:
        Image.new("RGB", (8, 8)).save(photos / more, "PNG")
    before = contents(tmp_path)
    with pytest.raises(UserError) as caught:
        predict(tmp_path / source, tmp_path / folder)
    assert fragment in str(caught.value)
    assert "\n  " in str(caught.value)
    assert contents(tmp_path) == before
