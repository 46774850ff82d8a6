"""The files that are written for each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
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
        self.space = dataset.label_space
        self.folder = Path(options.snapshot_dir)
        if self.folder.resolve().is_relative_to(dataset.root.resolve()):
            raise within_data(self.folder, dataset.root)
        stems = [PurePosixPath(name).stem for name in dataset.names]
        check_outputs([self.folder / stem for stem in stems], [], options)
        make_folder(self.folder)
        if options.save_label_ids:
            self.label_ids = self.folder / "label_ids"
            self._label_id = label_id_table(self.space)
            _check_only(self.label_ids, {f"{stem}.png" for stem in stems})
            make_folder(self.label_ids)

    def write(self, name: str, prediction: Prediction, label: Tensor) -> dict[str, Picture]:
        """Write the files of one image.

        Args:
            name: of the image.
            prediction: at the label map's size.
            label: train ids, (H, W); the ignore label everywhere if there is no label map.

        Returns:
            The tiles for the report (see `tiles_of`); empty unless an option asks for pictures.

        Raises:
            UserError: the image cannot be read, or a file cannot be written.
        """
        options, stem = self.options, PurePosixPath(name).stem
        picture, tiles = None, {}
        if options.save_attention or options.save_panels or options.report:
            original = read_image(self.dataset.image_folder / name)
            picture = resized(original, (label.shape[1], label.shape[0]))
            truth, colors = label.byte().cpu().numpy(), self.space.colors
            tiles = tiles_of(picture, prediction, truth, colors, options.ignore_label)
        save_pictures(self.folder / stem, picture, prediction, self.space, options)
        if options.save_panels:
            save_png(self.folder / f"{stem}_panel.png", panel([tiles], self.space))
        if options.save_label_ids:
            ids = self._label_id[prediction.classes.cpu().numpy()]
            save_png(self.label_ids / f"{stem}.png", ids)
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

    Raises:
        UserError: a file cannot be written.
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
        save_png(place.with_name(f"{place.name}{ending}.png"), drawn)


def check_outputs(
    places: Sequence[Path], others: Sequence[Path], options: EvaluationOptions
) -> None:
    """Check that no file is written twice, or over an image.

    Args:
        places: where files are written, without their endings.
        others: images that are read, and other files that are written.
        options: say which files.

    Raises:
        UserError: one would be.
    """
    own = options.images is not None
    endings = {
        "_overlay": own,
        "_attention": options.save_attention,
        "_confidence": options.save_confidence,
        "_panel": options.save_panels and not own,
    }
    written = ["", "_color", *(ending for ending, wanted in endings.items() if wanted)]
    outputs = [place.with_name(f"{place.name}{end}.png") for place in places for end in written]
    times = Counter([*outputs, *others])
    for path in outputs:
        if times[path] > 1:
            raise UserError(
                f"{path} would be written twice, or over an image\n"
                "  rename the images of this name, or evaluate them separately, with another "
                "--snapshot_dir"
            )


def within_data(folder: Path, root: Path) -> UserError:
    """Return the error that results would be written among the images."""
    return UserError(
        f"--snapshot_dir {folder} lies within the data folder {root.resolve()}\n"
        "  choose another: predictions have the names of the images"
    )


def label_id_table(space: LabelSpace) -> NDArray[np.uint8]:
    """Return the Cityscapes label id of each class, uint8, (C,).

    Raises:
        UserError: Cityscapes does not have a class.
    """
    unknown = [name for name in space.names if name not in CITYSCAPES_IDS]
    if unknown:
        raise UserError(
            f"--save_label_ids: Cityscapes has no class {', '.join(unknown)}\n"
            f"  it has {', '.join(CITYSCAPES_IDS)}"
        )
    return np.array([CITYSCAPES_IDS[name] for name in space.names], np.uint8)


def _check_only(folder: Path, expected: set[str]) -> None:
    strange = sorted({path.name for path in folder.glob("*")} - expected)
    if strange:
        raise UserError(
            f"{folder} holds {strange[0]}, which is not one of these images: the benchmark would "
            "find it too\n  empty the folder, or choose another --snapshot_dir"
        )
