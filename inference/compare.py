"""Two networks on the same images: do they differ beyond chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inference.metrics import class_iou, mean_iou
from inference.scores import as_json, bootstrap


class Row(NamedTuple):
    """One score of networks A and B; shares are 0..1, or nan if nothing was counted.

    Attributes:
        name: a class, or mIoU.
        first: the score of A.
        second: the score of B.
        difference: B - A.
        low: lower end of the 95 % interval of the difference.
        high: its upper end.
    """

    name: str
    first: float
    second: float
    difference: float
    low: float
    high: float

    @property
    def cells(self) -> list[str]:
        """A, B, difference and interval in percent, as shown in tables."""
        cells = [f"{100 * self.first:.2f}", f"{100 * self.second:.2f}"]
        cells += [_signed(share) for share in (self.difference, self.low, self.high)]
        *values, low, high = ["-" if "nan" in cell else cell for cell in cells]
        return [*values, f"{low} to {high}" if low != "-" else "-"]


class Comparison(NamedTuple):
    """Scores of networks A and B on the same images.

    Attributes:
        first: A's checkpoint.
        second: B's checkpoint.
        rows: of each class, then of mIoU.
    """

    first: str
    second: str
    rows: list[Row]

    @property
    def beyond_chance(self) -> bool | None:
        """Whether the interval of the difference in mIoU excludes 0; None without an interval."""
        low, high = self.rows[-1].low, self.rows[-1].high
        return None if math.isnan(low) else low > 0 or high < 0

    @property
    def sentence(self) -> str:
        """The result in words."""
        *_, difference, interval = self.rows[-1].cells
        if self.beyond_chance is None:
            return "One labelled image is too few to tell a difference from chance."
        if self.beyond_chance:
            order = "higher" if self.rows[-1].difference > 0 else "lower"
            return (
                f"B's mIoU is {order} than A's beyond chance: the 95 % interval of the difference "
                f"({difference} points), {interval}, excludes 0. "
                "Other training seeds may differ more."
            )
        return (
            "There is no difference in mIoU beyond chance: the 95 % interval of the difference "
            f"({difference} points), {interval}, includes 0."
        )

    @property
    def table(self) -> str:
        """The checkpoints, a line per score in percent, and the sentence."""
        head = ("IoU in %", "A", "B", "B - A", "95 % interval")
        lines = [head, *((row.name, *row.cells) for row in self.rows)]
        text = "".join(f"{name:<14}{a:>8}{b:>8}{c:>8}  {d}\n" for name, a, b, c, d in lines)
        return f"A: {self.first}\nB: {self.second}\n{text}{self.sentence}\n"

    @property
    def files(self) -> dict[str, str]:
        """compare.txt and compare.json, by name."""
        values = {
            "a": self.first,
            "b": self.second,
            "beyond_chance": self.beyond_chance,
            "sentence": self.sentence,
            "iou": {
                row.name: {
                    "a": row.first, "b": row.second, "difference": row.difference,
                    "interval_95_percent": [row.low, row.high],
                }
                for row in self.rows
            },
        }  # fmt: skip
        return {"compare.txt": self.table, "compare.json": as_json(values)}


def compare(confusions: Tensor, names: Sequence[str], first: str, second: str) -> Comparison:
    """Compare two networks by a paired bootstrap.

    It estimates how far B - A would move with other images of the same kind. Both networks are
    scored on the same draws of images, so that images that are hard for both cancel out. What
    another training seed would change is not in the interval.

    Args:
        confusions: int64, (N, 2, C, C): of each image, with A and with B; rows are the label.
        names: of the C classes.
        first: A's checkpoint.
        second: B's checkpoint.
    """
    a, b = _shares(confusions.sum(0))
    low, high = bootstrap(confusions, lambda sums: _shares(sums).diff(dim=1)[:, 0])
    columns = [values.tolist() for values in (a, b, b - a, low, high)]
    rows = [Row(*row) for row in zip([*names, "mIoU"], *columns, strict=True)]
    return Comparison(first, second, rows)


def _signed(share: float) -> str:
    text = f"{100 * share:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _shares(confusions: Tensor) -> Tensor:
    return torch.cat([class_iou(confusions), mean_iou(confusions)[..., None]], -1)  # (..., C + 1)
