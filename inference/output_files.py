"""The files that are written for each image, and the folder that holds all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

KINDS = ("attention", "confidence", "panels", "label_ids")
RESULTS = ("Evaluation.txt", "scores.json", "compare.json", "report.html")


def stems_of(names: Sequence[str]) -> list[str]:
    """Return what to call each image's files: its name alone, with folders if names repeat."""
    paths = [PurePosixPath(name).with_suffix("") for name in names]
    alone = [path.name for path in paths]
    return alone if len(set(alone)) == len(alone) else [str(path) for path in paths]


@dataclass(frozen=True)
class Outputs:
    """The output folder, and what goes there of each image besides its label map and color map."""

    folder: Path
    kinds: Sequence[str] = ()  # some of `KINDS`, and overlay

    def files(self, stem: str) -> list[str]:
        """Return the files of an image; ``stem`` is their path without ending."""
        ids = [f"label_ids/{stem}.png"] if "label_ids" in self.kinds else []
        kinds = [kind.removesuffix("s") for kind in self.kinds if kind != "label_ids"]
        endings = ["", "_color", *(f"_{kind}" for kind in kinds)]
        return [f"{stem}{ending}.png" for ending in endings] + ids

    def open(
        self, files: Sequence[str], inputs: Sequence[Path], searched: Sequence[Path] = ()
    ) -> filelock.BaseFileLock:
        """Make and lock the folder for files, given by their paths in it; return the lock.

        UserError if a file would be written twice, over an input, or within a searched folder,
        also where links lead there; or if another process uses the folder.
        """
        parents = {PurePosixPath(file).parent for file in files}
        places = {parent: (self.folder / parent).resolve() for parent in parents}
        within, read = ({path.resolve() for path in paths} for paths in (searched, inputs))
        for file, count in Counter(map(PurePosixPath, files)).items():
            path = places[file.parent] / file.name
            if count > 1:
                rename = "rename an image of this name, or predict them separately"
                raise UserError(f"{self.folder / file} would be written twice\n  {rename}")
            if path in read or not within.isdisjoint(path.parents):
                problem = f"{self.folder / file} would replace an input, or be read as an image"
                raise UserError(f"{problem}\n  choose another --snapshot_dir")
        lock = lock_folder(self.folder)
        for parent in parents:
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
        return lock

    def save(self, stem: str, prediction: Prediction, space: LabelSpace, tiles: Tiles) -> None:
        """Write the files of an image; overlay and attention need its tile ``input``."""
        classes = prediction.classes.cpu().numpy()
        draw: dict[str, Callable[[], NDArray[np.uint8]]] = {
            f"label_ids/{stem}.png": lambda: _cityscapes_ids(space)[classes],
            f"{stem}.png": lambda: classes,
            f"{stem}_color.png": lambda: color_map(classes, space.colors),
            f"{stem}_overlay.png": lambda: overlay(
                tiles["input"], color_map(classes, space.colors)
            ),
            f"{stem}_attention.png": lambda: attention_picture(tiles["input"], prediction),
            f"{stem}_confidence.png": lambda: confidence_picture(prediction),
            f"{stem}_panel.png": lambda: panel([tiles], space),
        }
        # One after the other: each picture of a large photograph takes hundreds of megabytes.
        files = self.files(stem)
        for file, drawn in draw.items():
            if file in files:
                save_png(self.folder / file, drawn())

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
