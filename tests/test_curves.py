"""The curves that a run draws of itself."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from PIL import Image

from training.curves import curves_figure


def interval(iteration: int, **changes: float) -> dict[str, Any]:
    values = {"loss": 2.0, "cls_loss": 1.5, "st_loss": 0.5, "kept": 0.25}
    return {"iteration": iteration, **values, **changes}


def scoring(iteration: int, miou: float | None) -> dict[str, Any]:
    return {"iteration": iteration, "network": "teacher", "target_miou": miou, "iou": {}}


def axes_of(records: list[dict[str, Any]], title: str) -> Axes:
    return next(a for a in curves_figure(records, "").axes if a.get_title("left").startswith(title))


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend_texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_losses_are_drawn_raw_and_smoothed() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 2, 200)
    records = [interval(10 * i, cls_loss=v) for i, v in enumerate(values, 1)]
    raw, smoothed = axes_of([scoring(50, 0.5), *records], "Segmentation loss").lines
    assert raw.get_alpha() < 0.5
    np.testing.assert_array_equal(raw.get_xdata(), np.arange(10, 2010, 10))
    np.testing.assert_array_equal(raw.get_ydata(), values)
    padded = np.pad(values, 4, mode="edge")
    expected = [padded[i : i + 9].mean() for i in range(200)]
    np.testing.assert_allclose(smoothed.get_ydata(), expected)


@pytest.mark.parametrize("best", range(4))
def test_the_best_score_is_marked(best: int) -> None:
    scores = [0.3, 0.3, 0.3, 0.3]
    scores[best] = 0.5
    records = [interval(5), *(scoring(500 * n, s) for n, s in enumerate(scores, 1))]
    axes = axes_of([*records, scoring(2500, None)], "Target mIoU")
    course, mark = axes.lines
    np.testing.assert_allclose(course.get_ydata(), 100 * np.array(scores))
    assert (mark.get_xdata(), mark.get_ydata()) == ([500 * (best + 1)], [50])
    assert legend_texts(axes) == ["teacher", f"best: 50.0 at {500 * (best + 1):,}"]


def test_the_legend_covers_neither_data_nor_title() -> None:
    """With both networks and long numbers."""
    records = [interval(5)]
    for n in range(1, 41):
        for name, score in (("student", 0.5), ("teacher", 0.5 + 0.001 * n)):
            records.append(scoring(2500 * n, score) | {"network": name})
    figure = curves_figure(records, "Snap/run")
    figure.savefig(io.BytesIO())
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert legend_texts(axes) == ["student", "teacher", "best: 54.0 at 100,000"]
    box = legend.get_window_extent()
    assert not box.overlaps(axes.get_window_extent())
    (title,) = (t for t in axes.findobj(Text) if t.get_text() == "Target mIoU, %")
    assert not box.overlaps(title.get_window_extent())
    assert figure.bbox.containsx(box.x1)
    assert figure.bbox.containsy(box.y1)


@pytest.mark.parametrize("records", [[], [interval(1, st_loss=0, kept=0)]])
def test_what_there_is_not_is_said(records: list[dict[str, Any]]) -> None:
    assert texts(axes_of(records, "Target mIoU")) == ["not scored"]
    assert texts(axes_of(records, "Self-ensembling loss")) == ["0 throughout"]


def test_the_picture_is_drawn_without_pyplot() -> None:
    already = "matplotlib.pyplot" in sys.modules
    file = io.BytesIO()
    curves_figure([interval(1), scoring(1, 0.2), interval(2)], "Snap/run").savefig(file)
    picture = Image.open(file)
    assert picture.size == (1440, 840)
    assert len(picture.convert("RGB").getcolors(10**6)) > 50
    assert already or "matplotlib.pyplot" not in sys.modules
