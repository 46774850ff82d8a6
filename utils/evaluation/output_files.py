"""The files that are written for each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from torch import Tensor

from dataset.image_files import read_image
from dataset.labels import CITYSCAPES_IDS, LabelSpace
from dataset.segmentation_dataset import SegmentationDataset
from utils.errors import UserError
from utils.evaluation.pictures import (
    Picture,
    attention_picture,
    color_map,
    confidence_picture,
    overlay,
    panel,
    resized,
    tiles_of,
)
from utils.evaluation.predict import Prediction
from utils.files import make_folder, save_png
from utils.options import EvaluationOptions

ENDINGS = ("", "_color", "_overlay", "_attention", "_confidence", "_panel")


class OutputFiles:
    """Writes the files of each image of a data set.

    Args:
        options: say which files, and where.
        dataset: the images and their classes.

    Raises:
        UserError: files would collide, or the folder cannot be used.
    """

    def __init__(self, options: EvaluationOptions, dataset: SegmentationDataset) -> None:
        self.options = options
        self.dataset = dataset
        self.folder = Path(options.snapshot_dir)
        check_apart(self.folder, dataset.root)
        stems = [PurePosixPath(name).stem for name in dataset.names]
        check_outputs([self.folder / stem for stem in stems])
        if options.save_label_ids:
            names = dataset.label_space.names
            unknown = [name for name in names if name not in CITYSCAPES_IDS]
            if unknown:
                raise UserError(
                    f"--save_label_ids: Cityscapes has no class {', '.join(unknown)}\n"
                    f"  it has {', '.join(CITYSCAPES_IDS)}"
                )
            self._ids = np.array([CITYSCAPES_IDS[name] for name in names], np.uint8)
            strange = {path.stem for path in self.folder.glob("label_ids/*")} - set(stems)
            if strange:
                raise UserError(
                    f"{self.folder}/label_ids holds {min(strange)}, which is not one of these "
                    "images: the benchmark would find it too\n"
                    "  empty the folder, or choose another --snapshot_dir"
                )
            make_folder(self.folder / "label_ids")
        make_folder(self.folder)

    def write(self, name: str, prediction: Prediction, label: Tensor) -> dict[str, Picture]:
        """Write the files of one image.

        Args:
            name: of the image.
            prediction: at the label map's size.
            label: train ids, (H, W); the ignore label everywhere if there is no label map.

        Returns:
            The tiles for the report (see `tiles_of`); empty unless an option asks for pictures.
        """
        options, space = self.options, self.dataset.label_space
        place, picture, tiles = self.folder / PurePosixPath(name).stem, None, {}
        if options.save_attention or options.save_panels or options.report:
            original = read_image(self.dataset.image_folder / name)
            picture = resized(original, (label.shape[1], label.shape[0]))
            truth = label.byte().cpu().numpy()
            tiles = tiles_of(picture, prediction, truth, space.colors, options.ignore_label)
        save_pictures(place, picture, prediction, space, options)
        if options.save_panels:
            save_png(_path(place, "_panel"), panel([tiles], space))
        if options.save_label_ids:
            ids = self._ids[prediction.classes.cpu().numpy()]
            save_png(self.folder / f"label_ids/{place.name}.png", ids)
        return tiles


def save_pictures(
    place: Path,
    picture: Picture | None,
    prediction: Prediction,
    space: LabelSpace,
    options: EvaluationOptions,
) -> None:
    """Write the files that data sets and own images have in common.

    Args:
        place: path of the files, without their endings.
        picture: the image, needed for overlay and attention.
        prediction: at the picture's size.
        space: colors of the classes.
        options: say which files.
    """
    classes = prediction.classes.cpu().numpy()
    colors = color_map(classes, space.colors)
    pictures = {"": classes, "_color": colors}
    if options.images is not None and picture is not None:
        pictures["_overlay"] = overlay(picture, colors)
    if options.save_attention and picture is not None and prediction.attention is not None:
        attention = prediction.attention.float().cpu().numpy()
        pictures["_attention"] = attention_picture(picture, attention)
    if options.save_confidence:
        pictures["_confidence"] = confidence_picture(prediction.confidence.cpu().numpy())
    for ending, drawn in pictures.items():
        save_png(_path(place, ending), drawn)


def _path(place: Path, ending: str) -> Path:
    return place.with_name(f"{place.name}{ending}.png")


def check_outputs(places: Sequence[Path], others: Sequence[Path] = ()) -> None:
    """Check that no file is written twice, or over an image.

    Args:
        places: where files are written, without their endings.
        others: images that are read, and other files that are written.

    Raises:
        UserError: one would be.
    """
    outputs = [_path(place, ending) for place in places for ending in ENDINGS]
    times = Counter([*outputs, *others])
    for path in outputs:
        if times[path] > 1:
            raise UserError(
                f"{path} would be written twice, or over an image\n"
                "  rename the images of this name, or evaluate them separately, with another "
                "--snapshot_dir"
            )


def check_apart(folder: Path, source: Path) -> None:
    """Check that results are not written among the images, where they would be read as such.

    Raises:
        UserError: the folder lies within ``source``, or is that of the image ``source``.
    """
    written, read = folder.resolve(), source.resolve()
    if written.is_relative_to(read) or (read.is_file() and written == read.parent):
        raise UserError(
            f"--snapshot_dir {folder} lies within the data folder of {source}\n"
            "  choose another: predictions have the names of the images"
        )
