"""Label spaces: class names, colors, and the tables from label ids to train ids.

A *label id* is the number a data set writes into its PNG files; a *train id* is the row of the
network's output. DESIGN section 2 gives the tables; the Cityscapes names, ids and colors are those
of the data set's own ``labels.py`` (Cordts et al., CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

LabelIds = Mapping[str, int | tuple[int, ...]]
"""Class name -> the label id, or ids, that stand for it in a data set's files."""

IGNORE_LABEL = 255

_COLORS: dict[str, Color] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "light": (250, 170, 30),
    "sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

CITYSCAPES_IDS: dict[str, int] = dict(
    zip(_COLORS, [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33], strict=True)
)
"""Class name -> label id in Cityscapes and GTA-5."""

SYNTHIA_IDS: dict[str, int] = {
    "sky": 1,
    "building": 2,
    "road": 3,
    "sidewalk": 4,
    "fence": 5,
    "vegetation": 6,
    "pole": 7,
    "car": 8,
    "sign": 9,
    "person": 10,
    "bicycle": 11,
    "motorcycle": 12,
    "light": 15,
    "rider": 17,
    "bus": 19,
    "wall": 21,
}
"""Class name -> label id in SYNTHIA-RAND-CITYSCAPES."""


@dataclass(frozen=True)
class LabelSpace:
    """The classes a network tells apart, in the order of its output channels.

    Attributes:
        names: one name a class.
        colors: one RGB color a class, 0..255.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.names)

    def table(self, ids: LabelIds) -> dict[int, int]:
        """Label id -> train id, for the classes of this space that ``ids`` names."""
        table: dict[int, int] = {}
        for train_id, name in enumerate(self.names):
            own = ids.get(name, ())
            table |= dict.fromkeys(own if isinstance(own, tuple) else (own,), train_id)
        return table


CLASSES_19 = LabelSpace(tuple(_COLORS), tuple(_COLORS.values()))
"""The 19 classes of the Cityscapes benchmark."""

_NAMES_16 = tuple(name for name in _COLORS if name in SYNTHIA_IDS)
CLASSES_16 = LabelSpace(_NAMES_16, tuple(_COLORS[name] for name in _NAMES_16))
"""The 16 classes that SYNTHIA and Cityscapes share: without terrain, truck and train."""

LABEL_SPACES: dict[int, LabelSpace] = {19: CLASSES_19, 16: CLASSES_16}

LEFT_OUT_OF_13 = ("wall", "fence", "pole")
"""The 13-class mean over the 16 classes (often written mIoU*) leaves these out."""


def lookup_table(table: Mapping[int, int], ignore_label: int = IGNORE_LABEL) -> NDArray[np.uint8]:
    """Make an array that maps label ids to train ids by indexing.

    Args:
        table: label id -> train id; ids it does not name become ``ignore_label``.
        ignore_label: the train id of pixels that are neither trained on nor scored, 0..255.

    Returns:
        uint8, (65536,): long enough for 16-bit label maps.
    """
    lookup = np.full(2**16, ignore_label, np.uint8)
    lookup[list(table)] = list(table.values())
    return lookup
