"""Cityscapes with the 16 classes it shares with SYNTHIA; files as in cityscapes_dataset.py."""

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.labels import CLASSES_16


class Cityscapes16Dataset(CityscapesDataset):
    """The real target of the 16-class experiment: without terrain, truck and train."""

    label_space = CLASSES_16
