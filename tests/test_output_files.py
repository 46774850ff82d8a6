"""The files of each image, and what they must not collide with."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.labels import CITYSCAPES_IDS, CLASSES_16
from dataset.segmentation_dataset import SegmentationDataset
from inference import output_files
from inference.output_files import REPORT, RESULTS, OutputFiles
from inference.predict import Prediction
from tests.runs import contents
from training.options import EvaluationOptions
from utils.errors import UserError

PICTURES = ("save_attention", "save_confidence", "save_panels", "save_label_ids", "report")
ALL = dict.fromkeys(PICTURES, True)


def dataset(data: Path) -> SegmentationDataset:
    return Cityscapes16Dataset(data, (64, 32), labels="none")


def write(data: Path, folder: Path, labelled: bool = True, **changes: bool) -> tuple[str, set[str]]:
    """Write the files of the first image; returns its stem and the titles of the tiles."""
    options = replace(EvaluationOptions(snapshot_dir=str(folder)), **changes)
    images = dataset(data)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(16, 8, 16, generator=generator)
    prediction = Prediction(logits, torch.rand(8, 16, generator=generator), (64, 128))
    label = torch.randint(0, 16, (64, 128)) if labelled else torch.full((64, 128), 255)
    tiles = OutputFiles(options, images).write(images.names[0], prediction, label)
    read = np.asarray(Image.open(folder / f"{Path(images.names[0]).stem}.png"))
    np.testing.assert_array_equal(read, prediction.classes)
    return Path(images.names[0]).stem, set(tiles)


def test_colors_and_label_ids_are_the_classes(cityscapes: Path, tmp_path: Path) -> None:
    stem, tiles = write(cityscapes, tmp_path, save_label_ids=True)
    assert tiles == set()
    classes, colors, ids = (
        np.asarray(Image.open(tmp_path / name))
        for name in (f"{stem}.png", f"{stem}_color.png", f"label_ids/{stem}.png")
    )
    assert len(np.unique(classes)) == 16
    np.testing.assert_array_equal(colors, np.array(CLASSES_16.colors)[classes])
    of_names = np.array([CITYSCAPES_IDS[name] for name in CLASSES_16.names])
    np.testing.assert_array_equal(ids, of_names[classes])


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_asked_for_is_written(cityscapes: Path, tmp_path: Path, labelled: bool) -> None:
    stem, tiles = write(cityscapes, tmp_path, labelled, **ALL)
    pictures = ["", "_color", "_attention", "_confidence", "_panel"]
    expected = {f"{stem}{ending}.png" for ending in pictures} | {"label_ids"}
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == expected
    claimed = set(json.loads((tmp_path / ".written.json").read_bytes()))
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")]
    stems = [Path(name).stem for name in dataset(cityscapes).names]
    every = {file.replace(stem, other) for file in files for other in stems}
    assert claimed == every | {*RESULTS, REPORT}
    truth = {"ground", "error"} if labelled else set()
    assert {tile.split()[0] for tile in tiles} == {"input", "prediction", "attention"} | truth
    for ending in ("_attention", "_confidence"):
        width, height = Image.open(tmp_path / f"{stem}{ending}.png").size
        assert width >= 128  # as wide as the legend
        assert height > 64, "no scale below"
    assert Image.open(tmp_path / f"{stem}_panel.png").width == len(tiles) * 392 + 8


def test_images_of_one_name_in_two_folders_are_refused(tmp_path: Path) -> None:
    for city in ("a", "b"):
        folder = tmp_path / "data/leftImg8bit/val" / city
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 8)).save(folder / "x_leftImg8bit.png")
    options = EvaluationOptions(snapshot_dir=str(tmp_path / "maps"))
    with pytest.raises(UserError, match=r"maps/x_leftImg8bit\.png would be written twice"):
        OutputFiles(options, dataset(tmp_path / "data"))
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("link", "target", "refusal"),
    [
        ("data/leftImg8bit/val", "maps", "lies within the data folder"),
        ("data/leftImg8bit/val/a", "maps", "lies within the data folder"),
        ("data/leftImg8bit/val/x_leftImg8bit.png", "maps/x_leftImg8bit.png", "which is read"),
        ("data/gtFine/val/x_gtFine_labelIds.png", "maps/x_leftImg8bit.png", "which is read"),
        ("maps/label_ids", "data/gtFine/val", "lies within the data folder"),
        ("other.pth", "maps/scores.json", "which is read"),
        ("maps", "data/gtFine", "lies within the data folder"),
    ],
)
def test_files_that_links_lead_to_are_not_replaced(
    link: str, target: str, refusal: str, tmp_path: Path
) -> None:
    """Not even if this program wrote them."""
    for name in ("data/leftImg8bit/val/x_leftImg8bit.png", "maps/x_leftImg8bit.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (16, 8)).save(tmp_path / name)
    (tmp_path / "data/gtFine/val").mkdir(parents=True)
    (tmp_path / "maps/.written.json").write_text('["x_leftImg8bit.png", "scores.json"]')
    place = tmp_path / link
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / target)
    options = EvaluationOptions(
        snapshot_dir=str(tmp_path / "maps"),
        save_label_ids=True,
        compare=str(tmp_path / "other.pth"),
    )
    before = contents(tmp_path)
    with pytest.raises(UserError, match=refusal):
        OutputFiles(options, dataset(tmp_path / "data"))
    assert contents(tmp_path) == before


def test_pictures_of_an_image_are_drawn_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photograph of 48 megapixels has pictures of 150 MB."""
    held: list[weakref.ref[Any]] = []

    def note(path: Path, picture: Any) -> None:
        assert sum(earlier() is not None for earlier in held) <= 1, "besides the classes"
        held.append(weakref.ref(picture))

    monkeypatch.setattr(output_files, "save_png", note)
    options = EvaluationOptions(images="photos", save_attention=True, save_confidence=True)
    prediction = Prediction(torch.randn(16, 2, 4), torch.rand(2, 4), (16, 32))
    picture = np.zeros((16, 32, 3), np.uint8)
    output_files.save_pictures(tmp_path / "a", picture, prediction, CLASSES_16, options)
    assert len(held) == len(output_files.image_files("a", options)) == 5


def test_label_ids_next_to_other_files_are_refused(cityscapes: Path, tmp_path: Path) -> None:
    (tmp_path / "label_ids").mkdir()
    (tmp_path / "label_ids/other_000000_000019.png").write_bytes(b"")
    with pytest.raises(UserError, match="label_ids holds other_000000_000019,"):
        write(cityscapes, tmp_path, save_label_ids=True)
    assert [path.name for path in tmp_path.iterdir()] == ["label_ids"]


def test_results_replace_those_of_an_earlier_evaluation(cityscapes: Path, tmp_path: Path) -> None:
    files = OutputFiles(EvaluationOptions(snapshot_dir=str(tmp_path)), dataset(cityscapes))
    earlier = dict.fromkeys(RESULTS, "earlier")
    files.write_results(earlier)
    with pytest.raises(UserError, match="cannot write"):
        files.write_results({"no folder/scores.json": ""})
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == earlier.keys()
    files.write_results({"Evaluation.txt": os.fsdecode(b"caf\xe9.png"), REPORT: "page"})
    assert (tmp_path / "Evaluation.txt").read_text() == r"caf\udce9.png"
    left = {path.name for path in tmp_path.iterdir() if path.name[0] != "."}
    assert left == {"Evaluation.txt", REPORT}
