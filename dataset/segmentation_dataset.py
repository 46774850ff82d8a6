"""A data set: its folders and classes, and its samples of image and label map.

To add one, copy gta5_dataset.py and describe it there; or write a classes file (own_classes.py).
"""

from __future__ import annotations

import copy
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from dataset.image_files import files_below, find_images, read_image, read_label_ids, resize_image
from dataset.labels import IGNORE_LABEL, TRAIN_IDS, LabelIds, LabelSpace
from dataset.photographs import check_photographs
from utils.errors import UserError, counted

SPLITS = ("train", "val", "test")
ANY_ID = 2**16 - 1
LOOKED_AT = 5  # label maps of each data set, at its start
SAME_ASPECT = 0.03  # relative difference; a few of GTA-5's label maps have another size

LabelUse = Literal["none", "resized", "own size"]  # to adapt to, to train on, to score


@dataclass(frozen=True)
class Layout:
    """The folders of a data set, within its root; ``{split}`` stands for train, val or test."""

    images: str
    labels: str  # PNG files, in the same subfolders as the images
    image_suffix: str = ""  # end of an image's name, before the extension
    label_suffix: str = ""  # which the label map's name has in place of it

    def folders(self, root: Path, split: str) -> tuple[Path, Path]:
        """Return where the images and the label maps of a split are."""
        images, labels = (text.replace("{split}", split) for text in (self.images, self.labels))
        return root / images, root / labels

    def label_name(self, image: str) -> str:
        """Return the label map of an image; both are paths within their folders."""
        path = PurePosixPath(image)
        stem = path.stem.removesuffix(self.image_suffix) + self.label_suffix
        return str(path.with_name(f"{stem}.png"))


PLAIN_FOLDER = Layout(images="", labels="")
"""Images without label maps anywhere below the root: a user's own photographs."""


@dataclass(frozen=True)
class Description:
    """A data set; the first of its layouts whose image folder exists is used."""

    name: str
    guide: str  # the file whose docstring documents the folders
    layouts: tuple[Layout, ...]
    label_space: LabelSpace
    label_ids: LabelIds
    is_target: bool = False  # networks adapt to it, so that it may come without label maps
    highest_id: int = ANY_ID  # that label maps may hold, also of no class


class Sample(NamedTuple):
    """An image and its label map."""

    image: NDArray[np.uint8]  # (3, H, W), RGB, at the network's input size
    label: NDArray[np.uint8] | None  # train ids, (H, W) or the label map's own size; or not read
    name: str  # the image's path within the image folder


class SegmentationDataset(Dataset[Sample]):
    """The images of a folder, with their label maps."""

    def __init__(
        self,
        description: Description,
        root: str | Path,  # a target whose labels are not read may be any folder of images
        size: tuple[int, int],  # width and height of the network's input
        list_file: str | Path | None = None,  # which images, and in which order; or all, sorted
        split: str = "val",
        labels: LabelUse = "resized",
        ignore_label: int = IGNORE_LABEL,  # train id of pixels that belong to no class
    ) -> None:
        self.description = description
        self.root, self.size, self.split = Path(root), size, split
        self.labels: LabelUse = labels
        self.ignore_label = ignore_label
        self.label_space = description.label_space
        if ignore_label < self.label_space.num_classes:
            raise UserError(f"--ignore_label {ignore_label} is the id of a class\n  give 255")
        self.table = self.label_space.table(description.label_ids)  # label id -> train id
        self._lookup = np.full(2**16, ignore_label, np.uint8)
        self._lookup[list(self.table)] = list(self.table.values())
        self.layout = self._find_layout()
        self.is_plain_folder = self.layout == PLAIN_FOLDER
        self.image_folder, self.label_folder = self.layout.folders(self.root, split)
        place = self.image_folder, self.layout.image_suffix, self.root
        self.names = find_images(*place, list_file)  # paths within the image folder
        if not self.names:
            raise self._no_images()
        if self.is_plain_folder and not list_file:
            layouts = [layout for layout in description.layouts if "{split}" in layout.images]
            pairs = [layout.folders(Path(), split) for layout in layouts for split in SPLITS]
            check_photographs(self.root, self.names, sum(zip(*pairs, strict=True), ()))
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
        name = self.names[index]
        exact = self.labels == "own size"  # scored images are resized exactly as by the original
        ids = None if self.labels == "none" else read_label_ids(self.label_file(name))
        image = self.picture(name, None if ids is None else ids.shape)
        label = None if ids is None else self._train_ids(name, ids)
        return Sample(resize_image(image, self.size, exact), label, name)

    def picture(self, name: str, label_shape: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Read an image, RGB, (H, W, 3), with the aspect ratio of its label map, (H, W).

        Cameras may store photographs, which are seldom PNGs, on their side: those of a plain folder
        are turned upright, others only if then alone they fit. UserError if they do not fit.
        """
        path, label = self.image_folder / name, self.label_file(name)
        if label_shape is None and path.suffix != ".png" and not self.is_plain_folder:
            label_shape = read_label_ids(label).shape if label.exists() else None
        for upright in (self.is_plain_folder, True):
            image = read_image(path, upright)
            height, width, _ = image.shape
            rows, columns = label_shape or (height, width)
            if abs(height * columns / (width * rows) - 1) < SAME_ASPECT:
                return image
        sizes = f"{width}x{height}, its label map {label} {columns}x{rows}"
        raise UserError(f"{path} is {sizes}\n  turn or cut one of them, or leave it out by a list")

    def check_ids(self) -> None:
        """Look at a few label maps; UserError if they do not hold the data set's label ids.

        Train ids could be label ids too, but many pixels of several maps then have no class.
        """
        few = map(self.label_file, self.names[:: len(self) // LOOKED_AT or 1])
        maps = {file: read_label_ids(file) for file in few}
        pixels = np.concatenate([ids.ravel() for ids in maps.values()])
        found, highest = np.unique(pixels).tolist(), self.description.highest_id
        are_train_ids = TRAIN_IDS.issuperset(found)
        wrong = [file for file, ids in maps.items() if ids.max() > highest]
        if are_train_ids and highest < ANY_ID and len(maps) > 1:
            classless = np.isin(pixels, list(self.table), invert=True).mean()
            wrong += maps if 0.25 < classless < 1 else []
        if wrong:
            kind = f"{'train' if are_train_ids else 'other'} ids, not {self.description.name}'s"
            remedy = "give the published label maps, or name your own ids with --classes"
            raise UserError(f"{wrong[0]} holds {found[:20]}: {kind}\n  {remedy}")

    def _train_ids(self, name: str, ids: NDArray[Any]) -> NDArray[np.uint8]:
        if self.labels == "own size":
            return self._lookup.take(ids)
        ids = np.asarray(Image.fromarray(ids).resize(self.size, Image.Resampling.NEAREST))
        label = self._lookup.take(ids)
        if (label == self.ignore_label).all():
            found = f"(found: {np.unique(ids)[:8].tolist()}; known: {sorted(self.table)})"
            what = f"{self.label_file(name)} has no pixel of a known class {found}"
            raise UserError(f"{what}\n  convert it, or leave the image out by a list")
        return label

    def label_file(self, name: str) -> Path:
        """Return where an image's label map is expected."""
        return self.label_folder / self.layout.label_name(name)

    def has_labels(self) -> bool:
        """Return whether any image has a label map, and any class has label ids."""
        readable = bool(self.table) and not self.is_plain_folder
        return readable and any(os.path.exists(self.label_file(name)) for name in self.names)

    def _find_layout(self) -> Layout:
        for layout in self.description.layouts:
            if os.path.isdir(layout.folders(self.root, self.split)[0]):
                return layout
        # If only this split is missing, the images below the root include label maps.
        root = Path(glob.escape(str(self.root)))
        folders = [f for layout in self.description.layouts for f in layout.folders(root, "*")]
        may_be_plain = self.description.is_target and self.labels == "none" and self.root.is_dir()
        if may_be_plain and not any(glob.glob(str(folder)) for folder in folders):
            return PLAIN_FOLDER
        raise self._no_images()

    def _no_images(self) -> UserError:
        expected = ["images to adapt to anywhere in it"] if self.description.is_target else []
        for layout in self.description.layouts:
            images, labels = layout.folders(self.root, self.split)
            ends = f"NAME{layout.image_suffix}.png", f"NAME{layout.label_suffix}.png"
            expected.append(f"{images}/**/{ends[0]} and {labels}/**/{ends[1]}")
        what = "no images under" if self.root.is_dir() else "there is no folder"
        return UserError(
            f"{what} {self.root}\n"
            f"  expected: {' or '.join(expected)} (see {self.description.guide})\n"
            "  give the data folder's path, or try `python -m tools.demo`, which needs no data"
        )

    def _check_labels(self) -> None:
        if self.labels == "none":
            return
        if self.is_plain_folder:
            raise self._no_images()
        found = files_below(self.label_folder)
        missing = [name for name in self.names if self.layout.label_name(name) not in found]
        if missing:
            count = f"{len(missing)} of {counted(len(self), 'image')} without label map"
            first = f"{self.image_folder / missing[0]}\n  expected: {self.label_file(missing[0])}"
            remedy = "add the label maps, or name the images to use in a list file"
            raise UserError(f"{count}, the first: {first}\n  {remedy}")
        if not self.table:
            raise UserError(f"no class has label ids for {self.label_folder}\n  see --classes")
        self.check_ids()
