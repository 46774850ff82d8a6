"""Cityscapes (Cordts et al., CVPR 2016): street photographs of 50 cities, 2048x1024.

    data/Cityscapes/
      leftImg8bit/{train,val,test}/CITY/CITY_000000_000019_leftImg8bit.png
      gtFine/{train,val,test}/CITY/CITY_000000_000019_gtFine_labelIds.png

Adaptation reads the images alone; label maps are needed only for scoring. Without them, a plain
folder of photographs can take the place of Cityscapes.
"""

from dataclasses import replace

from dataset.labels import CITYSCAPES_IDS, CLASSES_16, CLASSES_19
from dataset.segmentation_dataset import Description, Layout

CITYSCAPES = Description(
    name="Cityscapes",
    guide="dataset/cityscapes_dataset.py",
    layouts=(Layout("leftImg8bit/{split}", "gtFine/{split}", "_leftImg8bit", "_gtFine_labelIds"),),
    label_space=CLASSES_19,
    label_ids=CITYSCAPES_IDS,
    highest_id=34,
    is_target=True,
)

CITYSCAPES_16 = replace(CITYSCAPES, name="Cityscapes (16 classes)", label_space=CLASSES_16)
