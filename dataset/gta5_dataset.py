"""GTA-5 (Richter et al., ECCV 2016): 24,966 rendered street scenes with Cityscapes label ids.

    data/GTA5/
      images/00001.png ... 24966.png    1914x1052 or so
      labels/00001.png ... 24966.png    palette PNGs, as published

The official ``split.mat`` (`--split_file`) is read as a list file of its training part.
"""

from pathlib import Path

import scipy.io

from dataset.labels import CITYSCAPES_IDS, CLASSES_19
from dataset.layout import Layout
from dataset.segmentation_dataset import SegmentationDataset
from utils.errors import UserError


class GTA5Dataset(SegmentationDataset):
    """The synthetic source of the 19-class experiment."""

    layouts = (Layout(images="images", labels="labels"),)
    label_space = CLASSES_19
    label_ids = CITYSCAPES_IDS
    has_split_file = True

    def read_names(self, list_file: Path) -> list[str]:
        """The images that a text file, or the training part of ``split.mat``, names."""
        if list_file.suffix.lower() != ".mat":
            return super().read_names(list_file)
        if not list_file.exists():
            raise UserError(f"there is no file {list_file}\n  correct its path")
        try:
            numbers = scipy.io.loadmat(list_file)["trainIds"].ravel().astype(int).tolist()
        except Exception:  # scipy's reader raises a dozen kinds
            raise UserError(
                f"{list_file} is not GTA-5's split.mat: no trainIds can be read from it\n"
                "  fetch it from the data set's page, or give a text file with one image a line"
            ) from None
        if not numbers:
            raise UserError(
                f"{list_file} names no training images: its trainIds are empty\n"
                "  fetch it anew from the data set's page"
            )
        return [f"{number:05d}.png" for number in numbers]
