"""Confusion matrices of images -> scores and comparisons: plain values, as their JSON files."""

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

Values = dict[str, Any]  # of a JSON file; shares are 0..1, or None if nothing was counted


def score(
    confusions: Tensor, names: Sequence[str], images: Sequence[str], left_out: Sequence[str] = ()
) -> Values | None:
    """Return the values of scores.json but the protocol; None if no pixel has a label.

    The confusion matrices of the images are int64, (N, C, C), rows are the label; a second mean,
    ``miou_13``, is without the classes ``left_out``.
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
    """Return the values of compare.json, from a paired bootstrap.

    Both networks are scored on the same draws of images, so that images that are hard for both
    cancel out. What another training seed would change is not in the interval. The confusion
    matrices of the images, with A and with B, are int64, (N, 2, C, C); rows are the label.
    """

    def shares(sums: Tensor) -> Tensor:
        return torch.cat([class_iou(sums), mean_iou(sums)[..., None]], -1)  # (..., C + 1)

    a, b = shares(confusions.sum(0))
    low, high = bootstrap(confusions, lambda sums: shares(sums).diff(dim=1)[:, 0])
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

    Percentile bootstrap (Efron, 1979) with a fixed seed, over images with a labelled pixel. The
    statistics, (R, K), are functions of R sums of matrices, float64, (R, ...). Returns the ends of
    the 95 % intervals, float64, (2, K); nan for fewer than two images.
    """
    labelled = confusions[confusions.flatten(1).sum(1) > 0]
    count, shape = len(labelled), labelled.shape[1:]
    if count < 2:
        return statistic(labelled.sum(0, keepdim=True).double()).repeat(2, 1) * math.nan
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
        rows = scores["class_iou"] | {"mIoU": scores["miou"]}
        rows |= {"mIoU (13)": scores["miou_13"]} if "miou_13" in scores else {}
        rows |= {key.replace("_", " "): scores[key] for key in ("pixel_accuracy", "mean_accuracy")}
        for name, share in rows.items():
            text += f"{name:<14} {percent(share, 'nan', '.2f'):>6}\n"
        low, high = (percent(end, "", ".2f") for end in scores["miou_95_percent"])
        interval = f"{low} to {high}" if low else "needs two labelled images"
        text += f"mIoU, 95 % interval {interval}\n"
        values = {"protocol": protocol, **scores}
        files["scores.json"] = json.dumps(values, indent=1, allow_nan=False) + "\n"
    if comparison:
        table = {"IoU in %": ["A", "B", "B - A", "95 % interval"]}
        table |= {name: cells(row) for name, row in comparison["iou"].items()}
        text += f"\nA: {comparison['a']}\nB: {comparison['b']}\n"
        for name, (a, b, difference, interval) in table.items():
            text += f"{name:<14}{a:>8}{b:>8}{difference:>8}  {interval}\n"
        text += f"{comparison['sentence']}\n"
        files["compare.json"] = json.dumps(comparison, indent=1, allow_nan=False) + "\n"
    return {"Evaluation.txt": text, **files}


def cells(row: Values) -> list[str]:
    """Return A, B, difference and interval in percent, as shown in tables."""
    low, high = (percent(end, "", "+.2f") for end in row["interval_95_percent"])
    values = [percent(row[name], "-", ".2f") for name in ("a", "b")]
    return [*values, percent(row["difference"], "-", "+.2f"), f"{low} to {high}" if low else "-"]


def percent(share: float | None, missing: str = "-", form: str = ".1f") -> str:
    """Return a share in percent, or ``missing`` for None and nan."""
    if share is None or math.isnan(share):
        return missing
    text = f"{100 * share:{form}}"
    return text if float(text) else text.lstrip("+-")


def _plain(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
