"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): 9,400 rendered street scenes.

As published, with 16-bit label PNGs whose first channel is the class:

    data/SYNTHIA/
      RGB/0000000.png ... 0009399.png
      GT/LABELS/0000000.png ... 0009399.png

or with the labels re-encoded as 8-bit PNGs of the same ids:

    data/SYNTHIA/
      images/0000000.png ...
      labels/0000000.png ...
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
