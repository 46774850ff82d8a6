"""Confusion matrices of images -> scores and comparisons: plain values, as their JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.metrics import class_iou, mean_iou

RESAMPLES = 10_000
DRAWS = 1000  # at once, for memory

Values = dict[str, Any]
"""What a JSON file holds; shares are 0..1, or None if nothing was counted."""


def score(
    confusions: Tensor, names: Sequence[str], images: Sequence[str], left_out: Sequence[str] = ()
) -> Values | None:
    """Score a network from the confusion matrix of each image.

    Args:
        confusions: int64, (N, C, C), rows are the label.
        names: of the C classes.
        images: names of the N images.
        left_out: classes that the second mean, ``miou_13``, leaves out.

    Returns:
        The values of scores.json, without the protocol; None if no pixel has a label.
    """
    confusion = confusions.sum(0)
    if not confusion.any():
        return None
    iou = class_iou(confusion)
    right, labelled = confusion.diagonal().double(), confusion.sum(1)
    accuracy = right / labelled
    interval = bootstrap(confusions, lambda sums: mean_iou(sums)[:, None])[:, 0]
    kept = [index for index, name in enumerate(names) if name not in left_out]
    return {
        "miou": iou.nanmean().item(),
        "miou_95_percent": _plain(interval),
        **({"miou_13": _plain(iou[kept].nanmean()[None])[0]} if left_out else {}),
        "pixel_accuracy": (right.sum() / labelled.sum()).item(),
        "mean_accuracy": accuracy.nanmean().item(),
        "class_iou": dict(zip(names, _plain(iou), strict=True)),
        "class_accuracy": dict(zip(names, _plain(accuracy), strict=True)),
        "image_miou": dict(zip(images, _plain(mean_iou(confusions)), strict=True)),
        "confusion": confusion.tolist(),
    }


def compare(confusions: Tensor, names: Sequence[str], first: str, second: str) -> Values:
    """Compare two networks by a paired bootstrap.

    Both networks are scored on the same draws of images, so that images that are hard for both
    cancel out. What another training seed would change is not in the interval.

    Args:
        confusions: int64, (N, 2, C, C): of each image, with A and with B; rows are the label.
        names: of the C classes.
        first: A's checkpoint.
        second: B's checkpoint.

    Returns:
        The values of compare.json; ``beyond_chance`` is None if there is no interval.
    """
    a, b = _shares(confusions.sum(0))
    low, high = bootstrap(confusions, lambda sums: _shares(sums).diff(dim=1)[:, 0])
    columns = map(_plain, (a, b, b - a, low, high))
    rows = {
        name: {"a": a, "b": b, "difference": difference, "interval_95_percent": [low, high]}
        for name, a, b, difference, low, high in zip([*names, "mIoU"], *columns, strict=True)
    }
    low, high = rows["mIoU"]["interval_95_percent"]
    beyond = None if low is None else low > 0 or high < 0
    *_, difference, interval = cells(rows["mIoU"])
    sentence = f"B - A in mIoU is {difference} points, 95 % interval {interval}: "
    sentence += {
        None: "one labelled image is too few to tell a difference from chance.",
        True: "a difference beyond chance; other training seeds may differ more.",
        False: "no difference beyond chance.",
    }[beyond]
    return {"a": first, "b": second, "beyond_chance": beyond, "sentence": sentence, "iou": rows}


def bootstrap(confusions: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Estimate how far statistics would move with other images of the same kind.

    Percentile bootstrap (Efron, 1979) with a fixed seed, over images with a labelled pixel.

    Args:
        confusions: int64, (N, ...): of each image.
        statistic: maps R sums, float64, (R, ...), to R values of K statistics, (R, K).

    Returns:
        The ends of the 95 % intervals, float64, (2, K), over the draws where a statistic is not
        nan; nan for fewer than two images.
    """
    labelled = confusions[confusions.flatten(1).sum(1) > 0]
    count, shape = len(labelled), labelled.shape[1:]
    if count < 2:
        missing = statistic(labelled.sum(0, keepdim=True).double()) * math.nan
        return torch.cat([missing, missing])
    flat = labelled.flatten(1).double()  # counts below 2**53 add up exactly
    generator, values = np.random.default_rng(0), []
    for _ in range(RESAMPLES // DRAWS):
        times = generator.multinomial(count, np.full(count, 1 / count), DRAWS)  # (DRAWS, N)
        values.append(statistic((torch.from_numpy(times).double() @ flat).view(-1, *shape)))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return torch.cat(values).nanquantile(ends, 0)


def result_files(protocol: str, scores: Values | None, comparison: Values | None) -> dict[str, str]:
    """Return the files that hold the scores, by name; the protocol says in a line what they are."""
    text, files = f"{protocol}\n", {}
    if scores:
        text += _scores_text(scores)
        files["scores.json"] = _json({"protocol": protocol, **scores})
    if comparison:
        text += f"\n{_comparison_text(comparison)}"
        files["compare.json"] = _json(comparison)
    return {"Evaluation.txt": text, **files}


def _scores_text(scores: Values) -> str:
    """Return a line per score, in percent."""
    rows = scores["class_iou"] | {"mIoU": scores["miou"]}
    rows |= {"mIoU (13)": scores["miou_13"]} if "miou_13" in scores else {}
    rows |= {name.replace("_", " "): scores[name] for name in ("pixel_accuracy", "mean_accuracy")}
    low, high = (percent(end, "-", 2) for end in scores["miou_95_percent"])
    interval = "needs two labelled images" if low == "-" else f"{low} to {high}"
    lines = [f"{name:<14} {percent(share, 'nan', 2):>6}\n" for name, share in rows.items()]
    return "".join([*lines, f"mIoU, 95 % interval {interval}\n"])


def _comparison_text(comparison: Values) -> str:
    """Return the checkpoints, a line per score in percent, and the sentence."""
    head = ("IoU in %", "A", "B", "B - A", "95 % interval")
    lines = [head, *((name, *cells(row)) for name, row in comparison["iou"].items())]
    text = "".join(f"{name:<14}{a:>8}{b:>8}{c:>8}  {d}\n" for name, a, b, c, d in lines)
    return f"A: {comparison['a']}\nB: {comparison['b']}\n{text}{comparison['sentence']}\n"


def cells(row: Values) -> list[str]:
    """Return A, B, difference and interval in percent, as shown in tables."""
    low, high = (percent(end, "-", 2, "+") for end in row["interval_95_percent"])
    interval = "-" if low == "-" else f"{low} to {high}"
    difference = percent(row["difference"], "-", 2, "+")
    return [percent(row["a"], "-", 2), percent(row["b"], "-", 2), difference, interval]


def percent(share: float | None, missing: str = "-", digits: int = 1, sign: str = "") -> str:
    """Return a share in percent, or ``missing`` for None; ``sign`` is "+" to show it always."""
    if share is None or math.isnan(share):
        return missing
    text = f"{100 * share:{sign}.{digits}f}"
    return text if text.strip("+-0.") else text.lstrip("+-")


def _json(values: Values) -> str:
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _shares(confusions: Tensor) -> Tensor:
    return torch.cat([class_iou(confusions), mean_iou(confusions)[..., None]], -1)  # (..., C + 1)


def _plain(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
