"""What is written of each image: label map, colors, and the pictures that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.image_files import read_image
from dataset.labels import CITYSCAPES_IDS
from dataset.segmentation_dataset import SegmentationDataset
from utils.errors import UserError
from utils.evaluation.pictures import (
    Picture,
    attention_scale,
    color_map,
    confidence_picture,
    panels_with_legend,
    tiles_of,
    with_color_bar,
)
from utils.files import make_folder, whole_file
from utils.options import EvaluationConfig

ENDINGS = ("_color", "_attention", "_confidence", "_panel")
"""Of the pictures that are written beside an image's label map."""


class Predicted(NamedTuple):
    """One image and what the network makes of it.

    Attributes:
        name: its path within the image folder.
        classes: predicted train ids, uint8, (H, W).
        label: train ids, uint8, (H, W); the ignore label everywhere where there is none.
        attention: float32, (h, w), 0..1.
        confidence: probability of the predicted class, float32, (H, W); None if not asked for.
    """

    name: str
    classes: NDArray[np.uint8]
    label: NDArray[np.uint8]
    attention: NDArray[np.float32]
    confidence: NDArray[np.float32] | None


class PredictionFiles:
    """Writes the files of each image.

    Args:
        config: the options.
        dataset: where the images are, and what their classes are.

    Raises:
        UserError: files would collide, or the folder cannot be used.
    """

    def __init__(self, config: EvaluationConfig, dataset: SegmentationDataset) -> None:
        self.config = config
        self.dataset = dataset
        self.space = dataset.label_space
        self.folder = Path(config.snapshot_dir)
        self.label_ids = self.folder / "label_ids"
        self._check_names()
        make_folder(self.folder)
        if config.export:
            self._label_id = self._label_id_table()
            make_folder(self.label_ids)

    def write(self, predicted: Predicted) -> dict[str, Picture]:
        """Write the files of one image.

        Returns:
            Title -> picture, RGB, uint8, (H, W, 3), of everything there is to see of the image;
            nothing where no option asks for more than label map, colors and confidence.

        Raises:
            UserError: the image cannot be read, a file cannot be written.
        """
        config, classes = self.config, predicted.classes
        stem = PurePosixPath(predicted.name).stem
        draws = config.save_attention or config.save_panels or config.report
        tiles = self._tiles(predicted) if draws else {}
        save_png(self.folder / f"{stem}.png", classes)
        save_png(self.folder / f"{stem}_color.png", color_map(classes, self.space.colors))
        if config.export:
            save_png(self.label_ids / f"{stem}.png", self._label_id[classes])
        if config.save_attention:
            heat = with_color_bar(tiles["attention"], attention_scale, "attention")
            save_png(self.folder / f"{stem}_attention.png", heat)
        if predicted.confidence is not None:
            heat = confidence_picture(predicted.confidence)
            save_png(self.folder / f"{stem}_confidence.png", heat)
        if config.save_panels:
            maps, space = (classes, predicted.label), self.space
            picture = panels_with_legend([tiles], maps, space.names, space.colors)
            save_png(self.folder / f"{stem}_panel.png", picture)
        return tiles

    def _tiles(self, predicted: Predicted) -> dict[str, Picture]:
        return tiles_of(
            self._picture(predicted),
            predicted.classes,
            predicted.label,
            None if self.config.no_attention else predicted.attention,
            self.space.colors,
            self.config.ignore_label,
        )

    def _picture(self, predicted: Predicted) -> Picture:
        image = Image.fromarray(read_image(self.dataset.image_folder / predicted.name))
        size = predicted.classes.shape[::-1]
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC))

    def _check_names(self) -> None:
        data, stems = self.dataset, _stems(self.dataset.names)
        if len(stems) < len(data) or any(stem + end in stems for stem in stems for end in ENDINGS):
            raise UserError(
                f"several images in {data.image_folder} have one name, and so would their label "
                "maps\n  evaluate them one list file at a time"
            )
        if self.folder.resolve().is_relative_to(data.root.resolve()):
            raise UserError(
                f"--snapshot_dir {self.folder} lies within the data folder {data.root.resolve()}\n"
                "  choose another: predictions are called like the images"
            )

    def _label_id_table(self) -> NDArray[np.uint8]:
        """Train id -> Cityscapes label id, uint8, (C,)."""
        unknown = [name for name in self.space.names if name not in CITYSCAPES_IDS]
        if unknown:
            raise UserError(
                f"--export label_ids: Cityscapes has no class {', '.join(unknown)}\n"
                f"  it has {', '.join(CITYSCAPES_IDS)}"
            )
        expected = {f"{stem}.png" for stem in _stems(self.dataset.names)}
        strange = sorted({path.name for path in self.label_ids.glob("*")} - expected)
        if strange:
            raise UserError(
                f"{self.label_ids} holds {strange[0]}, which is not of these images: the benchmark "
                "would find it too\n  empty the folder, or choose another --snapshot_dir"
            )
        return np.array([CITYSCAPES_IDS[name] for name in self.space.names], np.uint8)


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an array, (H, W) or (H, W, 3), whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with whole_file(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def _stems(names: Sequence[str]) -> set[str]:
    return {PurePosixPath(name).stem for name in names}
