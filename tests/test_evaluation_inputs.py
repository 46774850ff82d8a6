"""evaluation.py: comparison, missing labels, mistakes, own images, the output folder."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import evaluation
from dataset.labels import CLASSES_16, LabelSpace
from inference.output_files import RESULTS, Outputs, stems_of
from model.SEAN import SEANet
from tests.runs import contents, read, refusal, save_network, scoring_words
from tests.test_evaluation import SIZE, run
from tests.test_own_images import SPACE
from tests.test_report import Page
from utils.errors import UserError


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of small networks, which say what they are."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    own = LabelSpace(CLASSES_16.names[::-1], CLASSES_16.colors)
    for name, space, size, variant in (
        ("plain", CLASSES_16, SIZE, {}),
        ("ablation", CLASSES_16, SIZE, {"use_attention": False, "classifier_branches": 1}),
        ("large", CLASSES_16, (128, 64), {}),
        ("reversed", own, SIZE, {}),
        ("three", SPACE, SIZE, {}),
    ):
        network = SEANet(space.num_classes, width=1 / 16, **variant)
        for branch in network.classifier.conv2d_list:
            torch.nn.init.normal_(branch.weight, std=10)
        save_network(folder / f"{name}.pth", network, space, size)
    state = torch.load(folder / "plain.pth")
    for name in state:  # each is finite, and their sums are not
        state[name] *= 1e12 if name.endswith("weight") else 1
    torch.save(state, folder / "overflows.pth")
    return folder


@pytest.mark.parametrize("void", [False, True])
def test_without_labels_it_predicts_and_says_so(void, small, cityscapes, tmp_path, capsys):
    """Of Cityscapes' test split there are no label maps, or ones that name no class."""
    data, folder = tmp_path / "data", tmp_path / "maps"
    (data / "gtFine/test/demo").mkdir(parents=True)
    shutil.copytree(cityscapes / "leftImg8bit/val", data / "leftImg8bit/test")
    shapes = [(64, 128), (60, 100), (64, 128)]
    images = sorted((data / "leftImg8bit/test").rglob("*.png"))
    for path, (height, width) in zip(images, shapes, strict=True):
        Image.open(path).resize((width, height)).save(path)
        if void:
            name = path.name.replace("leftImg8bit", "gtFine_labelIds")
            Image.new("L", (width, height), 3).save(data / "gtFine/test/demo" / name)
    folder.mkdir()
    for name in ("scores.json", "compare.json", "Evaluation.txt"):
        (folder / name).write_text("of an earlier run")
    words = scoring_words(small / "plain.pth", data, folder, "--split", "test")
    assert "no evaluation wrote it" in refusal(capsys, evaluation.main, *words)
    (folder / ".lock").touch()
    files = "--save_panels --save_attention --save_confidence --save_label_ids --report".split()
    run(small / "plain.pth", data, folder, "--split", "test", "--batch_size", 2, *files)
    text, page = (folder / "Evaluation.txt").read_text(), (folder / "report.html").read_text()
    assert re.search("nothing was scored: no label maps with a class in .*gtFine/test", text)
    assert text in capsys.readouterr().out
    assert len(text.splitlines()) == 1
    assert not list(folder.glob("*.json"))
    assert not re.search("<table|ground truth", page)
    assert [read(folder / f"label_ids/{path.name}").shape for path in images] == shapes


def test_both_are_scored_as_each_alone(small, cityscapes, tmp_path):
    """Networks of different variants; label maps and scores are those of B."""
    a, b, both = tmp_path / "ablation", tmp_path / "plain", tmp_path / "both"
    for folder in (a, b):
        run(small / f"{folder.name}.pth", cityscapes, folder)
    variant = ", fp32, without attention, classifier branches: 1, scored"
    assert variant in (a / "Evaluation.txt").read_text().splitlines()[0]
    more = ("--compare", small / "ablation.pth", "--report", "--batch_size", 2)
    run(small / "plain.pth", cityscapes, both, *more)
    files = (a / "scores.json", b / "scores.json", both / "compare.json")
    *alone, result = (json.loads(file.read_text()) for file in files)
    for name, scores in zip("ab", alone, strict=True):
        ious = {row: values[name] for row, values in result["iou"].items()}
        assert ious == {**scores["class_iou"], "mIoU": scores["miou"]}
    texts = ("Evaluation.txt", "compare.json", "report.html", ".lock")
    assert contents(both, *texts) == contents(b, *texts)
    text, alone_text = ((folder / "Evaluation.txt").read_text() for folder in (both, b))
    assert text.startswith(alone_text)
    page = Page((both / "report.html").read_text())
    titles = ["input", "A's prediction", "B's prediction", "ground truth", "B's errors"]
    assert page.text("figcaption")[:5] == titles
    first, second = (np.array(list(scores["image_miou"].values())) for scores in alone)
    images = np.array(list(alone[0]["image_miou"]))[np.argsort(-np.abs(second - first))]
    assert [text.split(". ")[1] for text in page.text("h3")] == images.tolist()


@pytest.mark.parametrize(
    ("name", "more", "fragment"),
    [
        ("plain", ["--images", "Figure", "--report"], "leave out --compare and --report"),
        ("three", [], "3 classes other than those of Cityscapes (19 or 16)"),
        ("ablation", ["--save_attention"], "leave out --save_attention"),
        ("three", ["--images", "photo.png", "--save_label_ids"], "Cityscapes has no class blue"),
        ("plain", ["--no_attention"], "--no_attention contradicts"),
        ("plain", ["--input_size", "128,64"], "trained with 64,32"),
        ("plain", ["--ignore-label", 15], "--ignore_label 15 is the id of a class"),
        ("plain", ["--compare", "large.pth"], "differ in their classes or input size"),
        ("plain", ["--compare", "reversed.pth"], "other than those of Cityscapes"),
        ("plain", ["--compare", "overflows.pth"], "outputs are not finite"),
        ("overflows", ["--images", "photo.png"], "outputs are not finite"),
    ],
)
def test_what_would_be_wrong_in_silence_is_refused(
    name, more, fragment, small, cityscapes, tmp_path, capfd, monkeypatch
):
    Image.new("RGB", (64, 32), "red").save(small / "photo.png")
    monkeypatch.chdir(small)
    words = scoring_words(small / f"{name}.pth", cityscapes, tmp_path / "maps", *more)
    message = refusal(capfd, evaluation.main, *words)
    assert fragment in message
    assert len(message.splitlines()) == 2
    assert not contents(tmp_path / "maps", ".lock", "legend.png")


def test_results_are_whole_and_one_evaluation_at_a_time_writes_them(tmp_path):
    assert stems_of(["a/1.png", "b/2.x.png"]) == ["1", "2.x"]
    assert stems_of(["a/1.png", "b/1.png", "2.png"]) == ["a/1", "b/1", "2"]
    outputs = Outputs(tmp_path, SPACE)
    outputs.write_results(dict.fromkeys(RESULTS, "earlier"))
    with pytest.raises(UserError, match="cannot write"):
        outputs.write_results({"no folder/scores.json": ""})
    assert contents(tmp_path).keys() == set(RESULTS)
    outputs.write_results({"Evaluation.txt": os.fsdecode(b"caf\xe9.png")})
    assert contents(tmp_path) == {"Evaluation.txt": rb"caf\udce9.png"}
    with outputs.open(["a.png"], []), pytest.raises(UserError, match="is in use"):
        outputs.open(["a.png"], [])
