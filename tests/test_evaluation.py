"""evaluation.py on the demo's Cityscapes: files, splits without labels, the official tool."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling as official
import numpy as np
import pytest
import torch
from PIL import Image

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.demo import write_demo
from dataset.labels import CITYSCAPES_IDS, CLASSES_16, LABEL_SPACES, LEFT_OUT_OF_13
from dataset.transforms import network_input
from evaluation import Evaluation
from model.SEAN import SEANet
from tests.reference import as_tensors, fixture
from utils.errors import UserError
from utils.evaluation.predict import class_map, confidence_map
from utils.evaluation.scores import Scores
from utils.options import EvaluationConfig

SIZE = (64, 32)
OFFICIAL_NAMES = {"light": "traffic light", "sign": "traffic sign"}
"""What the benchmark calls classes for which we use the shorter names of the papers."""
PICTURES = {"save_panels": True, "save_attention": True, "save_confidence": True, "report": True}


class Evaluated(NamedTuple):
    folder: Path
    scores: Scores


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images and their labels, of 128x64."""
    root = tmp_path_factory.mktemp("data")
    write_demo(root, "gta5", count_source=0, count_target=3, size=(128, 64))
    return root / "Cityscapes"


@pytest.fixture(scope="module", params=[19, 16])
def checkpoint(request: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with which many classes are predicted: no class's logits are larger on average."""
    network = SEANet(request.param)
    network.load_state_dict(as_tensors(fixture.reference_state(request.param)))
    images = torch.stack([sample.image for sample in CityscapesDataset(data, SIZE, labels="none")])
    with torch.no_grad():
        logits = network(network_input(images)).logits
        spread = logits.std((0, 2, 3))
        for convolution in network.classifier.conv2d_list:
            convolution.weight /= spread[:, None, None, None]
            convolution.bias /= spread
        network.classifier.conv2d_list[0].bias -= logits.mean((0, 2, 3)) / spread
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(network.state_dict(), path)
    return path


def evaluation(checkpoint: Path, data: Path, folder: Path, **options: Any) -> Evaluation:
    config = EvaluationConfig(
        data_dir=str(data), restore_from=str(checkpoint), snapshot_dir=str(folder),
        input_size=SIZE, device="cpu", num_workers=0, **options,
    )  # fmt: skip
    return Evaluation(config)


@pytest.fixture(scope="module")
def evaluated(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("maps")
    scores = evaluation(checkpoint, data, folder, export="label_ids", **PICTURES).run()
    assert scores is not None
    return Evaluated(folder, scores)


def stems(data: Path, split: str = "val") -> list[str]:
    return sorted(path.stem for path in (data / "leftImg8bit" / split).rglob("*.png"))


def read(path: Path) -> Any:
    return np.asarray(Image.open(path))


def ids_of(scores: Scores) -> list[int]:
    return [CITYSCAPES_IDS[name] for name in scores.names]


def test_files(evaluated: Evaluated, data: Path) -> None:
    expected = {"Evaluation.txt", "scores.json", "scores.csv", "report.html", "label_ids"}
    for stem in stems(data):
        expected |= {f"{stem}{end}.png" for end in ("", "_color", "_attention", "_confidence")}
        expected.add(f"{stem}_panel.png")
    assert {path.name for path in evaluated.folder.iterdir()} == expected
    names = {path.name for path in (evaluated.folder / "label_ids").iterdir()}
    assert names == {f"{stem}.png" for stem in stems(data)}


def test_scores_are_those_of_the_label_maps(evaluated: Evaluated, data: Path) -> None:
    """From the files alone, class by class."""
    folder, scores = evaluated
    labels = [read(path) for path in sorted((data / "gtFine/val").rglob("*_gtFine_labelIds.png"))]
    label = np.stack(labels)
    prediction = np.stack([read(folder / f"{stem}.png") for stem in stems(data)])
    assert prediction.shape == (3, 64, 128)
    known = np.isin(label, ids_of(scores))
    for train_id, label_id in enumerate(ids_of(scores)):
        mine, theirs = (prediction == train_id) & known, label == label_id
        union = (mine | theirs).sum()
        expected = (mine & theirs).sum() / union if union else np.nan
        assert scores.iou[train_id] == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert scores.miou == pytest.approx(np.nanmean(scores.iou), rel=1e-12)
    assert len(np.unique(prediction)) > 9
    low, high = scores.interval
    assert low <= scores.miou <= high


def test_mean_over_13_classes_is_for_16(evaluated: Evaluated) -> None:
    scores, text = evaluated.scores, (evaluated.folder / "Evaluation.txt").read_text()
    if len(scores.names) == 19:
        assert scores.miou_13 is None
        assert "(13)" not in text
        return
    kept = [v for n, v in zip(scores.names, scores.iou, strict=True) if n not in LEFT_OUT_OF_13]
    assert len(kept) == 13
    assert scores.miou_13 == pytest.approx(np.nanmean(kept), rel=1e-12)
    assert f"mIoU (13)      {100 * scores.miou_13:6.2f}" in text


def test_protocol(evaluated: Evaluated, data: Path, checkpoint: Path) -> None:
    protocol = (evaluated.folder / "Evaluation.txt").read_text().splitlines()[0]
    for fact in (checkpoint, data, "3 images", "split val", "64x32", "fp32", "own size"):
        assert str(fact) in protocol
    assert json.loads((evaluated.folder / "scores.json").read_text())["protocol"] == protocol
    assert escape(protocol) in (evaluated.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, ""),
        ({"no_attention": True}, ", without attention"),
        ({"classifier_branches": 4}, ", 4 classifier branches"),
        (
            {"no_attention": True, "classifier_branches": 1},
            ", without attention, 1 classifier branch",
        ),
    ],
)
def test_protocol_names_the_variant(
    options: dict[str, Any], named: str, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    """A checkpoint does not record it, and another variant scores differently."""
    protocol = evaluation(checkpoint, data, tmp_path, **options)._protocol(None)
    assert f", fp32{named}, nothing was scored" in protocol


def test_colors_and_label_ids_are_the_classes(evaluated: Evaluated, data: Path) -> None:
    space = LABEL_SPACES[len(evaluated.scores.names)]
    for stem in stems(data):
        classes = read(evaluated.folder / f"{stem}.png")
        ids = np.array(ids_of(evaluated.scores))[classes]
        np.testing.assert_array_equal(read(evaluated.folder / f"label_ids/{stem}.png"), ids)
        colors = np.array(space.colors)[classes]
        np.testing.assert_array_equal(read(evaluated.folder / f"{stem}_color.png"), colors)


def test_pictures_have_a_color_bar_under_them(evaluated: Evaluated, data: Path) -> None:
    for kind in ("attention", "confidence"):
        height, width, channels = read(evaluated.folder / f"{stems(data)[0]}_{kind}.png").shape
        assert (width, channels) == (128, 3)
        assert height > 64


def test_confidence_is_the_probability_of_the_class() -> None:
    logits = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(0)) * 3
    size = (32, 64)
    upsampled = torch.nn.functional.interpolate(logits[None], size=size, mode="bilinear")[0]
    odds = upsampled.double().exp()
    share = odds.gather(0, class_map(logits, size)[None].long())[0] / odds.sum(0)
    torch.testing.assert_close(confidence_map(logits, size).double(), share, atol=1e-6, rtol=0)


# --- the official tool ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(evaluated: Evaluated, data: Path) -> dict[str, Any]:
    """What cityscapesScripts says of the label-id maps; it finds them by the images' names."""
    arguments = Namespace(**vars(official.args))
    arguments.predictionPath = str(evaluated.folder / "label_ids")
    arguments.evalInstLevelScore = False  # that needs instance maps
    arguments.JSONOutput = False
    arguments.quiet = True
    labels = sorted(map(str, (data / "gtFine/val").rglob("*_gtFine_labelIds.png")))
    predictions = [official.getPrediction(arguments, label) for label in labels]
    return official.evaluateImgLists(predictions, labels, arguments)


def test_official_tool_gives_our_scores(evaluated: Evaluated, judged: dict[str, Any]) -> None:
    """For 19 classes outright; for 16 once it forgets the pixels of the three others."""
    scores = evaluated.scores
    theirs = [judged["classScores"][OFFICIAL_NAMES.get(name, name)] for name in scores.names]
    if len(scores.names) == 19:
        assert scores.iou == pytest.approx(theirs, abs=1e-6, nan_ok=True)
        assert scores.miou == pytest.approx(judged["averageScoreClasses"], abs=1e-6)
        return
    ids = ids_of(scores)
    confusion = np.array(judged["confMatrix"])[np.ix_(ids, ids)]
    np.testing.assert_array_equal(scores.confusion.numpy(), confusion)


def test_official_tool_scores_16_classes_among_19(
    evaluated: Evaluated, judged: dict[str, Any]
) -> None:
    """Terrain, truck and train count 0, and what is predicted there counts against that class."""
    scores = evaluated.scores
    if len(scores.names) == 19:
        return
    confusion = np.array(judged["confMatrix"])
    others = [CITYSCAPES_IDS[name] for name in ("terrain", "truck", "train")]
    present = [
        name for name in ("terrain", "truck", "train") if confusion[CITYSCAPES_IDS[name]].any()
    ]
    assert present
    assert all(judged["classScores"][name] == 0 for name in present)
    ours = scores.confusion.double().numpy()
    for index, name in enumerate(CLASSES_16.names):
        extra = confusion[others, CITYSCAPES_IDS[name]].sum()
        union = ours[index].sum() + ours[:, index].sum() - ours[index, index]
        expected = ours[index, index] / (union + extra) if union + extra else np.nan
        theirs = judged["classScores"][OFFICIAL_NAMES.get(name, name)]
        assert theirs == pytest.approx(expected, abs=1e-9, nan_ok=True)
        assert not theirs > scores.iou[index]
    assert confusion[others].sum() > 0
    assert judged["averageScoreClasses"] < scores.miou


# --- other splits, no labels ------------------------------------------------------------------


@pytest.fixture
def unlabelled(data: Path, tmp_path: Path) -> Path:
    """A test split of two images without label maps; one is of another size."""
    folder = tmp_path / "Cityscapes/leftImg8bit/test/demo"
    shutil.copytree(data / "leftImg8bit/val/demo", folder)
    _, second, third = sorted(folder.iterdir())
    Image.open(second).resize((100, 60)).save(second)
    third.unlink()
    return tmp_path / "Cityscapes"


def check_unscored(folder: Path, reason: str, output: str) -> None:
    text = (folder / "Evaluation.txt").read_text()
    assert "nothing was scored" in text
    assert reason in text
    assert text in output
    assert len(text.splitlines()) == 1
    assert not list(folder.glob("scores.*"))
    assert "<table" not in (folder / "report.html").read_text()


def test_without_labels_it_predicts_and_says_so(
    checkpoint: Path, unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "scores.json").write_text("of an earlier run")
    run = evaluation(
        checkpoint, unlabelled, folder, split="test", export="label_ids", batch_size=2, **PICTURES
    )
    assert run.run() is None
    check_unscored(folder, "gtFine/test are missing", capsys.readouterr().out)
    shapes = [read(folder / f"label_ids/{s}.png").shape for s in stems(unlabelled, "test")]
    assert shapes == [(64, 128), (60, 100)]  # the images' own sizes
    panel = read(folder / f"{stems(unlabelled, 'test')[0]}_panel.png")
    assert panel.shape[1] == 3 * 392 + 8  # no ground truth, no error


def test_labels_that_name_no_class_score_nothing(
    checkpoint: Path, unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Cityscapes publishes those of its test split."""
    void = unlabelled / "gtFine/test/demo"
    void.mkdir(parents=True)
    for stem in stems(unlabelled, "test"):
        name = stem.replace("_leftImg8bit", "_gtFine_labelIds.png")
        Image.new("L", (128, 64), 3).save(void / name)
    folder = tmp_path / "maps"
    assert evaluation(checkpoint, unlabelled, folder, split="test", report=True).run() is None
    check_unscored(folder, "hold no pixel of a class", capsys.readouterr().out)
    assert "ground truth" not in (folder / "report.html").read_text()


def test_split_train_is_other_images(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    run = evaluation(checkpoint, data, tmp_path, split="train")
    assert run.dataset.image_folder == data / "leftImg8bit/train"
    assert run.dataset.label_folder == data / "gtFine/train"
    assert run.dataset.labels == "own size"


# --- mistakes ---------------------------------------------------------------------------------


def test_some_labels_missing_is_a_mistake(
    checkpoint: Path, unlabelled: Path, tmp_path: Path
) -> None:
    stem = stems(unlabelled, "test")[0].replace("_leftImg8bit", "_gtFine_labelIds")
    (unlabelled / "gtFine/test/demo").mkdir(parents=True)
    Image.new("L", (128, 64), 7).save(unlabelled / f"gtFine/test/demo/{stem}.png")
    with pytest.raises(UserError, match="1 of 2 images have no label map"):
        evaluation(checkpoint, unlabelled, tmp_path / "maps", split="test")


def test_a_plain_folder_is_for_own_images(
    checkpoint: Path, unlabelled: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--images"):
        evaluation(checkpoint, unlabelled / "leftImg8bit/test", tmp_path / "maps")


def test_images_called_like_pictures_of_others_are_refused(
    checkpoint: Path, unlabelled: Path, tmp_path: Path
) -> None:
    folder = unlabelled / "leftImg8bit/test"
    for name in ("a_leftImg8bit.png", "a_leftImg8bit_color.png"):
        Image.new("RGB", (128, 64)).save(folder / name)
    names = tmp_path / "list.txt"
    names.write_text("a_leftImg8bit.png\na_leftImg8bit_color.png\n")
    with pytest.raises(UserError, match="one name"):
        evaluation(checkpoint, unlabelled, tmp_path / "maps", split="test", data_list=str(names))


def test_split_without_images_names_it(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"leftImg8bit/test\n  expected: .*gtFine/test"):
        evaluation(checkpoint, data, tmp_path, split="test")


def test_label_ids_beside_other_files_are_refused(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "label_ids").mkdir()
    (tmp_path / "label_ids/other_000000_000019.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"label_ids holds other_000000_000019\.png"):
        evaluation(checkpoint, data, tmp_path, export="label_ids")


def test_attention_of_a_network_without_is_refused(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--save_attention"):
        evaluation(checkpoint, data, tmp_path, save_attention=True, no_attention=True)
