"""One sample: read, resize, map labels.

A data set is described, not programmed: its subclass states the folders (`layouts`), the classes
(`label_space`) and which label ids stand for them (`label_ids`).
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dataset.cache import Cache
from dataset.image_files import IMAGE_EXTENSIONS, image_shape, read_image, read_label_ids
from dataset.labels import IGNORE_LABEL, LabelIds, LabelSpace, lookup_table
from dataset.layout import PLAIN_FOLDER, Layout, files_below, read_list
from dataset.transforms import resize_image
from utils.errors import UserError

LabelUse = Literal["none", "resized", "own size"]
"""Whether label maps are read, and at which size: the input's for training, their own to score."""


class Sample(NamedTuple):
    """An image and its label map.

    Attributes:
        image: uint8, (3, H, W), RGB, at the network's input size.
        label: uint8, (H, W) or the label map's own size, train ids; None where labels are not read.
        name: the image's path within the data set's image folder.
        problem: why the image asked for could not be read. Another stands in for it in training;
            what is scored is blank and without labels. A value and not an exception, which would
            lose its shape on the way from a worker process.
    """

    image: Tensor
    label: Tensor | None
    name: str
    problem: str = ""


class SegmentationDataset(Dataset[Sample]):
    """Images with label maps, in the layout that the subclass states.

    Args:
        root: the data folder; where labels are not read, a plain folder of images will do too.
        size: width and height of the network's input.
        list_file: a text file with one image a line, as paths within the image folder; without
            one the folder is scanned, in sorted order.
        split: which part of the data set, where its folders have parts.
        labels: whether label maps are read, and at which size.
        ignore_label: train id of pixels that belong to no class.
        cache: keeps what was read and resized.

    Raises:
        UserError: no such folder, no images, an image without a label map, or no label ids.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    label_space: ClassVar[LabelSpace]
    label_ids: ClassVar[LabelIds]
    has_split_file: ClassVar[bool] = False
    """Whether a file that says which images to train on, `--split_file`, is published with it."""

    def __init__(
        self,
        root: str | Path,
        size: tuple[int, int],
        list_file: str | Path | None = None,
        split: str = "val",
        labels: LabelUse = "resized",
        ignore_label: int = IGNORE_LABEL,
        cache: Cache | None = None,
    ) -> None:
        self.root = Path(root)
        self.size = size
        self.labels: LabelUse = labels
        self.ignore_label = ignore_label
        self.cache = cache
        self.layout = self._find_layout(split)
        self.image_folder = self.root / self.layout.images.format(split=split)
        self.label_folder = self.root / self.layout.labels.format(split=split)
        self.names = self._find_images(Path(list_file) if list_file else None, split)
        if labels != "none":
            self._check_labels()
        table = self.label_space.table(self.label_ids)
        if labels != "none" and not table:
            raise UserError(
                f"no class has label ids for {self.label_folder}, whose label maps are to be read\n"
                "  give the classes their ids in this data set (--classes)"
            )
        self._lookup = lookup_table(table, ignore_label)
        self._upright = self.layout is PLAIN_FOLDER  # a camera's own pictures may lie on a side
        self._exact = labels == "own size"  # what is scored is resized as the original does
        self._image_settings = (
            f"image {size[0]}x{size[1]}{' upright' * self._upright}{' exact' * self._exact}"
        )
        label_size = "{}x{}".format(*size) if labels == "resized" else "own size"
        self._label_settings = f"label {label_size} {sorted(table.items())} else {ignore_label}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        try:
            return self._read(self.names[index])
        except UserError as error:
            problem = str(error)
        for offset in range(1, min(len(self), 10) if self.labels != "own size" else 1):
            with contextlib.suppress(UserError):
                stand_in = self._read(self.names[(index + offset) % len(self)])
                return stand_in._replace(problem=problem)
        width, height = self.size
        blank = torch.zeros(3, height, width, dtype=torch.uint8)
        unlabelled = torch.full((height, width), self.ignore_label, dtype=torch.uint8)
        label = None if self.labels == "none" else unlabelled
        return Sample(blank, label, self.names[index], problem)

    def _read(self, name: str) -> Sample:
        label = None if self.labels == "none" else torch.tensor(self._label(name))
        return Sample(torch.tensor(self._image(name)), label, name)

    def _image(self, name: str) -> NDArray[np.uint8]:
        file, (width, height) = self.image_folder / name, self.size

        def read() -> NDArray[np.uint8]:
            return resize_image(read_image(file, self._upright), self.size, self._exact)

        if self.cache is None:
            return read()
        return self.cache.array(file, self._image_settings, (3, height, width), read)

    def _label(self, name: str) -> NDArray[np.uint8]:
        if self.cache is None:
            return self.read_label(name)
        file, shape = self._label_file(name), self.label_shape(name)
        return self.cache.array(file, self._label_settings, shape, lambda: self.read_label(name))

    def has_labels(self) -> bool:
        """Whether any image has a label map."""
        known = bool(self.label_space.table(self.label_ids))
        return known and any(self._label_file(name).exists() for name in self.names)

    def cache_entries(self, cache: Cache) -> dict[Path, int]:
        """What a cache will keep of this data set: the places of the entries, and their bytes.

        Raises:
            UserError: a file is missing.
        """
        entries = {
            cache.entry(self.image_folder / name, self._image_settings): 3 * math.prod(self.size)
            for name in self.names
        }
        for name in self.names if self.labels != "none" else ():
            entry = cache.entry(self._label_file(name), self._label_settings)
            entries[entry] = math.prod(self.label_shape(name))
        return entries

    def label_shape(self, name: str) -> tuple[int, int]:
        """Height and width of an image's label map, as it is read.

        Raises:
            UserError: it is read at its own size, and the file is missing or not an image.
        """
        if self.labels == "own size":
            return image_shape(self._label_file(name))
        return self.size[1], self.size[0]

    def _label_file(self, name: str) -> Path:
        return self.label_folder / self.layout.label_name(name)

    def read_label(self, name: str) -> NDArray[np.uint8]:
        """Read the label map of an image.

        Args:
            name: the image's path within the image folder.

        Returns:
            Train ids, uint8, at the input size (nearest neighbour) or at the map's own.

        Raises:
            UserError: the file cannot be read, or a map to train on holds no known id at all.
        """
        path = self._label_file(name)
        ids = read_label_ids(path)
        if self.labels == "resized":
            ids = np.asarray(Image.fromarray(ids).resize(self.size, Image.Resampling.NEAREST))
        label = self._lookup.take(ids)
        if self.labels == "resized" and (label == self.ignore_label).all():
            found = ", ".join(str(label_id) for label_id in np.unique(ids)[:8])
            raise UserError(
                f"{path} has no pixel of a known class (label ids found: {found})\n"
                f"  known ids: {sorted(self.label_space.table(self.label_ids))}; "
                "encode the labels so, or leave the image out with a list file"
            )
        return label

    def _find_layout(self, split: str) -> Layout:
        for layout in self.layouts:
            if (self.root / layout.images.format(split=split)).is_dir():
                return layout
        # Where a split alone is missing, what is below the data folder is label maps as well.
        folders = [path for layout in self.layouts for path in (layout.images, layout.labels)]
        splits = ("train", "val", "test")
        own = {path.format(split=part).split("/")[0] for path in folders for part in splits}
        has_own = any((self.root / folder).is_dir() for folder in own)
        if self.labels == "none" and self.root.is_dir() and not has_own:
            return PLAIN_FOLDER
        wanted = [self.root / layout.images.format(split=split) for layout in self.layouts]
        raise UserError(f"no images under {' or '.join(map(str, wanted))}\n{self._expected(split)}")

    def _find_images(self, list_file: Path | None, split: str) -> list[str]:
        found = files_below(self.image_folder)
        if list_file is None:
            suffix = self.layout.image_suffix
            names = sorted(
                name
                for name in found
                if name.lower().endswith(IMAGE_EXTENSIONS)
                and PurePosixPath(name).stem.endswith(suffix)
            )
            if not names:
                raise UserError(f"no images under {self.image_folder}\n{self._expected(split)}")
            return names
        names = self.read_names(list_file)
        for name in names:
            if name not in found:
                raise UserError(
                    f"{list_file} names {name}, which is not in {self.image_folder}\n"
                    "  correct the list; its entries are paths within that folder"
                )
        return names

    def read_names(self, list_file: Path) -> list[str]:
        """The images that a list file names, as paths within the image folder.

        Raises:
            UserError: it cannot be read, or an entry leaves the folder.
        """
        return read_list(list_file)

    def _check_labels(self) -> None:
        found = files_below(self.label_folder)
        missing = [name for name in self.names if self.layout.label_name(name) not in found]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(self)} images have no label map, the first: "
                f"{self.image_folder / missing[0]}\n"
                f"  expected: {self.label_folder / self.layout.label_name(missing[0])}\n"
                "  add the label maps, or name the images to use in a list file"
            )

    def _expected(self, split: str) -> str:
        module = type(self).__module__.replace(".", "/")
        examples = [
            f"{self.root / layout.images.format(split=split)}/**/NAME{layout.image_suffix}.png and "
            f"{self.root / layout.labels.format(split=split)}/**/NAME{layout.label_suffix}.png"
            for layout in self.layouts
        ]
        plain = f", or images without labels anywhere in {self.root}"
        return (
            f"  expected: {' or '.join(examples)} (see {module}.py)"
            f"{plain if self.labels == 'none' else ''}\n"
            "  give the data folder's path, or try --demo, which needs no data"
        )
