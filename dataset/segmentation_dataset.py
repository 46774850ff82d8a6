"""One sample: read an image and its label map, resize them, turn label ids into train ids."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dataset.cache import Cache
from dataset.custom_dataset import OwnClasses
from dataset.description import PLAIN_FOLDER, Description, Layout, files_below, read_list
from dataset.image_files import IMAGE_EXTENSIONS, image_shape, read_image, read_label_ids
from dataset.labels import IGNORE_LABEL, lookup_table
from dataset.transforms import resize_image
from utils.errors import UserError

LabelUse = Literal["none", "resized", "own size"]
"""Whether label maps are read, and at which size: the input's for training, their own to score."""

Source = tuple[Path, str, tuple[int, ...]]
"""What a cached array is made from: a file and settings; and the array's shape."""


class Sample(NamedTuple):
    """An image and its label map.

    Attributes:
        image: uint8, (3, H, W), RGB, at the network's input size.
        label: train ids, uint8, (H, W) or the label map's own size; None if labels are not read.
        name: the image's path within the image folder.
    """

    image: Tensor
    label: Tensor | None
    name: str


class SegmentationDataset(Dataset[Sample]):
    """The images of a folder, with their label maps.

    Args:
        description: folders, classes and label ids; description.py says how to add a data set.
        root: the data folder; for a target whose labels are not read, any folder of images.
        size: width and height of the network's input.
        list_file: which images, and in which order (see `read_list`); without a list the folder is
            scanned, in sorted order.
        split: train, val or test, where the folders are divided so.
        labels: whether label maps are read, and at which size.
        ignore_label: train id of pixels that belong to no class.
        cache_dir: folder in which resized images and label maps are kept; None keeps nothing.
        own_classes: replaces the description's classes, label ids and folders.

    Attributes:
        description: with the own classes, if there are any.
        layout: the one of the description's layouts that the root has, or `PLAIN_FOLDER`.
        names: paths of the images within the image folder.
        table: label id -> train id.

    Raises:
        UserError: there is no such folder or no image, an image has no label map, or no class has
            label ids.
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
        self.layout = self._find_layout()
        self.image_folder, self.label_folder = self._folders(self.layout)
        self.names = self._find_images()
        self.label_space = self.description.label_space
        self.table = self.label_space.table(self.description.label_ids)
        self._lookup = lookup_table(self.table, ignore_label)
        if labels != "none":
            self._check_labels()

    @property
    def is_plain_folder(self) -> bool:
        """Whether the root is a plain folder of images, which have no label maps."""
        return self.layout == PLAIN_FOLDER

    def with_labels(self, use: LabelUse) -> SegmentationDataset:
        """Return a data set of the same images and settings whose label maps are read as ``use``.

        Raises:
            UserError: as the constructor.
        """
        cache_dir = str(self.cache.folder) if self.cache else None
        return SegmentationDataset(
            self.description, self.root, self.size, self.list_file, self.split, use,
            self.ignore_label, cache_dir,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            UserError: the image or label map cannot be read.
        """
        name = self.names[index]
        image = self._kept(self._image_source(name), lambda: self._read_image(name))
        if self.labels == "none":
            return Sample(image, None, name)
        label = self._kept(self._label_source(name), lambda: self.read_label(name))
        return Sample(image, label, name)

    def _kept(self, source: Source, read: Callable[[], NDArray[np.uint8]]) -> Tensor:
        return torch.tensor(self.cache.array(*source, read) if self.cache else read())

    def _image_source(self, name: str) -> Source:
        width, height = self.size
        settings = f"image {width}x{height}{' upright' * self.is_plain_folder}"
        settings += " exact" * (self.labels == "own size")
        return self.image_folder / name, settings, (3, height, width)

    def _label_source(self, name: str) -> Source:
        size = "{}x{}".format(*self.size) if self.labels == "resized" else "own size"
        settings = f"label {size} {sorted(self.table.items())} else {self.ignore_label}"
        return self.label_file(name), settings, self.label_shape(name)

    def _read_image(self, name: str) -> NDArray[np.uint8]:
        # Cameras may store photographs on their side; published data sets are used as they are.
        image = read_image(self.image_folder / name, upright=self.is_plain_folder)
        # Scored images are resized exactly as by the original.
        return resize_image(image, self.size, exact=self.labels == "own size")

    def read_label(self, name: str) -> NDArray[np.uint8]:
        """Read the label map of an image.

        Args:
            name: the image's path within the image folder.

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
            found = ", ".join(str(label_id) for label_id in np.unique(ids)[:8])
            raise UserError(
                f"{path} has no pixel of a known class (label ids found: {found})\n"
                f"  known ids: {sorted(self.table)}; convert the label map, or leave the image out "
                "with a list file"
            )
        return label

    def label_file(self, name: str) -> Path:
        """Return where an image's label map is expected."""
        return self.label_folder / self.layout.label_name(name)

    def label_shape(self, name: str) -> tuple[int, int]:
        """Return the height and width of an image's label map, as `read_label` returns it.

        Raises:
            UserError: label maps are read at their own size, and the file cannot be read.
        """
        if self.labels == "own size":
            return image_shape(self.label_file(name))
        return self.size[1], self.size[0]

    def has_labels(self) -> bool:
        """Return whether any image has a label map, and any class has label ids."""
        readable = bool(self.table) and not self.is_plain_folder
        return readable and any(self.label_file(name).exists() for name in self.names)

    def cache_entries(self) -> dict[Path, int]:
        """Return the paths of the cache entries of this data set, with their sizes in bytes.

        Raises:
            UserError: a file is missing.
        """
        if self.cache is None:
            return {}
        sources = [self._image_source(name) for name in self.names]
        if self.labels != "none":
            sources += [self._label_source(name) for name in self.names]
        return {
            self.cache.entry(file, settings): math.prod(shape) for file, settings, shape in sources
        }

    def _folders(self, layout: Layout) -> tuple[Path, Path]:
        """Return the image and label folder of a layout."""
        images, labels = (f.format(split=self.split) for f in (layout.images, layout.labels))
        return self.root / images, self.root / labels

    def _find_layout(self) -> Layout:
        layouts = self.description.layouts
        for layout in layouts:
            if self._folders(layout)[0].is_dir():
                return layout
        # If only this split is missing, the images below the root include label maps.
        folders = [path for layout in layouts for path in (layout.images, layout.labels)]
        splits = ("train", "val", "test")
        own = {path.format(split=split).split("/")[0] for path in folders for split in splits}
        may_be_plain = self.description.is_target and self.labels == "none" and self.root.is_dir()
        if may_be_plain and not any((self.root / folder).is_dir() for folder in own):
            return PLAIN_FOLDER
        raise self._no_images([self._folders(layout)[0] for layout in layouts])

    def _find_images(self) -> list[str]:
        found = files_below(self.image_folder)
        if not self.list_file:
            names = sorted(
                name
                for name in found
                if name.lower().endswith(IMAGE_EXTENSIONS)
                and PurePosixPath(name).stem.endswith(self.layout.image_suffix)
            )
            if not names:
                raise self._no_images([self.image_folder])
            return names
        names = read_list(Path(self.list_file))
        for name in names:
            if name not in found:
                raise UserError(
                    f"{self.list_file} names {name}, which is not in {self.image_folder}\n"
                    "  correct the list; its entries are paths within that folder"
                )
        return names

    def _no_images(self, folders: list[Path]) -> UserError:
        examples = []
        for layout in self.description.layouts:
            images, labels = self._folders(layout)
            image, label = f"NAME{layout.image_suffix}.png", f"NAME{layout.label_suffix}.png"
            examples.append(f"{images}/**/{image} and {labels}/**/{label}")
        plain = f", or images without labels anywhere in {self.root}"
        return UserError(
            f"no images under {' or '.join(map(str, folders))}\n"
            f"  expected: {' or '.join(examples)} (see {self.description.guide})"
            f"{plain if self.description.is_target and self.labels == 'none' else ''}\n"
            "  give the data folder's path, or try --demo, which needs no data"
        )

    def _check_labels(self) -> None:
        found = files_below(self.label_folder)
        missing = [name for name in self.names if self.layout.label_name(name) not in found]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(self)} images have no label map, the first: "
                f"{self.image_folder / missing[0]}\n"
                f"  expected: {self.label_file(missing[0])}\n"
                "  add the label maps, or name the images to use in a list file"
            )
        if not self.table:
            raise UserError(
                f"no class has label ids for the label maps of {self.label_folder}\n"
                "  give the classes their ids in this data set (--classes)"
            )
