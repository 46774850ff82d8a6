"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): 9,400 rendered street scenes.

    data/SYNTHIA/
      RGB/0000000.png ... 0009399.png          or images/
      GT/LABELS/0000000.png ... 0009399.png    or labels/

The first channel of the published 16-bit label maps is the class; 8-bit ones of the same ids are
read as well.
"""

from dataset.labels import CLASSES_16, SYNTHIA_IDS
from dataset.segmentation_dataset import Description, Layout

SYNTHIA = Description(
    name="SYNTHIA",
    guide="dataset/synthia_dataset.py",
    layouts=(Layout("RGB", "GT/LABELS"), Layout("images", "labels")),
    label_space=CLASSES_16,
    label_ids=SYNTHIA_IDS,
    highest_id=22,
)
