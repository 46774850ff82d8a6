"""The page: its structure as HTML, and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.labels import CLASSES_19, LabelSpace
from inference.pictures import (
    ATTENTION_SCALE,
    Picture,
    attention_scale,
    color_map,
    error_map,
)
from inference.report import RankedPanels, page
from inference.scores import Scores, score

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "img", "link", "br", "hr", "input"}
EVIL = '<script>alert("x")</script> & "quoted"'
ATTENTION = "attention 0.480 to 0.520"
TITLES = ("input", "prediction", "ground truth", "error", ATTENTION)


class Page(HTMLParser):
    """Elements in order, text by element, and that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append((self.open[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def network_scores(space: LabelSpace, left_out: tuple[str, ...] = ()) -> Scores:
    generator = torch.Generator().manual_seed(0)
    classes = space.num_classes
    confusions = torch.randint(0, 50, (6, classes, classes), generator=generator)
    confusions += torch.diag(torch.arange(classes) * 60)
    confusions[:, 4] = 0  # the fifth class is in no label, the sixth is in none and not predicted
    confusions[:, 5] = 0
    confusions[:, :, 5] = 0
    scores = score(confusions, space.names, left_out)
    assert scores is not None
    return scores


def tiles() -> dict[str, Picture]:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (48, 96, 3), dtype=np.uint8)
    classes = rng.integers(0, 19, (48, 96), dtype=np.uint8)
    return {
        title: photo if title in ("input", ATTENTION) else color_map(classes, CLASSES_19.colors)
        for title in TITLES
    }


def panels(mious: list[float], limit: int = 50) -> RankedPanels:
    kept = RankedPanels(limit)
    for index, miou in enumerate(mious):
        kept.add(f"city/{index}.png", [miou], tiles())
    return kept


@pytest.fixture(scope="module")
def scores() -> Scores:
    return network_scores(CLASSES_19)


@pytest.fixture(scope="module")
def html(scores: Scores) -> str:
    kept = panels([0.5, math.nan, 0.1, 0.9, 0.3], limit=4)
    return page("net.pth", "net.pth on 5 images", scores, CLASSES_19, kept)


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


def test_page_is_self_contained(html: str, parsed: Page) -> None:
    assert html.startswith("<!doctype html>")
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in parsed.found)
    assert all((image["src"] or "").startswith("data:image/") for image in parsed.all("img"))
    assert "url(" not in html
    assert "@import" not in html
    assert parsed.all("html") == [{"lang": "en"}]
    identities = [attributes["id"] for _, attributes in parsed.found if "id" in attributes]
    assert len(identities) == len(set(identities))
    assert {section["aria-labelledby"] for section in parsed.all("section")} == set(identities)


def test_every_score_is_shown(html: str, parsed: Page, scores: Scores) -> None:
    shown = parsed.text("dd")
    assert shown == [
        f"{100 * v:.1f}" for v in (scores.miou, scores.pixel_accuracy, scores.mean_accuracy)
    ]
    low, high = scores.interval
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f}" in parsed.text("small")
    iou = ["–" if math.isnan(value) else f"{100 * value:.1f}" for value in scores.iou]  # noqa: RUF001
    cells = parsed.text("td")
    assert cells[: 3 * 19 : 3] == iou
    assert "net.pth on 5 images" in parsed.text("p")
    lengths = [float(v) for v in re.findall(r'class="bar"><div style="--share:([\d.]+)', html)]
    expected = [0 if math.isnan(value) else value for value in (*scores.iou, scores.miou)]
    assert lengths == pytest.approx(expected, abs=1e-4)


def test_confusion_is_normalized_by_rows(html: str, scores: Scores) -> None:
    table = html.split('<table class="confusion">')[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table)[1:]
    assert len(rows) == 19
    for index, (row, counts) in enumerate(zip(rows, scores.confusion.double(), strict=True)):
        if index in (4, 5):
            assert 'colspan="19"' in row
            continue
        shares = [float(v) for v in re.findall(r"--share:([\d.]+)", row)]
        assert shares == pytest.approx((counts / counts.sum()).tolist(), abs=6e-4)
        assert [k for k, cell in enumerate(row.split("<td")[1:]) if "right" in cell] == [index]
    assert re.findall(r'<th scope="col"><span>(.*?)</span>', table) == list(CLASSES_19.names)


def test_images_are_sorted_worst_first_and_limited(parsed: Page) -> None:
    heads = [text for text in parsed.text("h3") if ". " in text]
    assert heads == [f"{i}. city/{n}.png" for i, n in enumerate((2, 4, 0, 3), 1)]
    marks = [text for text in parsed.text("span") if text.startswith("mIoU")]
    assert marks == ["mIoU 10.0 %", "mIoU 30.0 %", "mIoU 50.0 %", "mIoU 90.0 %"]
    assert any(
        text.startswith("4 of 5 images, lowest mIoU first: the mean over the classes")
        for text in parsed.text("p")
    )
    assert parsed.text("figcaption") == [*TITLES] * 4


def test_every_picture_is_described_and_true(parsed: Page) -> None:
    images = parsed.all("img")
    assert len({image["alt"] for image in images}) == len(images) == 4 * 5 + 1
    assert "ground truth of city/4.png" in {image["alt"] for image in images}
    prediction = next(i for i in images if i["alt"] == "prediction of city/2.png")
    kind, content = (prediction["src"] or "").split(",")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), tiles()["prediction"])


def test_names_are_escaped() -> None:
    space = LabelSpace((EVIL, "b", "c", "d", "e", "f"), ((1, 2, 3),) * 6)
    kept = RankedPanels()
    kept.add(EVIL, [0.5], {"input": tiles()["input"]})
    text = page(EVIL, EVIL, network_scores(space), space, kept)
    parsed = Page(text)
    assert "<script" not in text
    assert parsed.text("h1") == [EVIL]
    assert parsed.all("img")[-1]["alt"] == f"input of {EVIL}"


def test_without_scores_the_images_are_in_order() -> None:
    kept = panels([math.nan] * 3, limit=2)
    parsed = Page(page("net.pth", "nothing was scored", None, CLASSES_19, kept))
    assert parsed.all("table") == []
    assert [text for text in parsed.text("h3") if ". " in text] == [
        "1. city/0.png", "2. city/1.png"
    ]  # fmt: skip
    assert any(text.endswith("in the order of the data.") for text in parsed.text("p"))
    assert parsed.text("span") == []
    assert parsed.text("li")[19:] == [ATTENTION_SCALE]


def test_the_legend_shows_the_colors_of_the_pictures(parsed: Page) -> None:
    assert parsed.text("li") == [
        *CLASSES_19.names, "error map:", "right", "wrong", "ignored", ATTENTION_SCALE
    ]  # fmt: skip
    swatches = [span["style"] or "" for span in parsed.all("span") if "style" in span]
    classes, label = np.array([[0, 1, 0]], np.uint8), np.array([[0, 0, 255]], np.uint8)
    painted = [",".join(map(str, color)) for color in error_map(classes, label, 255)[0]]
    assert swatches[-3:] == [f"background:rgb({color})" for color in painted]
    scale = next(image["src"] or "" for image in parsed.all("img") if "from" in image["alt"])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(scale.split(",")[1]))).convert("RGB"))
    np.testing.assert_array_equal(shown, attention_scale(64))


def test_the_legend_follows_the_pictures_which_are_small() -> None:
    kept = RankedPanels()
    large = np.random.default_rng(0).integers(0, 256, (800, 1600, 3), dtype=np.uint8)
    kept.add("a.png", [0.5], {"input": large})
    assert len(kept.kept[0].pictures["input"]) < 100_000, "not made small"
    scores = network_scores(CLASSES_19, ("wall", "fence", "pole"))
    parsed = Page(page("net.pth", "", scores, CLASSES_19, kept))
    assert parsed.text("dd")[1] == f"{100 * (scores.miou_13 or 0):.1f}"
    assert parsed.text("li") == [*CLASSES_19.names, "error map:", "right", "wrong", "ignored"]


@pytest.mark.parametrize("width", [1200, 420])
def test_in_a_browser(html: str, tmp_path: Path, width: int) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: {', '.join(BROWSERS)}")
    file, picture = tmp_path / "report.html", tmp_path / "report.png"
    html = html.replace("vegetation</li>", 12 * "vegetation" + "</li>")
    file.write_text(html, encoding="utf-8")

    def browse(*options: str) -> str:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2400"]
        command += [*options, file.as_uri()]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True
        ).stdout

    ours, theirs = Page(html), Page(browse("--dump-dom"))
    assert theirs.found == ours.found  # nothing had to be mended, moved or dropped
    assert theirs.texts == ours.texts
    browse(f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (2400, width, 3)
    bar, background = (36, 113, 163), (251, 250, 248)
    for color in (bar, CLASSES_19.colors[0], background):
        assert (np.abs(pixels - color).max(-1) <= 2).sum() > 50
    assert (pixels[:, -8:] == pixels[0, -1]).all(), "wider than the window"
