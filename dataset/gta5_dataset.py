"""GTA-5 (Richter et al., ECCV 2016): 24,966 rendered street scenes with Cityscapes label ids.

data/GTA5/
  images/00001.png ... 24966.png    1914x1052 or so
  labels/00001.png ... 24966.png    palette PNGs, as published
"""

from dataset.labels import CITYSCAPES_IDS, CLASSES_19
from dataset.segmentation_dataset import Layout, SegmentationDataset


class GTA5Dataset(SegmentationDataset):
    """The synthetic source of the 19-class experiment."""

    layouts = (Layout(images="images", labels="labels"),)
    label_space = CLASSES_19
    label_ids = CITYSCAPES_IDS
