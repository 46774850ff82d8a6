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
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.labels import CLASSES_19, LabelSpace
from inference.pictures import Picture, color_map
from inference.report import MOST, Shown, keep_worst, page
from inference.scores import compare, score

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "img", "link", "br", "hr", "input"}
EVIL = '<script>alert("x")</script> & "quoted"'
TITLES = ("input", "prediction", "ground truth", "errors", "attention 0.480 to 0.520")


class Page(HTMLParser):
    """Elements in order and text by element; what is opened must be closed."""

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

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def matrices(classes: int) -> torch.Tensor:
    """The fifth class is in no label, the sixth is in none and not predicted."""
    generator = torch.Generator().manual_seed(0)
    confusions = torch.randint(0, 50, (6, 2, classes, classes), generator=generator)
    confusions += torch.diag(torch.arange(classes) * 60)
    confusions[:, :, 4] = confusions[:, :, 5] = confusions[..., 5] = 0
    return confusions


def tiles() -> dict[str, Picture]:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (48, 96, 3), dtype=np.uint8)
    classes = color_map(rng.integers(0, 19, (48, 96), dtype=np.uint8), CLASSES_19.colors)
    return {t: photo if t in (TITLES[0], TITLES[-1]) else classes for t in TITLES}


def kept(mious: list[list[float]], tiles: dict[str, Picture]) -> list[Shown]:
    worst: list[Shown] = []
    for index, miou in enumerate(mious):
        keep_worst(worst, f"city/{index}.png", miou, tiles)
    return worst


@pytest.fixture(scope="module")
def scores() -> Any:
    images = [f"{index}.png" for index in range(6)]
    return score(matrices(19)[:, 1], CLASSES_19.names, images, ("wall", "fence", "pole"))


@pytest.fixture(scope="module")
def html(scores: Any) -> str:
    comparison = compare(matrices(19), CLASSES_19.names, "a.pth", "net.pth")
    worst = kept([[0.5], [math.nan], [0.1], [0.3]], tiles())
    return page("net.pth", "net.pth on 5 images", scores, CLASSES_19, worst, comparison)


def test_page_is_self_contained(html: str) -> None:
    parsed = Page(html)
    assert html.startswith("<!doctype html>")
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in parsed.found)
    sources = [attributes["src"] or "" for tag, attributes in parsed.found if tag == "img"]
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import", html)


def test_every_score_is_shown(html: str, scores: Any) -> None:
    parsed = Page(html)
    names = ("miou", "miou_13", "pixel_accuracy", "mean_accuracy")
    assert parsed.text("dd") == [f"{100 * scores[name]:.1f}" for name in names]
    low, high = scores["miou_95_percent"]
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f}" in parsed.text("small")
    iou = list(scores["class_iou"].values())
    shown = ["-" if value is None else f"{100 * value:.1f}" for value in iou]
    assert parsed.text("td")[: 3 * 19 : 3] == shown
    assert "net.pth on 5 images" in parsed.text("p")
    assert any("A is a.pth, B is net.pth" in text for text in parsed.text("p"))
    table = html.split('<table class="confusion">')[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]
    assert len(rows) == 19
    for index, (row, counts) in enumerate(zip(rows, scores["confusion"], strict=True)):
        if index in (4, 5):
            assert 'colspan="19"' in row
            continue
        shares = [float(v) for v in re.findall(r"--share:([\d.]+)", row)]
        assert shares == pytest.approx([count / sum(counts) for count in counts], abs=6e-4)


def test_images_are_sorted_worst_first_and_limited(html: str) -> None:
    parsed = Page(html)
    assert parsed.text("h3") == [f"{i}. city/{n}.png" for i, n in enumerate((2, 3, 0, 1), 1)]
    assert parsed.text("figcaption") == [*TITLES] * 4
    many = kept([[1 - index / 99] for index in range(60)], {})
    assert [shown.name for shown in many] == [f"city/{59 - index}.png" for index in range(MOST)]
    pairs = kept([[0.1, 0.2], [0.9, 0.5], [math.nan] * 2], {})  # the largest difference first
    assert [shown.name for shown in pairs] == [f"city/{index}.png" for index in (1, 0, 2)]


def test_pictures_are_described_true_and_small(rng: Any, html: str) -> None:
    sources = {x["alt"]: x["src"] or "" for tag, x in Page(html).found if tag == "img"}
    assert len(sources) == 4 * 5
    content = sources["prediction of city/2.png"].removeprefix("data:image/png;base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(shown), tiles()["prediction"])
    large = {"input": rng.integers(0, 256, (800, 1600, 3), dtype=np.uint8)}
    assert len(kept([[0.5]], large)[0].pictures["input"]) < 100_000


def test_names_are_escaped() -> None:
    space = LabelSpace((EVIL, "b", "c", "d", "e", "f"), ((1, 2, 3),) * 6)
    worst = [Shown(0.5, [0.5], EVIL, {EVIL: "data:"})]
    scores = score(matrices(6)[:, 0], space.names, [EVIL, *"bcdef"])
    text = page(EVIL, EVIL, scores, space, worst)
    assert "<script" not in text
    assert Page(text).text("h1") == [EVIL]


@pytest.mark.parametrize("width", [1200, 420])
def test_in_a_browser(html: str, tmp_path: Path, width: int) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: {', '.join(BROWSERS)}")
    file, picture = tmp_path / "report.html", tmp_path / "report.png"
    file.write_text(html.replace("vegetation</li>", 12 * "vegetation" + "</li>"), "utf-8")

    def browse(*options: str) -> str:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2400"]
        command += [*options, file.as_uri()]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return run.stdout

    ours, theirs = Page(file.read_text("utf-8")), Page(browse("--dump-dom"))
    assert (theirs.found, theirs.texts) == (ours.found, ours.texts)  # nothing had to be mended
    browse(f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert len(np.unique(pixels)) > 50
    assert (pixels[:, -8:] == pixels[0, -1]).all(), "wider than the window"
