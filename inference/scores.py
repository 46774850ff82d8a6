"""Confusion matrices of images -> scores, and the texts that hold them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.metrics import class_iou, mean_iou

RESAMPLES = 10_000
DRAWS = 1000  # at once, for memory


@dataclass(frozen=True)
class Scores:
    """Scores of a network on a set of images; shares are 0..1, or nan if nothing was counted.

    Attributes:
        names: of the C classes.
        confusion: int64, (C, C), of all images; rows are the label.
        image_miou: mIoU of each image, (N,), nan if its label map names no class.
        iou: of each class.
        accuracy: of each class.
        miou: mean IoU over the classes that occur in the label or the prediction.
        interval: ends of the bootstrap 95 % interval of ``miou`` over images.
        miou_13: mean without the classes left out; None if there are none.
        pixel_accuracy: share of the labelled pixels that are right.
        mean_accuracy: mean of ``accuracy`` over the classes in the label.
    """

    names: tuple[str, ...]
    confusion: Tensor
    image_miou: tuple[float, ...]
    iou: tuple[float, ...]
    accuracy: tuple[float, ...]
    miou: float
    interval: tuple[float, float]
    miou_13: float | None
    pixel_accuracy: float
    mean_accuracy: float

    @property
    def rows(self) -> list[tuple[str, float]]:
        """Names and shares of all scores but the interval, in the order of the tables."""
        thirteen = [] if self.miou_13 is None else [("mIoU (13)", self.miou_13)]
        return [
            *zip(self.names, self.iou, strict=True),
            ("mIoU", self.miou),
            *thirteen,
            ("pixel accuracy", self.pixel_accuracy),
            ("mean accuracy", self.mean_accuracy),
        ]


def score(confusions: Tensor, names: Sequence[str], left_out: Sequence[str] = ()) -> Scores | None:
    """Score a network from the confusion matrix of each image.

    Args:
        confusions: int64, (N, C, C), rows are the label.
        names: of the C classes.
        left_out: classes that the second mean, ``miou_13``, leaves out.

    Returns:
        The scores; None if no pixel has a label.
    """
    confusion = confusions.sum(0)
    if not confusion.any():
        return None
    iou = class_iou(confusion)
    right, labelled = confusion.diagonal().double(), confusion.sum(1)
    accuracy = right / labelled
    low, high = bootstrap(confusions, lambda sums: mean_iou(sums)[:, None])[:, 0].tolist()
    kept = [index for index, name in enumerate(names) if name not in left_out]
    return Scores(
        names=tuple(names),
        confusion=confusion,
        image_miou=tuple(mean_iou(confusions).tolist()),
        iou=tuple(iou.tolist()),
        accuracy=tuple(accuracy.tolist()),
        miou=iou.nanmean().item(),
        interval=(low, high),
        miou_13=iou[kept].nanmean().item() if left_out else None,
        pixel_accuracy=(right.sum() / labelled.sum()).item(),
        mean_accuracy=accuracy.nanmean().item(),
    )


def bootstrap(confusions: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Estimate how far statistics would move with other images of the same kind.

    Percentile bootstrap (Efron, 1979) with a fixed seed: N images are drawn with replacement
    `RESAMPLES` times, and the statistics are computed on the sum of each draw's matrices.

    Args:
        confusions: int64, (N, ...): of each image; images without a labelled pixel are left out.
        statistic: maps R sums, float64, (R, ...), to R values of K statistics, (R, K).

    Returns:
        The ends of the 95 % intervals, float64, (2, K); draws where a statistic is nan are left
        out of its interval. nan for fewer than two images.
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


def score_files(scores: Scores | None, protocol: str, images: Sequence[str]) -> dict[str, str]:
    """Return the files that hold the scores, by name.

    Args:
        scores: of N images.
        protocol: what was scored and how, in a line.
        images: the N images' names.

    Returns:
        Evaluation.txt, with the protocol and a line per score in percent; if there are scores,
        scores.json and scores.csv as well.
    """
    text = f"{protocol}\n"
    if scores is None:
        return {"Evaluation.txt": text}
    low, high = scores.interval
    shown = "needs two labelled images"
    if not math.isnan(low):
        shown = f"{100 * low:.2f} to {100 * high:.2f}"
    text += "".join(f"{name:<14} {100 * value:6.2f}\n" for name, value in scores.rows)
    text += f"mIoU, 95 % interval {shown}\n"
    stream = io.StringIO()
    interval = ("mIoU 95 % interval from", low), ("mIoU 95 % interval to", high)
    table = [("score", "value"), *scores.rows, *interval]
    csv.writer(stream, lineterminator="\n").writerows(table)
    return {
        "Evaluation.txt": text,
        "scores.json": json_table(scores, protocol, images),
        "scores.csv": stream.getvalue(),
    }


def json_table(scores: Scores, protocol: str, images: Sequence[str]) -> str:
    """Return all scores as JSON, shares 0..1; null if nothing was counted."""
    values = {
        "protocol": protocol,
        "miou": scores.miou,
        "miou_95_percent": scores.interval,
        **({} if scores.miou_13 is None else {"miou_13": scores.miou_13}),
        "pixel_accuracy": scores.pixel_accuracy,
        "mean_accuracy": scores.mean_accuracy,
        "class_iou": dict(zip(scores.names, scores.iou, strict=True)),
        "class_accuracy": dict(zip(scores.names, scores.accuracy, strict=True)),
        "image_miou": dict(zip(images, scores.image_miou, strict=True)),
        "confusion": scores.confusion.tolist(),
    }
    return as_json(values)


def as_json(values: dict[str, Any]) -> str:
    """Return plain values as JSON, with null for nan, which JSON does not have."""
    values = json.loads(json.dumps(values), parse_constant=lambda _: None)
    return json.dumps(values, indent=1) + "\n"
