"""One sample: read an image and its label map, resize them, turn label ids into train ids."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dataset.cache import Cache
from dataset.description import PLAIN_FOLDER, Description, Layout, files_below, read_list
from dataset.image_files import IMAGE_EXTENSIONS, image_shape, read_image, read_label_ids
from dataset.labels import IGNORE_LABEL
from dataset.own_classes import OwnClasses
from dataset.transforms import resize_image
from utils.errors import UserError, counted

LabelUse = Literal["none", "resized", "own size"]
"""Whether label maps are read, and at which size: the input's for training, their own to score."""

SPLITS = ("train", "val", "test")


class Sample(NamedTuple):
    """An image and its label map."""

    image: Tensor  # uint8, (3, H, W), RGB, at the network's input size
    label: Tensor | None  # train ids, uint8, (H, W) or the label map's own size; None if not read
    name: str  # the image's path within the image folder


class SegmentationDataset(Dataset[Sample]):
    """The images of a folder, with their label maps.

    Args:
        description: folders, classes and label ids; description.py says how to add a data set.
        root: the data folder; for a target whose labels are not read, any folder of images.
        size: width and height of the network's input.
        list_file: which images, and in which order (see `read_list`); without a list the folder is
            scanned, in sorted order.
        split: train, val or test; used if the folders contain ``{split}``.
        labels: "none" reads no label maps; "resized" reads them at the input size, to train on;
            "own size" reads them at their own size, to score.
        ignore_label: train id of pixels that belong to no class.
        cache_dir: folder in which resized images and label maps are kept; None keeps nothing.
        own_classes: replaces the description's classes, label ids and folders.

    Attributes:
        layout: the one of the description's layouts that the root has, or `PLAIN_FOLDER`.
        is_plain_folder: whether the root is a plain folder of images, which have no label maps.
        names: paths of the images within the image folder.
        table: label id -> train id.

    Raises:
        UserError: there is no such folder or no image, an image has no label map, no class has
            label ids, or the ignore label is the train id of a class.
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
        cache_dir: str | None = None,
        own_classes: OwnClasses | None = None,
    ) -> None:
        self.description = own_classes.describe(description) if own_classes else description
        self.root = Path(root)
        self.size = size
        self.list_file = list_file
        self.split = split
        self.labels: LabelUse = labels
        self.ignore_label = ignore_label
        self.cache = Cache(cache_dir) if cache_dir else None
        self.label_space = self.description.label_space
        if ignore_label < self.label_space.num_classes:
            raise UserError(
                f"--ignore_label {ignore_label} is the train id of a class\n"
                f"  give one from {self.label_space.num_classes} to 255"
            )
        self.table = self.label_space.table(self.description.label_ids)
        self.layout = self._find_layout()
        self.is_plain_folder = self.layout == PLAIN_FOLDER
        self.image_folder, self.label_folder = self._folders(self.layout)
        self.names = self._find_images()
        if labels != "none":
            self._check_labels()
        self._lookup = np.full(2**16, ignore_label, np.uint8)  # label id -> train id
        self._lookup[list(self.table)] = list(self.table.values())
        self._exact = labels == "own size"  # scored images are resized exactly as by the original
        upright, exact = " upright" * self.is_plain_folder, " exact" * self._exact
        self._image_settings = f"image {size}{upright}{exact}"
        label_size = size if labels == "resized" else labels
        self._label_settings = f"label {label_size} {sorted(self.table.items())} {ignore_label}"

    def with_labels(self, use: LabelUse) -> SegmentationDataset:
        """Return a data set of the same images and settings; label maps are read as ``use``."""
        cache_dir = str(self.cache.folder) if self.cache else None
        return SegmentationDataset(
            self.description, self.root, self.size, self.list_file, self.split, use,
            self.ignore_label, cache_dir,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample; UserError if the image or label map cannot be read."""
        name, label = self.names[index], None
        image_file, label_file = self.image_folder / name, self.label_file(name)
        width, height = self.size
        image = self._kept(
            image_file, self._image_settings, (3, height, width),
            lambda: self._read_image(image_file),
        )  # fmt: skip
        if self.labels != "none":
            shape = (height, width) if self.labels == "resized" else (None, None)
            label = self._kept(
                label_file, self._label_settings, shape, lambda: self.read_label(name)
            )
        return Sample(image, label, name)

    def _kept(
        self,
        file: Path,
        settings: str,
        shape: Sequence[int | None],
        read: Callable[[], NDArray[np.uint8]],
    ) -> Tensor:
        return torch.tensor(self.cache.array(file, settings, shape, read) if self.cache else read())

    def _read_image(self, file: Path) -> NDArray[np.uint8]:
        # Cameras may store photographs on their side; published data sets are used as they are.
        image = read_image(file, upright=self.is_plain_folder)
        return resize_image(image, self.size, self._exact)

    def read_label(self, name: str) -> NDArray[np.uint8]:
        """Read the label map of an image.

        Returns:
            Train ids, uint8, at the input size (nearest neighbor) or at the label map's own.

        Raises:
            UserError: the file cannot be read, or a label map to train on has no known label id.
        """
        path = self.label_file(name)
        ids = read_label_ids(path)
        if self.labels == "resized":
            ids = np.asarray(Image.fromarray(ids).resize(self.size, Image.Resampling.NEAREST))
        label = self._lookup.take(ids)
        if self.labels == "resized" and (label == self.ignore_label).all():
            raise UserError(
                f"{path} has no pixel of a known class "
                f"(found: {np.unique(ids)[:8].tolist()})\n"
                f"  known ids: {sorted(self.table)}; convert it, or leave the image out by a list"
            )
        return label

    def label_file(self, name: str) -> Path:
        """Return where an image's label map is expected."""
        return self.label_folder / self.layout.label_name(name)

    def label_shape(self, name: str) -> tuple[int, int]:
        """Return the height and width of an image's label map, as `read_label` returns it."""
        if self.labels == "own size":
            return image_shape(self.label_file(name))
        return self.size[1], self.size[0]

    def has_labels(self) -> bool:
        """Return whether any image has a label map, and any class has label ids."""
        readable = bool(self.table) and not self.is_plain_folder
        return readable and any(os.path.exists(self.label_file(name)) for name in self.names)

    def cache_entries(self) -> dict[Path, int]:
        """Return the paths of the cache entries of this data set, with their sizes in bytes."""
        if self.cache is None:
            return {}
        entries, image_size = {}, 3 * math.prod(self.size)
        for name in self.names:
            entries[self.cache.entry(self.image_folder / name, self._image_settings)] = image_size
            if self.labels != "none":
                label = self.cache.entry(self.label_file(name), self._label_settings)
                entries[label] = math.prod(self.label_shape(name))
        return entries

    def _folders(self, layout: Layout) -> tuple[Path, Path]:
        images, labels = (layout.images, layout.labels)
        images, labels = (path.replace("{split}", self.split) for path in (images, labels))
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
        if (
            may_be_plain
            and os.path.isdir(self.root)
            and not any(os.path.isdir(self.root / folder) for folder in own)
        ):
            return PLAIN_FOLDER
        raise self._no_images()

    def _find_images(self) -> list[str]:
        found = files_below(self.image_folder)
        if self.list_file:
            names = read_list(Path(self.list_file))
            missing = [name for name in names if name not in found]
            if missing:
                raise UserError(
                    f"{self.list_file} names {missing[0]}, which is not in "
                    f"{self.image_folder}\n"
                    "  correct the list; its entries are paths within that folder"
                )
            return names
        endings = tuple((self.layout.image_suffix + end).lower() for end in IMAGE_EXTENSIONS)
        names = sorted(name for name in found if name.lower().endswith(endings))
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
            f"  expected: {' or '.join(expected)} "
            f"(see {self.description.guide})\n"
            "  give the data folder's path; --demo needs no data, and evaluation.py --images "
            "takes any images"
        )

    def _check_labels(self) -> None:
        found = files_below(self.label_folder)
        missing = [
            name
            for name in self.names
            if self.layout.label_name(name) not in found
            # It may be in a folder that is found by another path.
            and not os.path.isfile(self.label_file(name))
        ]
        if missing:
            verb = "has" if len(missing) == 1 else "have"
            raise UserError(
                f"{len(missing)} of {counted(len(self), 'image')} {verb} no label map, the first: "
                f"{self.image_folder / missing[0]}\n"
                f"  expected: {self.label_file(missing[0])}\n"
                "  add the label maps, or name the images to use in a list file"
            )
        if not self.table:
            raise UserError(
                f"no class has label ids for the label maps of {self.label_folder}\n"
                "  give the classes their ids in this data set (--classes)"
            )
