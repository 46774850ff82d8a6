"""Two networks on the same images: a naive paired bootstrap, words, files, page and mistakes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.labels import CLASSES_16, CLASSES_19, LabelSpace
from inference.compare import Comparison, compare
from model.SEAN import SEANet
from tests.runs import Capture, save_network
from tests.test_evaluation import SIZE, run
from tests.test_evaluation_inputs import refused
from tests.test_report import Page
from tests.test_scores import naive_iou, naive_mean
from training.options import DEMO_EVALUATION, DEMO_RUNS

NAMES = ("road", "wall", "sky", "never", "rare")


def example(gain: int, images: int = 12) -> torch.Tensor:
    """Matrices of A and B, which labels the same pixels ``gain`` better per class and image.

    The fourth class is nowhere, the fifth in one image, and image 3 has no label.
    """
    generator = torch.Generator().manual_seed(1)
    first = torch.randint(20, 200, (images, 5, 5), generator=generator)
    first += torch.diag(torch.tensor([900, 90, 300, 0, 0]))
    first[:, 3] = first[:, :, 3] = first[:, 4] = first[:, :, 4] = 0
    first[5, 4, :3] = 50
    first[3] = 0
    noise = torch.randint(-15, 16, (images, 3), generator=generator)
    noise[3] = 0
    second = first.clone()
    for index in range(3):  # pixels move from wrong to right, or back
        moved = noise[:, index] + gain * (first[:, index].sum(1) > 0)
        second[:, index, index] += moved
        second[:, index, (index + 1) % 3] -= moved
    assert (second >= 0).all()
    return torch.stack([first, second], 1)


def compared(confusions: torch.Tensor) -> Comparison:
    return compare(confusions, NAMES, "a.pth", "b.pth")


def naive_shares(counts: np.ndarray) -> list[float]:
    """IoU of each class, then their mean."""
    iou = naive_iou(counts.tolist())
    return [*iou, naive_mean(iou)]


def test_against_a_naive_paired_bootstrap() -> None:
    pairs = example(4).numpy()
    rows = compared(torch.from_numpy(pairs)).rows
    assert [row.name for row in rows] == [*NAMES, "mIoU"]
    a, b = (np.array(naive_shares(pairs[:, network].sum(0))) for network in (0, 1))
    np.testing.assert_allclose([row.first for row in rows], a, rtol=1e-12)
    np.testing.assert_allclose([row.second for row in rows], b, rtol=1e-12)
    np.testing.assert_allclose([row.difference for row in rows], b - a, atol=1e-12)
    labelled, draws = np.delete(pairs, 3, axis=0), np.random.default_rng(7)
    differences = []
    for _ in range(4000):
        chosen = [labelled[draws.integers(11)] for _ in range(11)]
        total = sum(chosen)
        first, second = naive_shares(total[0]), naive_shares(total[1])
        differences.append(np.subtract(second, first))
    for row, values in zip(rows, np.array(differences).T, strict=True):
        if row.name == "never":
            assert math.isnan(row.low)
            continue
        low, high = np.nanpercentile(values, (2.5, 97.5))
        assert row.low == pytest.approx(low, abs=0.08 * (high - low))
        assert row.high == pytest.approx(high, abs=0.08 * (high - low))
    assert compared(torch.from_numpy(pairs)).rows[-1] == rows[-1]


@pytest.mark.parametrize(
    ("gain", "beyond", "words"),
    [
        (15, True, "B's mIoU is higher than A's beyond chance"),
        (-15, True, "B's mIoU is lower than A's beyond chance"),
        (0, False, "There is no difference in mIoU beyond chance"),
    ],
)
def test_the_sentence(gain: int, beyond: bool, words: str) -> None:
    comparison = compared(example(gain))
    row = comparison.rows[-1]
    assert comparison.beyond_chance is beyond
    assert (row.low > 0 or row.high < 0) is beyond
    assert comparison.sentence.startswith(words)
    assert f"{100 * row.low:+.2f} to {100 * row.high:+.2f}" in comparison.sentence


def test_a_network_does_not_differ_from_itself() -> None:
    twice = example(0)[:, :1].expand(-1, 2, -1, -1)
    assert compared(twice).beyond_chance is False


def test_one_image_cannot_tell() -> None:
    comparison = compared(example(15)[2:4])  # the second has no label
    assert comparison.beyond_chance is None
    assert "too few" in comparison.files["compare.txt"]


def test_files_tell_the_same() -> None:
    comparison = compared(example(4))
    first, second, _, *lines, sentence = comparison.files["compare.txt"].splitlines()
    assert (first, second, sentence) == ("A: a.pth", "B: b.pth", comparison.sentence)
    table = json.loads(comparison.files["compare.json"], parse_constant=pytest.fail)
    assert (table["a"], table["b"], table["sentence"]) == ("a.pth", "b.pth", sentence)
    assert table["beyond_chance"] is comparison.beyond_chance
    assert list(table["iou"]) == [line.split()[0] for line in lines] == [*NAMES, "mIoU"]
    assert f"{'rare':<14}{0:>8.2f}{0:>8.2f}{0:>8.2f}  0.00 to 0.00" in lines
    assert table["iou"].pop("never")["interval_95_percent"] == [None, None]
    assert lines.pop(3).split() == ["never", "-", "-", "-", "-"]
    for line, row in zip(lines, table["iou"].values(), strict=True):
        numbers = [row["a"], row["b"], row["difference"], *row["interval_95_percent"]]
        shown = [float(word) for word in line.split()[1:] if word != "to"]
        assert shown == pytest.approx([100 * number for number in numbers], abs=0.006)


# --- evaluation.py ----------------------------------------------------------------------------


def save(
    path: Path, seed: int, space: LabelSpace, size: tuple[int, int], **variant: object
) -> Path:
    torch.manual_seed(seed)
    network = SEANet(space.num_classes, **({"width": 1 / 16} | variant))  # type: ignore[arg-type]
    for branch in network.classifier.conv2d_list:
        torch.nn.init.normal_(branch.weight, std=10)  # type: ignore[arg-type]
    return save_network(path, network, space, size)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets\n\033")  # messages keep to their lines
    save(folder / "a.pth", 1, CLASSES_19, SIZE, use_attention=False, width=1 / 8)
    save(folder / "b.pth", 2, CLASSES_19, SIZE)
    save(folder / "16.pth", 3, CLASSES_16, SIZE)
    save(folder / "large.pth", 4, CLASSES_19, (128, 64))
    other = LabelSpace(CLASSES_19.names[::-1], CLASSES_19.colors)
    save(folder / "reversed.pth", 5, other, SIZE)
    return folder


def json_of(path: Path) -> dict:
    return json.loads(path.read_text())


def test_both_are_scored_as_each_alone(
    nets: Path, cityscapes: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Networks of other variants and widths; all other files are those of B."""
    for name in ("a", "b"):
        run(nets / f"{name}.pth", cityscapes, tmp_path / name)
    both = tmp_path / "both"
    capsys.readouterr()
    more = ("--compare", nets / "a.pth", "--report", "--batch_size", 2)
    run(nets / "b.pth", cityscapes, both, *more)
    alone = {name: json_of(tmp_path / f"{name}/scores.json") for name in ("a", "b")}
    result = json_of(both / "compare.json")
    for name in ("a", "b"):
        ious = {row: result["iou"][row][name] for row in CLASSES_19.names}
        assert ious == alone[name]["class_iou"]
        assert result["iou"]["mIoU"][name] == alone[name]["miou"]
    for file in (tmp_path / "b").glob("[!.]*"):
        assert (both / file.name).read_bytes() == file.read_bytes()
    assert (both / "compare.txt").read_text() in capsys.readouterr().out
    page = Page((both / "report.html").read_text())
    assert any(text.startswith(result["sentence"]) for text in page.text("p"))
    titles = ["input", "A's prediction", "B's prediction", "ground truth", "B's errors"]
    assert page.text("figcaption") == titles * 3
    gains = [alone["b"]["image_miou"][k] - v for k, v in alone["a"]["image_miou"].items()]
    ranked = [text.split(". ")[1] for text in page.text("h3")]
    order = np.argsort(-np.abs(gains))
    assert ranked == [list(alone["a"]["image_miou"])[index] for index in order]
    shares = [(alone["a"]["image_miou"][k], alone["b"]["image_miou"][k]) for k in ranked]
    shown = [text for text in page.text("span") if text.startswith("mIoU")]
    assert shown == [f"mIoU of A {100 * a:.1f} %, of B {100 * b:.1f} %" for a, b in shares]
    cells = [f"{100 * result['iou']['mIoU'][name]:.2f}" for name in ("a", "b")]
    assert " ".join(cells) in " ".join(page.text("td"))
    run(nets / "b.pth", cityscapes, both)
    assert not list(both.glob("compare.*")), "of an earlier run"


@pytest.mark.parametrize(
    ("name", "more", "fragments"),
    [
        ("16.pth", [], ("16.pth (16 classes)", "b.pth (19 classes)", "same classes")),
        ("reversed.pth", [], ("does not have the classes of",)),
        ("large.pth", [], ("large.pth was trained at 128x64", "b.pth at 64x32")),
        ("none.pth", [], ("no checkpoint", "none.pth")),
        ("a.pth", ["--images", "Figure"], ("--images Figure takes no --compare",)),
    ],
)
def test_what_cannot_be_compared_is_refused(
    name: str, more: list[str], fragments: tuple[str, ...],
    nets: Path, cityscapes: Path, tmp_path: Path, capsys: Capture,
) -> None:  # fmt: skip
    compared_with = ("--compare", nets / name, *more)
    message = refused(capsys, nets / "b.pth", cityscapes, tmp_path / "maps", *compared_with)
    assert all(fragment in message for fragment in fragments)
    assert len(message.splitlines()) == 2
    assert not (tmp_path / "maps").exists()


def test_demo_ends_with_three_rows(
    cityscapes: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = save(Path(DEMO_EVALUATION["restore_from"]), 2, CLASSES_19, SIZE)
    run(teacher, cityscapes, Path("maps"), "--demo")
    table = capsys.readouterr().out.partition("mIoU in %\n")[2].splitlines()
    assert [line.split()[0] for line in table] == ["SEAN", "report:"]
    save(Path(DEMO_RUNS, "source_only/GTA_TeacherNet.pth"), 1, CLASSES_19, SIZE)
    records = [("teacher", 0.25), ("student", 0.9), ("teacher", 0.5), ("student", 0.9)]
    lines = [
        json.dumps({"iteration": 2, "network": name, "target_miou": miou}) for name, miou in records
    ]
    metrics = Path(DEMO_RUNS, "oracle/metrics.jsonl")
    metrics.parent.mkdir()
    metrics.write_text("\n".join(lines) + "\n")
    run(teacher, cityscapes, Path("maps"), "--demo")
    *table, last = capsys.readouterr().out.partition("mIoU in %\n")[2].splitlines()
    rows = {line[:14].strip(): float(line[14:]) for line in table}
    assert list(rows) == ["source only", "SEAN", "oracle"]
    miou = json_of(Path("maps/compare.json"))["iou"]["mIoU"]
    assert rows["source only"] == pytest.approx(100 * miou["a"], abs=0.051)
    assert rows["SEAN"] == pytest.approx(100 * miou["b"], abs=0.051)
    assert rows["oracle"] == 50
    assert last == "report: maps/report.html"
    metrics.write_text("damaged\n")
    run(teacher, cityscapes, Path("maps"), "--demo")
    assert f"  oracle      left out: {metrics}, line 1: not a record" in capsys.readouterr().out
