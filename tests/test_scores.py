"""Scores and comparisons from confusion matrices, against loops and a naive paired bootstrap."""

import json
import math
import os
from functools import partial

import numpy as np
import pytest
import torch

from inference.scores import compare, result_files, score

NAMES = ("road", "wall", "sky", "never", "rare")
IMAGES = [os.fsdecode(b"caf\xe9.png"), *(f"{index}.png" for index in range(1, 12))]


def example(gain=4):
    """12 pairs of matrices, of A and of B, which labels ``gain`` pixels better per class and image.

    The fourth class is nowhere, the fifth in one image, and image 3 has no label.
    """
    generator = torch.Generator().manual_seed(1)
    first = torch.randint(20, 200, (12, 5, 5), generator=generator)
    first += torch.diag(torch.tensor([900, 90, 300, 0, 0]))
    first[:, 3] = first[:, :, 3] = first[:, 4] = first[:, :, 4] = 0
    first[5, 4, :3] = 50
    first[3] = 0
    noise = torch.randint(-15, 16, (12, 3), generator=generator)
    noise[3] = 0
    second = first.clone()
    for index in range(3):  # pixels move from wrong to right, or back
        moved = noise[:, index] + gain * (first[:, index].sum(1) > 0)
        second[:, index, index] += moved
        second[:, index, (index + 1) % 3] -= moved
    assert (second >= 0).all()
    return torch.stack([first, second], 1)


def scored(confusions, left_out=()):
    return score(confusions, NAMES, IMAGES[: len(confusions)], left_out)


def naive_iou(counts):
    values, classes = list[float](), range(len(counts))
    for index in classes:
        row, column = sum(counts[index]), sum(counts[other][index] for other in classes)
        union = row + column - counts[index][index]
        values.append(counts[index][index] / union if union else math.nan)
    return values


def naive_mean(values):
    kept = [value for value in values if not math.isnan(value)]
    return sum(kept) / len(kept)


def naive_shares(counts):
    """IoU of each class, then their mean."""
    iou = naive_iou(counts.tolist())
    return [*iou, naive_mean(iou)]


def numbers(values):
    return [math.nan if value is None else value for value in values]


approx = partial(pytest.approx, rel=1e-12, nan_ok=True)


def test_scores_against_loops():
    confusions = example()[:, 0]
    scores = scored(confusions, ("wall",))
    counts = confusions.sum(0).tolist()
    iou = naive_iou(counts)
    assert scores["confusion"] == counts
    assert numbers(scores["class_iou"].values()) == approx(iou)
    assert scores["miou"] == approx(naive_mean(iou))
    low, high = scores["miou_95_percent"]
    assert low < scores["miou"] < high
    assert scores["miou_13"] == approx(naive_mean([iou[0], *iou[2:]]))
    right, rows = [counts[i][i] for i in range(5)], [sum(row) for row in counts]
    assert scores["pixel_accuracy"] == approx(sum(right) / sum(rows))
    accuracy = [r / row if row else math.nan for r, row in zip(right, rows, strict=True)]
    assert numbers(scores["class_accuracy"].values()) == approx(accuracy)
    assert scores["mean_accuracy"] == approx(naive_mean(accuracy))
    assert scores["image_miou"]["3.png"] is None
    assert scores["image_miou"]["5.png"] == approx(naive_shares(confusions[5].numpy())[-1])


def test_against_a_naive_paired_bootstrap():
    pairs = example().numpy()
    rows = compare(torch.from_numpy(pairs), NAMES, "a.pth", "b.pth")["iou"]
    assert list(rows) == [*NAMES, "mIoU"]
    first, second = (naive_shares(pairs[:, network].sum(0)) for network in (0, 1))
    labelled, draws = np.delete(pairs, 3, axis=0), np.random.default_rng(7)
    differences = []
    for _ in range(4000):
        total = sum(labelled[draws.integers(11)] for _ in range(11))
        differences.append(np.subtract(naive_shares(total[1]), naive_shares(total[0])))
    columns = zip(rows, first, second, np.array(differences).T, strict=True)
    for name, a, b, values in columns:
        if name == "never":
            assert rows[name]["interval_95_percent"] == [None, None]
            continue
        assert (rows[name]["a"], rows[name]["b"]) == (approx(a), approx(b))
        assert rows[name]["difference"] == pytest.approx(b - a, abs=1e-12)
        low, high = np.nanpercentile(values, (2.5, 97.5))
        ends = rows[name]["interval_95_percent"]
        assert ends == pytest.approx([low, high], abs=0.08 * (high - low))


@pytest.mark.parametrize("gain", [15, -15, 0])
def test_the_sentence(gain):
    comparison = compare(example(gain), NAMES, "a.pth", "b.pth")
    low, high = comparison["iou"]["mIoU"]["interval_95_percent"]
    assert comparison["beyond_chance"] is (low > 0 or high < 0) is (gain != 0)
    words = "a difference beyond" if gain else "no difference beyond"
    assert f"{100 * low:+.2f} to {100 * high:+.2f}: {words}" in comparison["sentence"]


def test_one_image_has_no_interval():
    confusions = example()[2:4]  # the second has no label
    comparison = compare(confusions, NAMES, "a.pth", "b.pth")
    scores = scored(confusions[:, 0])
    assert scored(confusions[1:, 0]) is None
    assert scores["miou_95_percent"] == [None, None]
    text = result_files("", scores, comparison)["Evaluation.txt"]
    assert "mIoU, 95 % interval needs two labelled images\n" in text
    assert "too few" in text


@pytest.mark.parametrize("left_out", [(), ("wall",)])
def test_files_tell_the_same(left_out):
    scores = scored(example()[:, 0], left_out)
    comparison = compare(example(), NAMES, "a.pth", "b.pth")
    files = result_files("what was scored", scores, comparison)
    names = ("scores.json", "compare.json")
    saved = [json.loads(files[name].encode(), parse_constant=pytest.fail) for name in names]
    assert saved == [{"protocol": "what was scored", **scores}, comparison]
    first, second = files["Evaluation.txt"].split("\n\n")
    protocol, *lines, interval = first.splitlines()
    low, high = (100 * end for end in scores["miou_95_percent"])
    assert protocol == "what was scored"
    assert interval == f"mIoU, 95 % interval {low:.2f} to {high:.2f}"
    shown = {name: float(value) / 100 for name, value in (r.rsplit(maxsplit=1) for r in lines)}
    means = {"mIoU": "miou", **({"mIoU (13)": "miou_13"} if left_out else {})}
    means |= {"pixel accuracy": "pixel_accuracy", "mean accuracy": "mean_accuracy"}
    expected = scores["class_iou"] | {name: scores[key] for name, key in means.items()}
    assert list(shown) == list(expected)
    assert list(shown.values()) == pytest.approx(numbers(expected.values()), abs=6e-5, nan_ok=True)
    a, b, _, *rows, sentence = second.splitlines()
    assert (a, b, sentence) == ("A: a.pth", "B: b.pth", comparison["sentence"])
    for text, row in zip(rows, comparison["iou"].values(), strict=True):
        values = [row["a"], row["b"], row["difference"], *row["interval_95_percent"]]
        words = text[14:].replace("to", " ").split()
        if words == ["-"] * 4:
            assert values == [None] * 5
        else:
            assert [float(word) / 100 for word in words] == pytest.approx(values, abs=6e-5)
