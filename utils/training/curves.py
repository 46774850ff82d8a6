"""The curves of a run in one picture: target mIoU, losses, share of kept grid cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

_STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.6",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "xtick.color": "0.35",
    "ytick.color": "0.35",
}
_GRAY, _BLUE, _ORANGE, _GREEN, _RED = "0.6", "#2563a8", "#c8641b", "#3a8a5c", "#b3273a"


def smooth(values: NDArray[np.floating], width: int) -> NDArray[np.floating]:
    """Return a moving average over ``width`` values, fewer near the ends.

    Args:
        values: (n,).
        width: odd.
    """
    window = np.ones(width)
    near = slice(width // 2, width // 2 + len(values))
    sums = np.convolve(values, window)[near]
    return sums / np.convolve(np.ones_like(values), window)[near]


def curves_figure(records: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the curves of a run.

    Args:
        records: what metrics.jsonl holds, in order: log intervals, with losses, and scorings, with
            ``target_miou``.
        title: of the whole picture.

    Returns:
        A figure that is independent of pyplot's state.
    """
    intervals = [record for record in records if "loss" in record]
    scorings = [record for record in records if "target_miou" in record]
    with rc_context(_STYLE):
        figure = Figure(figsize=(12, 7), dpi=120, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)  # type: ignore[union-attr, call-arg]
        figure.suptitle(title, x=0.012, ha="left", fontsize=16, weight="bold")
        (target, segmentation), (kept, ensembling) = figure.subplots(2, 2, sharex=True)
        _draw_scores(target, scorings)
        _draw_course(segmentation, intervals, "cls_loss", "Segmentation loss, source", _ORANGE)
        _draw_course(kept, intervals, "kept", "Grid cells that the attention keeps", _GREEN)
        _draw_course(ensembling, intervals, "st_loss", "Self-ensembling loss, target", _RED)
        kept.set_ylim(0, 1.03)
        kept.yaxis.set_major_formatter(PercentFormatter(1))
        for axes in (kept, ensembling):
            axes.set_xlabel("iteration")
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        target.set_xlim(0, 1.02 * max([record["iteration"] for record in records], default=1))
    return figure


def _draw_scores(axes: Axes, scorings: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("Target mIoU, %")
    for network, color in (("student", _GRAY), ("teacher", _BLUE)):
        points = [
            (record["iteration"], 100 * record["target_miou"])
            for record in scorings
            if record["network"] == network and record["target_miou"] is not None
        ]
        if points:
            iterations, scores = np.array(points, float).T
            _draw_line(axes, iterations, scores, color, network)
    if not axes.lines:
        _leave_empty(axes, "not scored")
        return
    axes.set_ylim(0, 1.1 * max(1, axes.dataLim.ymax))
    best = scores.argmax()
    iteration, score = iterations[best], scores[best]
    shown = axes.lines[-1].get_color()  # of both, the teacher decides
    text = f"best: {score:.1f} at {iteration:,.0f}"
    axes.plot(iteration, score, "o", color=shown, ms=10, mec="white", mew=1.5, label=text)
    # In the title's row, where it covers no data.
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=10,
        handlelength=1.2, handletextpad=0.5, columnspacing=1, borderaxespad=0.2,
    )  # fmt: skip


def _draw_course(
    axes: Axes, intervals: Sequence[Mapping[str, Any]], name: str, title: str, color: str
) -> None:
    axes.set_title(title)
    iterations = np.array([record["iteration"] for record in intervals], float)
    values = np.array([record[name] for record in intervals], float)
    if not values.any():
        _leave_empty(axes, "0 throughout")
        return
    smoothed = smooth(values, 2 * (len(values) // 50) + 1)
    axes.plot(iterations, values, color=color, alpha=0.25, lw=0.8)
    _draw_line(axes, iterations, smoothed, color)
    # A few extreme batches must not flatten the rest of the curve.
    axes.set_ylim(0, 1.1 * max(smoothed.max(), np.quantile(values, 0.99)))


def _draw_line(
    axes: Axes, x: NDArray[np.floating], y: NDArray[np.floating], color: str, label: str = ""
) -> None:
    axes.plot(x, y, color=color, lw=2, marker="o" if len(x) < 30 else "", ms=5, label=label)


def _leave_empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="0.5", fontsize=13)
    axes.set_yticks([])
    axes.grid(False)
