"""Label spaces, against tables written out and against torchvision's copy of Cityscapes' own."""

import pytest
from torchvision.datasets import Cityscapes

from dataset.cityscapes16_dataset import CITYSCAPES_16
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.labels import (
    CITYSCAPES_IDS,
    CLASSES_16,
    CLASSES_19,
    LABEL_SPACES,
    LEFT_OUT_OF_13,
    SYNTHIA_IDS,
)
from dataset.synthia_dataset import SYNTHIA

SHORTER = {"traffic light": "light", "traffic sign": "sign"}
THEIRS = {SHORTER.get(c.name, c.name): c for c in Cityscapes.classes if 0 <= c.train_id < 19}
# fmt: off
SYNTHIA_TO_16 = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 1: 9, 10: 10, 17: 11, 8: 12, 19: 13,
    12: 14, 11: 15,
}
NAMES_16 = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "light", "sign", "vegetation", "sky",
    "person", "rider", "car", "bus", "motorcycle", "bicycle",
)
# fmt: on
CITYSCAPES_TO_19 = {theirs.id: theirs.train_id for theirs in THEIRS.values()}
CITYSCAPES_TO_16 = {THEIRS[name].id: train_id for train_id, name in enumerate(NAMES_16)}


def test_several_label_ids_of_a_class():
    ids = {"road": (3, 1), "sky": 65535, "unknown": (4, 5)}
    assert CLASSES_19.table(ids) == {3: 0, 1: 0, 65535: 10}


@pytest.mark.parametrize(
    ("description", "table"),
    [
        (GTA5, CITYSCAPES_TO_19),
        (CITYSCAPES, CITYSCAPES_TO_19),
        (CITYSCAPES_16, CITYSCAPES_TO_16),
        (SYNTHIA, SYNTHIA_TO_16),
    ],
)
def test_data_sets_use_their_table(description, table):
    assert description.label_space.table(description.label_ids) == table
    assert description.is_target == description.name.startswith("Cityscapes")


def test_names_ids_and_colors_are_those_of_cityscapes():
    assert len(THEIRS) == CLASSES_19.num_classes == 19
    for name, theirs in THEIRS.items():
        assert CLASSES_19.names[theirs.train_id] == name
        assert CLASSES_19.colors[theirs.train_id] == theirs.color
        assert CITYSCAPES_IDS[name] == theirs.id


def test_16_classes():
    assert CLASSES_16.names == NAMES_16
    colors = dict(zip(CLASSES_19.names, CLASSES_19.colors, strict=True))
    assert CLASSES_16.colors == tuple(colors[name] for name in NAMES_16)
    assert set(SYNTHIA_IDS) == set(NAMES_16)
    assert set(CLASSES_19.names) - set(CLASSES_16.names) == {"terrain", "truck", "train"}
    assert {19: CLASSES_19, 16: CLASSES_16} == LABEL_SPACES
    assert set(CLASSES_16.names) & set(LEFT_OUT_OF_13) == {"fence", "pole", "wall"}
