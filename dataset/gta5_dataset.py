"""GTA-5 (Richter et al., ECCV 2016): 24,966 rendered street scenes with Cityscapes label ids.

    data/GTA5/
      images/00001.png ... 24966.png    1914x1052 or similar
      labels/00001.png ... 24966.png    palette PNGs, as published

The official ``split.mat`` can be given as a list file: its training images are used.
"""

from dataset.labels import CITYSCAPES_IDS, CLASSES_19
from dataset.segmentation_dataset import Description, Layout

GTA5 = Description(
    name="GTA-5",
    guide="dataset/gta5_dataset.py",
    layouts=(Layout(images="images", labels="labels"),),
    label_space=CLASSES_19,
    label_ids=CITYSCAPES_IDS,
    highest_id=34,
)
