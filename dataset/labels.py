"""Label spaces: class names, colors, and the tables from label ids to train ids.

A *label id* is the number a data set writes into its PNG files; a *train id* is the channel of the
network's output. Cityscapes' classes are those of its ``labels.py`` (Cordts et al., CVPR 2016).
"""

from collections.abc import Mapping
from dataclasses import dataclass

Color = tuple[int, int, int]
LabelIds = Mapping[str, int | tuple[int, ...]]  # class name -> its label ids in a data set
IGNORE_LABEL = 255

# In the order of the train ids: color, label id in Cityscapes and GTA-5, label id in SYNTHIA.
_CLASSES: dict[str, tuple[Color, int, int | None]] = {
    "road": ((128, 64, 128), 7, 3),
    "sidewalk": ((244, 35, 232), 8, 4),
    "building": ((70, 70, 70), 11, 2),
    "wall": ((102, 102, 156), 12, 21),
    "fence": ((190, 153, 153), 13, 5),
    "pole": ((153, 153, 153), 17, 7),
    "light": ((250, 170, 30), 19, 15),
    "sign": ((220, 220, 0), 20, 9),
    "vegetation": ((107, 142, 35), 21, 6),
    "terrain": ((152, 251, 152), 22, None),
    "sky": ((70, 130, 180), 23, 1),
    "person": ((220, 20, 60), 24, 10),
    "rider": ((255, 0, 0), 25, 17),
    "car": ((0, 0, 142), 26, 8),
    "truck": ((0, 0, 70), 27, None),
    "bus": ((0, 60, 100), 28, 19),
    "train": ((0, 80, 100), 31, None),
    "motorcycle": ((0, 0, 230), 32, 12),
    "bicycle": ((119, 11, 32), 33, 11),
}

CITYSCAPES_IDS = {name: label_id for name, (_, label_id, _) in _CLASSES.items()}
SYNTHIA_IDS = {name: label_id for name, (_, _, label_id) in _CLASSES.items() if label_id}
TRAIN_IDS = {*range(len(_CLASSES)), IGNORE_LABEL}


@dataclass(frozen=True)
class LabelSpace:
    """Names and RGB colors (0..255) of classes, in the order of the network's output channels."""

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    def table(self, ids: LabelIds) -> dict[int, int]:
        """Return label id -> train id, for the classes of this space that ``ids`` names."""
        table: dict[int, int] = {}
        for train_id, name in enumerate(self.names):
            own = ids.get(name, ())
            table |= dict.fromkeys(own if isinstance(own, tuple) else (own,), train_id)
        return table


CLASSES_19 = LabelSpace(tuple(_CLASSES), tuple(color for color, _, _ in _CLASSES.values()))
CLASSES_16 = LabelSpace(tuple(SYNTHIA_IDS), tuple(_CLASSES[name][0] for name in SYNTHIA_IDS))
"""The 16 classes that SYNTHIA and Cityscapes share: without terrain, truck and train."""

LABEL_SPACES = {19: CLASSES_19, 16: CLASSES_16}
LEFT_OUT_OF_13 = ("wall", "fence", "pole")
"""Left out of the 13-class mean over the 16 classes, which is often written mIoU*."""
