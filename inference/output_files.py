"""The files that are written for each image, and the folder that holds all of them."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from dataset.labels import CITYSCAPES_IDS, LabelSpace
from inference import pictures
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
    space: LabelSpace
    kinds: Sequence[str] = ()  # some of `KINDS`, and overlay

    def files(self, stem: str) -> dict[str, str]:
        """Return the files of an image by kind; ``stem`` is their path without ending."""
        files = {"classes": f"{stem}.png", "color": f"{stem}_color.png"}
        files |= {kind: f"{stem}_{kind.removesuffix('s')}.png" for kind in self.kinds}
        return files | ({"label_ids": f"label_ids/{stem}.png"} if "label_ids" in files else {})

    def open(
        self, files: Sequence[str], inputs: Sequence[Path], searched: Sequence[Path] = ()
    ) -> contextlib.ExitStack:
        """Make and lock the folder for files, given by their paths in it; return the lock.

        UserError if a file would be written twice, over an input, or within a searched folder,
        also where links lead there; if Cityscapes has no label id of a class; or if another process
        uses the folder.
        """
        unknown = [name for name in self.space.names if name not in CITYSCAPES_IDS]
        if unknown and "label_ids" in self.kinds:
            problem = f"--save_label_ids: Cityscapes has no class {', '.join(unknown)}"
            raise UserError(f"{problem}\n  it has {', '.join(CITYSCAPES_IDS)}")
        parents = {PurePosixPath(file).parent for file in files}
        places = {parent: (self.folder / parent).resolve() for parent in parents}
        within, read = ({path.resolve() for path in paths} for paths in (searched, inputs))
        for file, count in Counter(map(PurePosixPath, files)).items():
            path = places[file.parent] / file.name
            if count > 1:
                rename = "rename an image of this name, or predict them separately"
                raise UserError(f"{self.folder / file} would be written twice\n  {rename}")
            if path in read or not within.isdisjoint(path.parents):
                problem = f"{self.folder / file} would lie among the data, or replace an input"
                raise UserError(f"{problem}\n  choose another --snapshot_dir")
        taken = [file for file in files if (self.folder / file).exists()]
        if taken and not (self.folder / ".lock").exists():  # in a folder that is not ours
            problem = f"{self.folder / taken[0]} would be replaced, and no evaluation wrote it"
            raise UserError(f"{problem}\n  choose another --snapshot_dir")
        lock = lock_folder(self.folder)
        for parent in parents:
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
        return lock

    def save(self, stem: str, prediction: Prediction, tiles: pictures.Tiles) -> None:
        """Write the files of an image; overlay and attention need its tile ``input``."""
        classes = prediction.classes.cpu().numpy()
        colors = partial(pictures.color_map, classes, self.space.colors)
        ids = [CITYSCAPES_IDS.get(name, 0) for name in self.space.names]
        draw: dict[str, Callable[[], pictures.Picture]] = {
            "classes": lambda: classes,
            "color": colors,
            "overlay": lambda: pictures.overlay(tiles["input"], colors()),
            "attention": lambda: pictures.attention_picture(tiles["input"], prediction),
            "confidence": lambda: pictures.confidence_picture(prediction.confidence),
            "panels": lambda: pictures.panel(tiles, self.space),
            "label_ids": lambda: np.array(ids, np.uint8)[classes],
        }
        # One after the other: each picture of a large photograph takes hundreds of megabytes.
        for kind, file in self.files(stem).items():
            save_png(self.folder / file, draw[kind]())

    def write_results(self, texts: Mapping[str, str]) -> None:
        """Write the files of the whole data set, by name; then remove others of an earlier run."""
        for name, text in texts.items():
            with whole_file(self.folder / name) as file:
                file.write(text.encode(errors="backslashreplace"))  # names that are not UTF-8
        for name in set(RESULTS) - texts.keys():
            (self.folder / name).unlink(missing_ok=True)
