"""Bad and hostile input: one message with the path and the remedy, status 2, nothing damaged."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import evaluation
import SEAN_GTA5
from dataset.demo import write_demo
from model.SEAN import SEANet


class Place(NamedTuple):
    """A whole, small set of data and weights, to be spoilt by a case."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "GTA5"

    @property
    def image(self) -> Path:
        return self.source / "images/00001.png"

    @property
    def label(self) -> Path:
        return self.source / "labels/00001.png"

    @property
    def target(self) -> Path:
        return self.root / "Cityscapes"

    @property
    def target_image(self) -> Path:
        name = "demo_000000_000019_leftImg8bit.png"
        return self.target / "leftImg8bit/val/demo" / name

    @property
    def target_label(self) -> Path:
        name = "demo_000000_000019_gtFine_labelIds.png"
        return self.target / "gtFine/val/demo" / name

    @property
    def weights(self) -> Path:
        return self.root / "weights.pth"

    @property
    def list_file(self) -> Path:
        return self.root / "list.txt"


class Malice:
    """Unpickling this would write a file."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_list(place: Place, content: bytes) -> list[object]:
    place.list_file.write_bytes(content)
    return ["--data_list_source", place.list_file]


def save_weights(place: Place, content: Any) -> list[object]:
    torch.save(content, place.weights)
    return ["--restore_from", place.weights]


def as_jpeg(path: Path) -> Path:
    renamed = path.with_suffix(".jpg")
    Image.open(path).convert("RGB").save(renamed)
    path.unlink()
    return renamed


def network_state(classes: int = 19, **changes: Any) -> dict[str, Any]:
    with torch.device("meta"):
        shapes = SEANet(classes).state_dict()
    return {name: torch.zeros(value.shape) for name, value in shapes.items()} | changes


def earlier_run(place: Place) -> list[object]:
    folder = place.root / "run"
    folder.mkdir(exist_ok=True)
    (folder / "last.pth").write_bytes(b"precious")
    return ["--snapshot_dir", folder]


def caffe_state(**changes: Any) -> dict[str, Any]:
    from tests.fixture import reference_fcn8s_checkpoint

    state = {name: torch.from_numpy(v) for name, v in reference_fcn8s_checkpoint().items()}
    return state | changes


def spoil(action: Callable[[Place], Any], options: list[object] | None = None) -> Any:
    """A case that changes files and keeps the options."""

    def case(place: Place) -> list[object]:
        action(place)
        return options or []

    return case


def remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def empty_folder(place: Place) -> list[object]:
    (place.root / "empty").mkdir()
    return ["--data_dir_source", place.root / "empty"]


def paint(path: Path, value: int, mode: str = "L") -> None:
    Image.new(mode, (256, 128), value if mode == "L" else (value,) * 3).save(path)


TRAINING: dict[str, tuple[Callable[[Place], list[object]], str]] = {
    "missing source folder": (lambda p: ["--data_dir_source", p.root / "no"], "no/images"),
    "empty source folder": (empty_folder, "empty/images"),
    "source is a file": (lambda p: ["--data_dir_source", p.image], "00001.png/images"),
    "no images": (spoil(lambda p: remove(*(p.source / "images").iterdir())), "GTA5/images"),
    "missing target folder": (lambda p: ["--data_dir_target", p.root / "no"], "leftImg8bit/val"),
    "no labels at all": (spoil(lambda p: remove(*(p.source / "labels").iterdir())), "label map"),
    "image without label": (spoil(lambda p: remove(p.label)), "labels/00001.png"),
    "target without label": (spoil(lambda p: remove(p.target_label)), "gtFine_labelIds.png"),
    "missing list": (lambda p: ["--data_list_source", p.root / "no.txt"], "no.txt"),
    "empty list": (lambda p: write_list(p, b""), "list.txt"),
    "blank list": (lambda p: write_list(p, b"\n \r\n\n"), "list.txt"),
    "binary list": (lambda p: write_list(p, b"\xff\xfe\x00\x80"), "list.txt"),
    "absent entry": (lambda p: write_list(p, b"00001.png\n77777.png\n"), "77777.png"),
    "entry leaves folder": (lambda p: write_list(p, b"../labels/00001.png\n"), "../labels"),
    "absolute entry": (lambda p: write_list(p, b"/etc/passwd\n"), "/etc/passwd"),
    "windows entry leaves folder": (lambda p: write_list(p, b"..\\secret.png\r\n"), "secret.png"),
    "drive letter": (lambda p: write_list(p, b"C:\\secret.png\n"), "secret.png"),
    "truncated image": (spoil(lambda p: halve(p.image)), "images/00001.png"),
    "empty image": (spoil(lambda p: p.image.write_bytes(b"")), "it is empty"),
    "text as image": (spoil(lambda p: p.image.write_text("hello")), "not an image"),
    "truncated jpeg": (spoil(lambda p: halve(as_jpeg(p.image))), "images/00001.jpg"),
    "bomb": (spoil(lambda p: p.image.write_bytes(png_header(60000, 60000))), "00001.png"),
    "header only": (spoil(lambda p: p.image.write_bytes(png_header(64, 64))), "00001.png"),
    "truncated target": (spoil(lambda p: halve(p.target_image)), "demo_000000"),
    "truncated target label": (spoil(lambda p: halve(p.target_label)), "gtFine_labelIds.png"),
    "truncated label": (spoil(lambda p: halve(p.label)), "labels/00001.png"),
    "colors as label": (spoil(lambda p: paint(p.label, 7, "RGB")), "colors"),
    "ids out of range": (spoil(lambda p: paint(p.label, 200)), "no pixel of a known class"),
    "all ignored": (spoil(lambda p: paint(p.label, 0)), "no pixel of a known class"),
    "jpeg as label": (
        spoil(lambda p: Image.open(p.image).save(p.label, "JPEG")),
        "label maps are PNG",
    ),
    "missing weights": (lambda p: ["--restore_from", p.root / "no.pth"], "no.pth"),
    "folder as weights": (lambda p: ["--restore_from", p.root], "no weights file"),
    "empty weights": (
        spoil(lambda p: p.weights.write_bytes(b""), ["--restore_from", "weights.pth"]),
        "not a checkpoint",
    ),
    "text as weights": (
        spoil(lambda p: p.weights.write_text("hello"), ["--restore_from", "weights.pth"]),
        "not a checkpoint",
    ),
    "truncated weights": (
        lambda p: [save_weights(p, {"a": torch.zeros(9999)}), halve(p.weights)][0],
        "weights.pth",
    ),
    "code in weights": (
        spoil(
            lambda p: p.weights.write_bytes(pickle.dumps(Malice(), protocol=2)),
            ["--restore_from", "weights.pth"],
        ),
        "weights.pth",
    ),
    "code in a torch file": (lambda p: save_weights(p, {"a": Malice()}), "weights.pth"),
    "list as weights": (lambda p: save_weights(p, [torch.zeros(3)]), "not a state dict"),
    "last.pth as weights": (lambda p: save_weights(p, {"student": {}, "iteration": 3}), "--resume"),
    "other class count": (lambda p: save_weights(p, network_state(16)), "16 classes"),
    "other network": (lambda p: save_weights(p, {"layer1.0.weight": torch.zeros(3)}), "fits"),
    "empty state dict": (lambda p: save_weights(p, {}), "fits"),
    "extra tensor": (lambda p: save_weights(p, network_state(extra=torch.zeros(1))), "extra"),
    "caffe with a gap": (
        lambda p: save_weights(p, {k: v for k, v in caffe_state().items() if k != "conv3_2.bias"}),
        "conv3_2.bias",
    ),
    "caffe of other shape": (
        lambda p: save_weights(p, caffe_state(**{"conv2_1.weight": torch.zeros(3)})),
        "features.5.weight",
    ),
    "negative rate": (lambda p: ["--learning_rate", "-1"], "--learning_rate"),
    "nan rate": (lambda p: ["--learning_rate", "nan"], "--learning_rate"),
    "infinite noise": (lambda p: ["--noise", "inf"], "--noise"),
    "size in words": (lambda p: ["--input_size", "big"], "WIDTH,HEIGHT"),
    "half a size": (lambda p: ["--input_size", "640"], "WIDTH,HEIGHT"),
    "zero size": (lambda p: ["--input-size", "0,32"], "WIDTH,HEIGHT"),
    "zero batch": (lambda p: ["--batch_size", "0"], "--batch_size"),
    "batch too large": (lambda p: ["--batch_size", "99"], "smaller --batch_size"),
    "negative workers": (lambda p: ["--num_workers", "-1"], "--num_workers"),
    "five branches": (lambda p: ["--classifier_branches", "5"], "from 1 to 4"),
    "momentum over 1": (lambda p: ["--momentum", "1.5"], "--momentum"),
    "threshold over 1": (lambda p: ["--attention_threshold", "2"], "--attention_threshold"),
    "class as ignored": (lambda p: ["--ignore_label", "3"], "--ignore_label 3"),
    "class count of the other": (lambda p: ["--num_classes", "16"], "--num_classes 16"),
    "unknown split": (lambda p: ["--target_split", "test"], "--target_split"),
    "unknown option": (lambda p: ["--learning_rat", "1"], "--learning_rat"),
    "snapshots in a file": (lambda p: ["--snapshot_dir", p.image / "x"], "--snapshot_dir"),
    "snapshots where none may write": (lambda p: ["--snapshot_dir", "/proc/run"], "/proc/run"),
    "cache in a file": (lambda p: ["--cache_dir", p.image / "x"], "--cache_dir"),
    "earlier run": (earlier_run, "--resume"),
    "damaged checkpoint": (lambda p: [*earlier_run(p), "--resume"], "last.pth"),
}

EVALUATION: dict[str, tuple[Callable[[Place], list[object]], str]] = {
    "missing checkpoint": (lambda p: ["--restore-from", p.root / "no.pth"], "no.pth"),
    "other class count": (
        lambda p: [*save_weights(p, network_state(16)), "--num-classes", 19], "16 classes"
    ),
    "unheard-of class count": (lambda p: save_weights(p, network_state(7)), "7 classes"),
    "caffe weights": (lambda p: save_weights(p, caffe_state()), "fits"),
    "missing data": (
        lambda p: [*save_weights(p, network_state()), "--data_dir", p.root / "no"], "no/leftImg8bit"
    ),
    "writes into the data": (
        lambda p: [*save_weights(p, network_state()), "--snapshot_dir", p.target / "maps"],
        "the data folder",
    ),
    "maps where none may write": (
        lambda p: [*save_weights(p, network_state()), "--snapshot_dir", "/proc/maps"], "/proc/maps"
    ),
    "truncated image": (
        lambda p: [*save_weights(p, network_state()), *spoil(lambda q: halve(q.target_image))(p)],
        "demo_000000",
    ),
}  # fmt: skip


def file_hashes(folder: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check_refusal(
    place: Place,
    options: list[object],
    program: Callable[[], None],
    fragment: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place.root)
    monkeypatch.setattr(sys, "argv", ["program", *map(str, options)])
    before = file_hashes(place.root)
    with pytest.raises(SystemExit) as ended:
        program()
    errors = capfd.readouterr().err
    assert ended.value.code == 2
    assert errors.count("error: ") - errors.count("libpng error: ") == 1, errors
    message = errors[errors.index("error: ") :]
    assert fragment in message
    assert "\n  " in message, "no remedy"
    assert "Traceback" not in errors
    after = file_hashes(place.root)
    assert {path: after.get(path) for path in before} == before
    assert not (place.root / "executed").exists()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write_demo(tmp_path, "gta5", count_source=2, count_target=2, size=(64, 32))
    return Place(tmp_path)


@pytest.mark.parametrize("case", TRAINING)
def test_training_refuses(
    case: str, place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, fragment = TRAINING[case]
    base: list[object] = [
        *("--data_dir_source", place.source, "--data_dir_target", place.target),
        *("--restore_from", "none", "--input_size", "64,32", "--max_iters", 1, "--device", "cpu"),
        *("--num_workers", 0, "--snapshot_dir", place.root / "snapshots"),
    ]

    check_refusal(place, base + make(place), SEAN_GTA5.main, fragment, capfd, monkeypatch)


@pytest.mark.parametrize("case", EVALUATION)
def test_evaluation_refuses(
    case: str, place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, fragment = EVALUATION[case]
    base: list[object] = [
        *("--data_dir", place.target, "--input_size", "64,32", "--device", "cpu"),
        *("--num_workers", 0, "--snapshot_dir", place.root / "maps"),
    ]
    check_refusal(place, base + make(place), evaluation.main, fragment, capfd, monkeypatch)


@pytest.mark.parametrize("kind", ["16-bit", "L", "RGBA", "P", "1x1", "CMYK"])
def test_unusual_images_are_read(kind: str, place: Place) -> None:
    picture = Image.open(place.image)
    if kind == "16-bit":
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(place.image)
    elif kind == "1x1":
        picture.resize((1, 1)).save(place.image)
    elif kind == "CMYK":
        place.image.unlink()
        picture.convert("CMYK").save(place.image.with_suffix(".jpg"))
    else:
        picture.convert(kind).save(place.image)
    dataset = SEAN_GTA5.GTA5Dataset(place.source, (64, 32))
    assert dataset[0].image.shape == (3, 32, 64)
