"""The files of each image, and what they must not collide with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.labels import CITYSCAPES_IDS, CLASSES_16, LabelSpace
from inference.output_files import RESULTS, Outputs, stems_of
from inference.predict import Prediction
from tests.runs import contents
from utils.errors import UserError

PREDICTION = Prediction(
    torch.randn(16, 8, 16, generator=torch.Generator().manual_seed(0)), None, (64, 128)
)


def test_colors_and_label_ids_are_the_classes(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, ["label_ids"])
    with outputs.open(outputs.files("city/a"), []):
        outputs.save("city/a", PREDICTION, CLASSES_16, {})
    files = ["city/a.png", "city/a_color.png", "label_ids/city/a.png"]
    assert sorted(contents(tmp_path, ".lock")) == sorted(outputs.files("city/a")) == files
    classes, colors, ids = (np.asarray(Image.open(tmp_path / file)) for file in files)
    assert len(np.unique(classes)) == 16
    np.testing.assert_array_equal(classes, PREDICTION.classes)
    np.testing.assert_array_equal(colors, np.array(CLASSES_16.colors)[classes])
    of_names = np.array([CITYSCAPES_IDS[name] for name in CLASSES_16.names])
    np.testing.assert_array_equal(ids, of_names[classes])


def test_label_ids_of_classes_that_cityscapes_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cityscapes has no class boat\n  it has"):
        Outputs(tmp_path, ["label_ids"]).save(
            "a", PREDICTION, LabelSpace(("road", "boat"), ((0, 0, 0),) * 2), {}
        )
    assert not contents(tmp_path)


def test_equal_names_keep_their_folders() -> None:
    assert stems_of(["a/1.png", "b/2.x.png"]) == ["1", "2.x"]
    assert stems_of(["a/1.png", "b/1.png", "2.png"]) == ["a/1", "b/1", "2"]


@pytest.mark.parametrize(
    ("link", "target", "refusal"),
    [
        ("data/images", "maps", "would replace an input, or be read as an image"),
        ("data/images/x.png", "maps/x.png", "would replace an input"),
        ("maps/label_ids", "data/images", "would replace an input, or be read as an image"),
        ("maps", "data", "would replace an input"),
    ],
)
def test_inputs_that_links_lead_to_are_not_replaced(
    link: str, target: str, refusal: str, tmp_path: Path
) -> None:
    for folder in ("data/images", "maps"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("data/images/x.png", "data/x.png", "maps/x.png"):
        (tmp_path / file).write_bytes(file.encode())
    place = tmp_path / link
    if place.is_dir():
        place.rename(tmp_path / "away")
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / target)
    before, outputs = contents(tmp_path), Outputs(tmp_path / "maps", ["label_ids"])
    inputs = [tmp_path / "data/images/x.png", tmp_path / "data/x.png"]
    with pytest.raises(UserError, match=refusal):
        outputs.open(outputs.files("x"), inputs, [tmp_path / "data/images"])
    assert contents(tmp_path) == before


def test_results_replace_those_of_an_earlier_evaluation(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    outputs.write_results(dict.fromkeys(RESULTS, "earlier"))
    with pytest.raises(UserError, match="cannot write"):
        outputs.write_results({"no folder/scores.json": ""})
    assert contents(tmp_path).keys() == set(RESULTS)
    outputs.write_results({"Evaluation.txt": os.fsdecode(b"caf\xe9.png")})
    assert contents(tmp_path) == {"Evaluation.txt": rb"caf\udce9.png"}


def test_one_evaluation_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "maps")
    with outputs.open(["a.png"], []), pytest.raises(UserError, match="is in use"):
        outputs.open(["a.png"], [])
