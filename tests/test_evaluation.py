"""Scores of evaluation.py on the demo's Cityscapes: from its files, and by the official tool."""

import json
from argparse import Namespace
from html import unescape
from types import SimpleNamespace

import cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling as official
import numpy as np
import pytest
import torch

import evaluation
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.labels import CITYSCAPES_IDS, CLASSES_16, LEFT_OUT_OF_13
from dataset.segmentation_dataset import SegmentationDataset
from model.checkpoint import load_network
from model.SEAN import SEANet, network_input
from tests.reference import as_tensors, fixture
from tests.runs import read, run_main, save_network, scoring_words
from tests.test_metrics import naive_iou

SIZE = (64, 32)


@pytest.fixture(scope="module", params=[19, 16])
def checkpoint(request, cityscapes, tmp_path_factory):
    """Weights with which many classes are predicted: no class's logits are larger on average.

    The file of 16 classes describes itself; that of 19 is as the original's.
    """
    network = SEANet(request.param)
    network.load_state_dict(as_tensors(fixture.reference_state(request.param)))
    samples = SegmentationDataset(CITYSCAPES, cityscapes, SIZE, labels="none")
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples])
    with torch.no_grad():
        logits = network(network_input(images)).logits
        spread = logits.std((0, 2, 3))
        for convolution in network.classifier.conv2d_list:
            convolution.weight /= spread[:, None, None, None]
            convolution.bias /= spread
        network.classifier.conv2d_list[0].bias -= logits.mean((0, 2, 3)) / spread
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    if request.param == 16:
        return save_network(path, network, CLASSES_16, SIZE, "adapts from A to B")
    torch.save(network.state_dict(), path)
    return path


def run(checkpoint, data, folder, *more):
    assert run_main(evaluation.main, *scoring_words(checkpoint, data, folder, *more)) == 0


@pytest.fixture(scope="module")
def evaluated(checkpoint, cityscapes, tmp_path_factory):
    """Output folder, and what scores.json says."""
    folder = tmp_path_factory.mktemp("maps")
    more = () if load_network(checkpoint)[1].names else ("--input_size", "64,32")
    run(checkpoint, cityscapes, folder, "--save_label_ids", "--report", *more)
    scores = json.loads((folder / "scores.json").read_text())
    iou = [np.nan if value is None else value for value in scores["class_iou"].values()]
    return SimpleNamespace(folder=folder, scores=scores, iou=iou, names=list(scores["class_iou"]))


def test_scores_are_those_of_the_label_maps(evaluated, cityscapes):
    """From the files alone, class by class."""
    files = sorted((cityscapes / "gtFine/val").rglob("*_gtFine_labelIds.png"))
    label = np.stack([read(path) for path in files])
    names = [path.name.replace("gtFine_labelIds", "leftImg8bit") for path in files]
    prediction = np.stack([read(evaluated.folder / name) for name in names])
    assert prediction.shape == (3, 64, 128)
    ids = [CITYSCAPES_IDS[name] for name in evaluated.names]
    train_ids = np.vectorize(lambda label_id: ids.index(label_id) if label_id in ids else 255)
    expected = naive_iou(prediction, train_ids(label), len(ids))
    assert evaluated.iou == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert evaluated.scores["miou"] == pytest.approx(np.nanmean(evaluated.iou), rel=1e-12)
    assert len(np.unique(prediction)) > 9
    low, high = evaluated.scores["miou_95_percent"]
    assert low <= evaluated.scores["miou"] <= high
    pairs = zip(evaluated.names, evaluated.iou, strict=True)
    kept = [iou for name, iou in pairs if name not in LEFT_OUT_OF_13]
    mean = np.nanmean(kept) if len(kept) == 13 else None
    assert evaluated.scores.get("miou_13") == (mean and pytest.approx(mean, rel=1e-12))


def test_protocol(evaluated, cityscapes, checkpoint):
    protocol = (evaluated.folder / "Evaluation.txt").read_text().splitlines()[0]
    for fact in (checkpoint, cityscapes, "3 images", "split val", "64x32", "fp32", "own size"):
        assert str(fact) in protocol
    assert ("; training: adapts from A to B" in protocol) == (checkpoint.stem == "16")
    assert evaluated.scores["protocol"] == protocol
    assert protocol in unescape((evaluated.folder / "report.html").read_text())


def test_official_tool_gives_our_scores(evaluated, cityscapes):
    """For 19 classes directly; for 16 without the pixels of the three other classes.

    In the tool's own scores of 16 classes, terrain, truck and train count 0, and what is predicted
    there counts against that class.
    """
    arguments = Namespace(**vars(official.args))
    arguments.predictionPath = str(evaluated.folder / "label_ids")
    arguments.evalInstLevelScore = False  # that needs instance maps
    arguments.JSONOutput = False
    arguments.quiet = True
    labels = sorted(map(str, (cityscapes / "gtFine/val").rglob("*_gtFine_labelIds.png")))
    predictions = [official.getPrediction(arguments, label) for label in labels]
    judged = official.evaluateImgLists(predictions, labels, arguments)
    longer = {"light": "traffic light", "sign": "traffic sign"}  # the papers' names are shorter
    theirs = [judged["classScores"][longer.get(name, name)] for name in evaluated.names]
    if len(theirs) == 19:
        assert evaluated.iou == pytest.approx(theirs, abs=1e-6, nan_ok=True)
        miou = evaluated.scores["miou"]
        assert miou == pytest.approx(judged["averageScoreClasses"], abs=1e-6)
        return
    confusion, ids = np.array(judged["confMatrix"]), [CITYSCAPES_IDS[n] for n in evaluated.names]
    ours = np.array(evaluated.scores["confusion"])
    np.testing.assert_array_equal(ours, confusion[np.ix_(ids, ids)])
    others = [name for name in CITYSCAPES_IDS if name not in evaluated.names]
    present = [name for name in others if confusion[CITYSCAPES_IDS[name]].any()]
    assert present
    assert all(judged["classScores"][name] == 0 for name in present)
    extra = confusion[np.ix_([CITYSCAPES_IDS[name] for name in others], ids)].sum(0)
    union = ours.sum(0) + ours.sum(1) - ours.diagonal() + extra
    expected = np.where(union > 0, ours.diagonal() / np.maximum(union, 1), np.nan)
    assert theirs == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert not np.any(theirs > np.array(evaluated.iou))
    assert judged["averageScoreClasses"] < evaluated.scores["miou"]
