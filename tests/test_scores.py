"""Scores from confusion matrices, against loops; of the interval, see test_compare."""

from __future__ import annotations

import csv
import json
import math
import os

import pytest
import torch

from inference.scores import Scores, score, score_files

NAMES = ("road", "wall", "sky", "never")


def example() -> torch.Tensor:
    """12 matrices of 4 classes; the last class is in no label, and image 3 has no label at all."""
    generator = torch.Generator().manual_seed(1)
    confusions = torch.randint(0, 200, (12, 4, 4), generator=generator)
    confusions += torch.diag(torch.tensor([900, 90, 300, 0]))
    confusions[:, 3] = 0
    confusions[:, :, 3] = 0
    confusions[3] = 0
    return confusions


def scored(confusions: torch.Tensor, left_out: tuple[str, ...] = ()) -> Scores:
    scores = score(confusions, NAMES, left_out)
    assert scores is not None
    return scores


def naive_iou(counts: list[list[int]]) -> list[float]:
    classes = range(len(counts))
    values = []
    for index in classes:
        row, column = sum(counts[index]), sum(counts[other][index] for other in classes)
        union = row + column - counts[index][index]
        values.append(counts[index][index] / union if union else math.nan)
    return values


def naive_mean(values: list[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return sum(kept) / len(kept)


def test_against_loops() -> None:
    confusions = example()
    scores = scored(confusions, ("wall",))
    counts = confusions.sum(0).tolist()
    iou = naive_iou(counts)
    assert scores.confusion.tolist() == counts
    assert scores.iou == pytest.approx(iou, rel=1e-12, nan_ok=True)
    assert scores.miou == pytest.approx(sum(iou[:3]) / 3, rel=1e-12)
    low, high = scores.interval
    assert low < scores.miou < high
    assert scores.miou_13 == pytest.approx((iou[0] + iou[2]) / 2, rel=1e-12)
    right, rows = [counts[i][i] for i in range(4)], [sum(row) for row in counts]
    assert scores.pixel_accuracy == pytest.approx(sum(right) / sum(rows), rel=1e-12)
    accuracy = [right[i] / rows[i] for i in range(3)]
    assert scores.accuracy[:3] == pytest.approx(accuracy, rel=1e-12)
    assert scores.mean_accuracy == pytest.approx(sum(accuracy) / 3, rel=1e-12)
    assert math.isnan(scores.iou[3])
    assert math.isnan(scores.accuracy[3])
    assert math.isnan(scores.image_miou[3])
    assert scores.image_miou[5] == pytest.approx(naive_mean(naive_iou(confusions[5].tolist())))


def test_one_image_has_no_interval() -> None:
    confusions = example()[2:4]  # the second has no label
    scores = scored(confusions)
    assert all(math.isnan(end) for end in scores.interval)
    assert scores.miou == scores.image_miou[0]
    text = score_files(scores, "", ["a.png", "b.png"])["Evaluation.txt"]
    assert "mIoU, 95 % interval needs two labelled images\n" in text


@pytest.mark.parametrize("left_out", [(), ("wall",)])
def test_files_tell_the_same(left_out: tuple[str, ...]) -> None:
    confusions = example()
    scores = scored(confusions, left_out)
    order = [*NAMES, "mIoU", *(["mIoU (13)"] if left_out else []), "pixel accuracy"]
    order += ["mean accuracy"]
    images = [f"{index}.png" for index in range(12)]
    files = score_files(scores, "what was scored", images)
    protocol, *lines, interval = files["Evaluation.txt"].splitlines()
    assert protocol == "what was scored"
    percent = dict(line.rsplit(maxsplit=1) for line in lines)
    rows = list(csv.reader(files["scores.csv"].splitlines()))
    low, high = (100 * float(value) for _, value in rows[-2:])
    assert interval == f"mIoU, 95 % interval {low:.2f} to {high:.2f}"
    ends = dict(rows[-2:])
    rows = rows[:-2]
    assert rows[0] == ["score", "value"]
    assert [name for name, _ in rows[1:]] == list(percent) == order
    for name, value in rows[1:]:
        assert float(percent[name]) == pytest.approx(100 * float(value), abs=0.005, nan_ok=True)
    table = json.loads(files["scores.json"], parse_constant=pytest.fail)
    values = dict(rows)
    assert table["protocol"] == "what was scored"
    assert table["miou"] == float(values["mIoU"])
    assert table["miou_95_percent"][1] == float(ends["mIoU 95 % interval to"])
    assert ("miou_13" in table) == bool(left_out)
    assert table["class_iou"] == dict(zip(NAMES, [*scores.iou[:3], None], strict=True))
    assert table["class_accuracy"]["sky"] == scores.accuracy[2]
    assert table["image_miou"]["3.png"] is None
    assert table["image_miou"]["5.png"] == scores.image_miou[5]
    assert table["confusion"] == confusions.sum(0).tolist()


def test_names_that_are_not_utf_8_survive_in_json() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    written = score_files(scored(example()[:1]), "", [name])["scores.json"].encode()
    assert name in json.loads(written)["image_miou"]
