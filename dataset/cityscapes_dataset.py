"""Cityscapes (Cordts et al., CVPR 2016): street photographs of 50 cities, 2048x1024.

    data/Cityscapes/
      leftImg8bit/{train,val,test}/CITY/CITY_000000_000019_leftImg8bit.png
      gtFine/{train,val,test}/CITY/CITY_000000_000019_gtFine_labelIds.png

Label maps are needed for scoring only; adaptation reads the images alone.
"""

from dataset.labels import CITYSCAPES_IDS, CLASSES_19
from dataset.layout import Layout
from dataset.segmentation_dataset import SegmentationDataset


class CityscapesDataset(SegmentationDataset):
    """The real target, with the 19 classes of the benchmark."""

    layouts = (
        Layout(
            images="leftImg8bit/{split}",
            labels="gtFine/{split}",
            image_suffix="_leftImg8bit",
            label_suffix="_gtFine_labelIds",
        ),
    )
    label_space = CLASSES_19
    label_ids = CITYSCAPES_IDS
