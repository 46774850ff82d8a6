"""The curves of a run in one picture: target mIoU, losses, share of kept grid cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter
from scipy.ndimage import uniform_filter1d

_STYLE: Any = {
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.92",
    "lines.linewidth": 2,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.12,
}


def curves_figure(records: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the curves of a run.

    Args:
        records: what metrics.jsonl holds, in order (see `read_records`).
        title: of the whole picture.

    Returns:
        A figure that is independent of pyplot's state.
    """
    intervals = [record for record in records if "loss" in record]
    with rc_context(_STYLE):
        figure = Figure(figsize=(12, 7), dpi=120, layout="constrained")
        figure.suptitle(title, weight="bold", parse_math=False)
        (target, segmentation), (kept, ensembling) = figure.subplots(2, 2, sharex=True)
        _draw_scores(target, records)
        _draw_course(segmentation, intervals, "cls_loss", "Segmentation loss, source", "C1")
        _draw_course(kept, intervals, "kept", "Grid cells that the attention keeps", "C2")
        _draw_course(ensembling, intervals, "st_loss", "Self-ensembling loss, target", "C3")
        kept.set_ylim(0, 1.03)
        kept.yaxis.set_major_formatter(PercentFormatter(1))
        for axes in (kept, ensembling):
            axes.set_xlabel("iteration")
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        target.set_xlim(0, 1.02 * max([record["iteration"] for record in records], default=1))
    return figure


def _draw_scores(axes: Axes, records: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("Target mIoU, %")
    for network, color in (("student", "0.6"), ("teacher", "C0")):  # the last one drawn decides
        points = [
            (record["iteration"], 100 * record["target_miou"])
            for record in records
            if record.get("network") == network and record["target_miou"] is not None
        ]
        if points:
            iterations, scores = np.array(points, float).T
            (line,) = axes.plot(iterations, scores, color=color, marker=".", label=network)
    if not axes.lines:
        _leave_empty(axes, "not scored")
        return
    best = scores.argmax()
    text = f"best: {scores[best]:.1f} at {iterations[best]:,.0f}"
    axes.plot(iterations[best], scores[best], "o", color=line.get_color(), ms=9, label=text)
    axes.set_ylim(0, 1.1 * max(1, axes.dataLim.ymax))
    # In the title's row, where it covers no data.
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)


def _draw_course(
    axes: Axes, intervals: Sequence[Mapping[str, Any]], name: str, title: str, color: str
) -> None:
    axes.set_title(title)
    iterations = np.array([record["iteration"] for record in intervals], float)
    values = np.array([record[name] for record in intervals], float)
    if not values.any():
        _leave_empty(axes, "0 throughout")
        return
    smoothed = uniform_filter1d(values, 2 * (len(values) // 50) + 1, mode="nearest")
    axes.plot(iterations, values, color=color, alpha=0.25, lw=0.8)
    axes.plot(iterations, smoothed, color=color, marker="." if len(values) < 30 else "")
    # A few extreme batches must not flatten the rest of the curve.
    axes.set_ylim(0, 1.1 * max(smoothed.max(), np.quantile(values, 0.99)))


def _leave_empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="0.5")
    axes.set_yticks([])
