"""Pictures and what their colors mean; the report as HTML, and what a browser makes of it."""

import base64
import io
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.labels import CLASSES_19
from inference import pictures
from inference.pictures import ERROR_COLORS
from inference.predict import Prediction
from inference.report import MOST, keep_worst, page
from inference.scores import compare, score

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EVIL = '<script>alert("x")</script> & "quoted"'
TITLES = ("input", "prediction", "ground truth", "errors", "attention 0.480 to 0.520")
COLORS = ((128, 64, 128), (244, 35, 232), (70, 70, 70))


def test_color_map_and_error_map(rng):
    painted = pictures.color_map(np.array([[0, 1, 2], [3, 254, 255]], np.uint8), COLORS)
    assert painted.tolist() == [list(map(list, COLORS)), [[0, 0, 0]] * 3]
    classes = np.array([[0, 1, 2, 0, 255]], np.uint8)
    label = np.array([[0, 2, 2, 255, 255]], np.uint8)
    right, wrong, ignored = map(list, ERROR_COLORS.values())
    shown = [pictures.error_map(classes, label, ignore)[0].tolist() for ignore in (255, 2)]
    assert shown[0] == [right, wrong, right, ignored, ignored]
    assert shown[1] == [right, ignored, ignored, wrong, right]
    large = pictures.color_map(rng.integers(0, 3, (40, 80), np.uint8), COLORS)
    small = pictures.resized(large, (31, 17)).reshape(-1, 3)
    assert set(map(tuple, small.tolist())) == set(COLORS)  # none are mixed


@pytest.mark.parametrize("low", [0.0, 0.48])
def test_attention_spans_its_own_range_over_gray(rng, low):
    image = rng.integers(0, 256, (32, 64, 3), np.uint8)
    values = np.linspace(low, low + 0.1, 64, dtype=np.float32)[None]
    gray = image @ np.array([0.299, 0.587, 0.114])
    heat = pictures.heat_map(np.linspace(0, 1, 64)[None], (64, 32), "inferno")
    expected = 0.4 * gray[..., None] + 0.6 * heat
    prediction = Prediction(torch.zeros(2, 1, 64), torch.from_numpy(values), (32, 64))
    with_scale = pictures.attention_picture(image, prediction)
    assert np.abs(with_scale[:32, :64] - expected).max() < 4


class Page(HTMLParser):
    """Elements in order and text by element; what is opened must be closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.texts.append((self.open[-1], data.strip()))

    def text(self, tag):
        return [text for name, text in self.texts if name == tag]


def matrices():
    """The fifth class is in no label, the sixth is in none and not predicted."""
    generator = torch.Generator().manual_seed(0)
    confusions = torch.randint(0, 50, (6, 2, 19, 19), generator=generator)
    confusions += torch.diag(torch.arange(19) * 60)
    confusions[:, :, 4] = confusions[:, :, 5] = confusions[..., 5] = 0
    return confusions


def tiles():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (48, 96, 3), np.uint8)
    classes = pictures.color_map(rng.integers(0, 19, (48, 96), dtype=np.uint8), CLASSES_19.colors)
    return {t: photo if t in (TITLES[0], TITLES[-1]) else classes for t in TITLES}


def kept(mious, tiles):
    worst = []
    for index, miou in enumerate(mious):
        keep_worst(worst, f"city/{index}.png", miou, tiles)
    return worst


@pytest.fixture(scope="module")
def scores():
    images = [f"{index}.png" for index in range(6)]
    return score(matrices()[:, 1], CLASSES_19.names, images, ("wall", "fence", "pole"))


@pytest.fixture(scope="module")
def html(scores):
    comparison = compare(matrices(), CLASSES_19.names, "a.pth", "net.pth")
    worst = kept([[0.5], [math.nan], [0.1], [0.3]], tiles())
    return page(EVIL, "net.pth on 5 images", scores, CLASSES_19, worst, comparison)


def test_every_score_is_shown(html, scores):
    parsed = Page(html)
    assert parsed.text("h1") == [EVIL]
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


def test_images_are_sorted_worst_first_and_limited(html):
    parsed = Page(html)
    assert parsed.text("h3") == [f"{i}. city/{n}.png" for i, n in enumerate((2, 3, 0, 1), 1)]
    assert parsed.text("figcaption") == [*TITLES] * 4
    many = kept([[1 - index / 99] for index in range(60)], {})
    assert [shown.name for shown in many] == [f"city/{59 - index}.png" for index in range(MOST)]
    pairs = kept([[0.1, 0.2], [0.9, 0.5], [math.nan] * 2], {})  # the largest difference first
    assert [shown.name for shown in pairs] == [f"city/{index}.png" for index in (1, 0, 2)]


def test_page_is_self_contained_with_small_true_pictures(rng, html):
    found = Page(html).found
    assert html.startswith("<!doctype html>")
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in found)
    assert not re.search(r"url\(|@import", html)
    sources = {x["alt"]: x["src"] for tag, x in found if tag == "img"}
    assert len(sources) == 4 * 5
    assert all(source.startswith("data:image/") for source in sources.values())
    content = sources["prediction of city/2.png"].removeprefix("data:image/png;base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(shown), tiles()["prediction"])
    large = {"input": rng.integers(0, 256, (800, 1600, 3), np.uint8)}
    assert len(kept([[0.5]], large)[0].pictures["input"]) < 100_000


@pytest.mark.parametrize("width", [1200, 420])
def test_in_a_browser(html, tmp_path, width):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: {', '.join(BROWSERS)}")
    file, screenshot = tmp_path / "report.html", tmp_path / "report.png"
    file.write_text(html.replace("vegetation</li>", 12 * "vegetation" + "</li>"), "utf-8")

    def browse(*options):
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2400"]
        command += [*options, file.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    ours, theirs = Page(file.read_text("utf-8")), Page(browse("--dump-dom"))
    assert (theirs.found, theirs.texts) == (ours.found, ours.texts)  # nothing had to be mended
    browse(f"--screenshot={screenshot}")
    pixels = np.asarray(Image.open(screenshot).convert("RGB"))
    assert len(np.unique(pixels)) > 50
    assert (pixels[:, -8:] == pixels[0, -1]).all(), "wider than the window"
