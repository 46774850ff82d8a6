"""The drawn data sets: what they show, how they are stored (test_docs.py runs the demo)."""

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.gta5_dataset import GTA5
from dataset.labels import CLASSES_19, SYNTHIA_IDS
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SYNTHIA
from tests.runs import contents
from tools import demo

SIZE = (128, 64)


def test_every_class_is_in_many_scenes_in_register_with_the_image():
    pairs = [demo.draw_scene(np.random.default_rng(i), SIZE, "render") for i in range(24)]
    images, labels = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    for train_id, name in enumerate(CLASSES_19.names):
        assert ((labels == train_id).sum((1, 2)) >= 5).mean() >= 0.2, name
    steps, edges = abs(np.diff(images.mean(-1))), np.diff(labels) != 0
    for shift in (-2, 2):
        assert steps[edges].mean() > 1.5 * steps[np.roll(edges, shift, axis=2)].mean()


@pytest.mark.parametrize(("kind", "data_set"), [("gta5", GTA5), ("synthia", SYNTHIA)])
def test_files_are_stored_as_published_and_always_the_same(tmp_path, kind, data_set):
    for folder in ("once", "again"):
        demo.write_demo(tmp_path / folder, kind, 3, 2, SIZE)
    assert contents(tmp_path / "once") == contents(tmp_path / "again")
    _, drawn = demo.draw_scene(np.random.default_rng((0, 1)), SIZE, "render")
    label = SegmentationDataset(data_set, tmp_path / "once" / kind.upper(), SIZE)[1].label
    if kind == "gta5":
        assert Image.open(tmp_path / "once/GTA5/labels/00002.png").mode == "P"
        assert (label == drawn).all()
    else:
        path = str(tmp_path / "once/SYNTHIA/GT/LABELS/0000001.png")
        assert cv2.imread(path, cv2.IMREAD_UNCHANGED).dtype == np.uint16
        assert ((label != 255) == np.isin(np.array(CLASSES_19.names)[drawn], [*SYNTHIA_IDS])).all()
    names = [path.name for path in (tmp_path / "once/Cityscapes/gtFine/val/demo").iterdir()]
    assert sorted(names) == [f"demo_00000{i}_000019_gtFine_labelIds.png" for i in (0, 1)]
