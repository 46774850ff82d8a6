"""A data set: its folders and classes, and its samples of image and label map.

To add a data set, copy gta5_dataset.py, document the folders in its docstring, state them in
`layouts` with the label ids of each class, and open it in a script in place of the one copied.
Without any code, a classes file (own_classes.py) does the same.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from dataset.file_lists import files_below, listed, pictures_below
from dataset.image_files import read_image, read_label_ids
from dataset.labels import IGNORE_LABEL, LabelIds, LabelSpace
from dataset.transforms import resize_image
from utils.errors import UserError, counted

if TYPE_CHECKING:
    from dataset.own_classes import OwnClasses

LabelUse = Literal["none", "resized", "own size"]
"""Whether label maps are read, and at which size: the input's for training, their own to score."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Layout:
    """The folders of a data set, within its root; ``{split}`` stands for train, val or test.

    Attributes:
        labels: folder of the label maps, PNG files in the same subfolders as the images.
        image_suffix: end of an image's name, before the extension; not part of the label map's.
        label_suffix: end of a label map's name, before the extension.
    """

    images: str
    labels: str
    image_suffix: str = ""
    label_suffix: str = ""

    def label_name(self, image: str) -> str:
        """Return the label map of an image; both are paths within their folders."""
        path = PurePosixPath(image)
        stem = path.stem.removesuffix(self.image_suffix) + self.label_suffix
        return str(path.with_name(f"{stem}.png"))


PLAIN_FOLDER = Layout(images="", labels="")
"""Images without label maps anywhere below the root: a user's own photographs."""


@dataclass(frozen=True)
class Description:
    """A data set.

    Attributes:
        name: what messages call it.
        guide: the file whose docstring documents the folders.
        layouts: the first whose image folder exists is used.
        is_target: whether networks adapt to it, so that it may come without label maps.
    """

    name: str
    guide: str
    layouts: tuple[Layout, ...]
    label_space: LabelSpace
    label_ids: LabelIds
    is_target: bool = False


class Sample(NamedTuple):
    """An image and its label map."""

    image: NDArray[np.uint8]  # (3, H, W), RGB, at the network's input size
    label: NDArray[np.uint8] | None  # train ids, (H, W) or the label map's own size; or not read
    name: str  # the image's path within the image folder


class SegmentationDataset(Dataset[Sample]):
    """The images of a folder, with their label maps.

    Args:
        description: folders, classes and label ids.
        root: the data folder; for a target whose labels are not read, any folder of images.
        size: width and height of the network's input.
        list_file: which images, and in which order; without it all, in sorted order.
        split: train, val or test; used if the folders contain ``{split}``.
        labels: "none" reads no label maps; "resized" reads them at the input size, to train on;
            "own size" reads them at their own size, to score.
        ignore_label: train id of pixels that belong to no class.
        own_classes: replaces the description's classes, label ids and folders.

    Attributes:
        layout: the one of the description's layouts that the root has, or `PLAIN_FOLDER`.
        is_plain_folder: whether the root is a plain folder of images, which have no label maps.
        names: paths of the images within the image folder.
        table: label id -> train id.

    Raises:
        UserError: there is no image, an image has no label map, no class has label ids, or the
            ignore label is the train id of a class.
    """

    def __init__(
        self,
        description: Description,
        root: str | Path,
        size: tuple[int, int],
        list_file: str | Path | None = None,
        split: str = "val",
        labels: LabelUse = "resized",
        ignore_label: int = IGNORE_LABEL,
        own_classes: OwnClasses | None = None,
    ) -> None:
        self.description = own_classes.describe(description) if own_classes else description
        self.root = Path(root)
        self.size = size
        self.split = split
        self.labels: LabelUse = labels
        self.ignore_label = ignore_label
        self.label_space = self.description.label_space
        if ignore_label < self.label_space.num_classes:
            remedy = f"give one from {self.label_space.num_classes} to 255"
            raise UserError(f"--ignore_label {ignore_label} is the id of a class\n  {remedy}")
        self.table = self.label_space.table(self.description.label_ids)
        self.layout = self._find_layout()
        self.is_plain_folder = self.layout == PLAIN_FOLDER
        self.image_folder, self.label_folder = self._folders(self.layout)
        self.names = self._find_images(list_file)
        self._lookup = np.full(2**16, ignore_label, np.uint8)  # label id -> train id
        self._lookup[list(self.table)] = list(self.table.values())
        self._check_labels()

    def with_labels(self, use: LabelUse) -> SegmentationDataset:
        """Return a data set of the same images and settings; label maps are read as ``use``."""
        other = copy.copy(self)
        other.labels = use
        other._check_labels()
        return other

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            UserError: a file cannot be read, or a label map to train on has no known label id.
        """
        name = self.names[index]
        # Cameras may store photographs on their side; published data sets are used as they are.
        image = read_image(self.image_folder / name, upright=self.is_plain_folder)
        exact = self.labels == "own size"  # scored images are resized exactly as by the original
        label = None if self.labels == "none" else self._read_label(self.label_file(name))
        return Sample(resize_image(image, self.size, exact), label, name)

    def _read_label(self, path: Path) -> NDArray[np.uint8]:
        ids = read_label_ids(path)
        if self.labels == "own size":
            return self._lookup.take(ids)
        ids = np.asarray(Image.fromarray(ids).resize(self.size, Image.Resampling.NEAREST))
        label = self._lookup.take(ids)
        if (label == self.ignore_label).all():
            raise UserError(
                f"{path} has no pixel of a known class (found: {np.unique(ids)[:8].tolist()})\n"
                f"  known ids: {sorted(self.table)}; convert it, or leave the image out by a list"
            )
        return label

    def label_file(self, name: str) -> Path:
        """Return where an image's label map is expected."""
        return self.label_folder / self.layout.label_name(name)

    def has_labels(self) -> bool:
        """Return whether any image has a label map, and any class has label ids."""
        readable = bool(self.table) and not self.is_plain_folder
        return readable and any(os.path.exists(self.label_file(name)) for name in self.names)

    def _folders(self, layout: Layout) -> tuple[Path, Path]:
        images, labels = layout.images, layout.labels
        images, labels = (text.replace("{split}", self.split) for text in (images, labels))
        return self.root / images, self.root / labels

    def _find_layout(self) -> Layout:
        layouts = self.description.layouts
        for layout in layouts:
            if os.path.isdir(self._folders(layout)[0]):
                return layout
        # If only this split is missing, the images below the root include label maps.
        paths = [path for layout in layouts for path in (layout.images, layout.labels)]
        own = {path.replace("{split}", split).split("/")[0] for path in paths for split in SPLITS}
        may_be_plain = self.description.is_target and self.labels == "none"
        if may_be_plain and not any(os.path.isdir(self.root / folder) for folder in own):
            return PLAIN_FOLDER
        raise self._no_images()

    def _find_images(self, list_file: str | Path | None) -> list[str]:
        if list_file:
            return listed(Path(list_file), self.image_folder, self.root)
        names = pictures_below(self.image_folder, self.layout.image_suffix)
        if not names:
            raise self._no_images()
        return names

    def _no_images(self) -> UserError:
        expected = []
        for layout in self.description.layouts:
            images, labels = self._folders(layout)
            image, label = f"NAME{layout.image_suffix}.png", f"NAME{layout.label_suffix}.png"
            expected.append(f"{images}/**/{image} and {labels}/**/{label}")
        if self.description.is_target and self.labels == "none":
            expected.append("images without labels anywhere in it")
        return UserError(
            f"no images under {self.root}\n"
            f"  expected: {' or '.join(expected)} (see {self.description.guide})\n"
            "  give the data folder's path; `python -m tools.demo` needs no data, and "
            "evaluation.py --images takes any images"
        )

    def _check_labels(self) -> None:
        if self.labels == "none":
            return
        if self.is_plain_folder:
            raise self._no_images()
        found = files_below(self.label_folder)
        missing = [name for name in self.names if self.layout.label_name(name) not in found]
        if missing:
            raise UserError(
                f"{len(missing)} of {counted(len(self), 'image')} without label map, the first: "
                f"{self.image_folder / missing[0]}\n"
                f"  expected: {self.label_file(missing[0])}\n"
                "  add the label maps, or name the images to use in a list file"
            )
        if not self.table:
            what = f"no class has label ids for the label maps of {self.label_folder}"
            raise UserError(f"{what}\n  give the classes their ids in this data set (--classes)")
