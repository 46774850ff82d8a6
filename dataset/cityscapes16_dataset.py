"""Cityscapes with the 16 classes it shares with SYNTHIA; files as in cityscapes_dataset.py."""

import dataclasses
import functools

from dataset.cityscapes_dataset import CITYSCAPES
from dataset.labels import CLASSES_16
from dataset.segmentation_dataset import SegmentationDataset

CITYSCAPES_16 = dataclasses.replace(
    CITYSCAPES, name="Cityscapes with SYNTHIA's classes", label_space=CLASSES_16
)

Cityscapes16Dataset = functools.partial(SegmentationDataset, CITYSCAPES_16)
