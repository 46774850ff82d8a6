"""The files that are written for each image, and the folder that holds all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import filelock
import numpy as np
from numpy.typing import NDArray

from dataset.labels import CITYSCAPES_IDS, LabelSpace
from inference.pictures import (
    Tiles,
    attention_picture,
    color_map,
    confidence_picture,
    overlay,
    panel,
)
from inference.predict import Prediction
from utils.errors import UserError
from utils.files import lock_folder, save_png, whole_file

RESULTS = ("Evaluation.txt", "scores.json", "compare.json", "report.html")


def stems_of(names: Sequence[str]) -> list[str]:
    """Return what to call each image's files: its name alone, with folders if names repeat."""
    paths = [PurePosixPath(name).with_suffix("") for name in names]
    alone = [path.name for path in paths]
    return alone if len(set(alone)) == len(alone) else [str(path) for path in paths]


@dataclass(frozen=True)
class Outputs:
    """The output folder, and which pictures go there besides label maps and color maps."""

    folder: Path
    overlay: bool = False
    attention: bool = False
    confidence: bool = False
    panel: bool = False
    label_ids: bool = False

    def files(self, stem: str) -> list[str]:
        """Return the files of an image; ``stem`` is their path without ending."""
        kinds = ("overlay", "attention", "confidence", "panel")
        endings = ["", "_color", *(f"_{kind}" for kind in kinds if getattr(self, kind))]
        files = [f"{stem}{ending}.png" for ending in endings]
        return [*files, f"label_ids/{stem}.png"] if self.label_ids else files

    def open(
        self, files: Sequence[str], inputs: Sequence[Path], searched: Sequence[Path] = ()
    ) -> filelock.BaseFileLock:
        """Make and lock the folder, after making sure that no input is written over.

        Args:
            files: paths of all files to write, within the folder.
            inputs: files that are read; links are followed.
            searched: folders in which images are searched.

        Returns:
            The lock, as a context manager.

        Raises:
            UserError: a file would be written twice, among the images, or over one that is read.
        """
        remedy = "choose another --snapshot_dir"
        parents = {PurePosixPath(file).parent for file in files}
        places = {parent: (self.folder / parent).resolve() for parent in parents}
        within, read = ({path.resolve() for path in paths} for paths in (searched, inputs))
        for parent, place in places.items():
            if not within.isdisjoint((place, *place.parents)):
                where = f"{self.folder / parent} lies within the data folder"
                raise UserError(f"{where}: results would be read as images\n  {remedy}")
        for file, count in Counter(map(PurePosixPath, files)).items():
            if count > 1:
                rename = "rename an image of this name, or predict them separately"
                raise UserError(f"{self.folder / file} would be written twice\n  {rename}")
            if places[file.parent] / file.name in read:
                raise UserError(f"{self.folder / file} would replace an input\n  {remedy}")
        lock = lock_folder(self.folder)
        for parent in parents:
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
        return lock

    def save(self, stem: str, prediction: Prediction, space: LabelSpace, tiles: Tiles) -> None:
        """Write the files of an image; overlay and attention need its tile ``input``."""
        ids = _cityscapes_ids(space) if self.label_ids else None
        classes = prediction.classes.cpu().numpy()

        def save(ending: str, picture: NDArray[np.uint8]) -> None:
            save_png(self.folder / f"{stem}{ending}.png", picture)

        # One after the other: each picture of a large photograph takes hundreds of megabytes.
        save("", classes)
        save("_color", color_map(classes, space.colors))
        if self.overlay:
            save("_overlay", overlay(tiles["input"], color_map(classes, space.colors)))
        if self.attention and prediction.attention is not None:
            attention = prediction.attention.float().cpu().numpy()
            save("_attention", attention_picture(tiles["input"], attention))
        if self.confidence:
            save("_confidence", confidence_picture(prediction.confidence.cpu().numpy()))
        if self.panel:
            save("_panel", panel([tiles], space))
        if ids is not None:
            save_png(self.folder / f"label_ids/{stem}.png", ids[classes])

    def write_results(self, texts: Mapping[str, str]) -> None:
        """Write the files of the whole data set, by name; then remove others of an earlier run."""
        for name, text in texts.items():
            with whole_file(self.folder / name) as file:
                file.write(text.encode(errors="backslashreplace"))  # names that are not UTF-8
        for name in set(RESULTS) - texts.keys():
            (self.folder / name).unlink(missing_ok=True)


def _cityscapes_ids(space: LabelSpace) -> NDArray[np.uint8]:
    unknown = [name for name in space.names if name not in CITYSCAPES_IDS]
    if unknown:
        raise UserError(
            f"--save_label_ids: Cityscapes has no class {', '.join(unknown)}\n"
            f"  it has {', '.join(CITYSCAPES_IDS)}"
        )
    return np.array([CITYSCAPES_IDS[name] for name in space.names], np.uint8)
