"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): 9,400 rendered street scenes.

    data/SYNTHIA/
      RGB/0000000.png ... 0009399.png
      GT/LABELS/0000000.png ... 0009399.png    16 bits, the first channel is the class

The folders can also be ``images`` and ``labels``, and label maps 8-bit PNGs of the same ids.
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
