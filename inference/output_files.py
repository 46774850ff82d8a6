"""The files that are written for each image, and the folder that holds all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dataset.image_files import read_image
from dataset.labels import CITYSCAPES_IDS, LabelSpace
from dataset.segmentation_dataset import SegmentationDataset
from inference.pictures import (
    Picture,
    attention_picture,
    color_map,
    confidence_picture,
    overlay,
    panel,
    resized,
    tiles_of,
)
from inference.predict import Prediction
from training.options import EvaluationOptions
from utils.errors import UserError
from utils.files import save_png, whole_file
from utils.output_folder import OutputFolder

RESULTS = ("Evaluation.txt", "scores.json", "scores.csv", "compare.txt", "compare.json")
"""Files of a data set, which each evaluation writes, or removes as those of an earlier one."""

REPORT = "report.html"


def open_outputs(
    options: EvaluationOptions,
    names: Sequence[str],
    inputs: Iterable[Path],
    searched: Iterable[Path] = (),
) -> OutputFolder:
    """Open the output folder, after making sure that nothing is written over other files.

    Links are followed, so that it does not matter by which path a file is read or written.

    Args:
        options: name the folder, and more files that are read.
        names: paths of all files to write, within the folder.
        inputs: files that are read.
        searched: folders that were searched for images.

    Raises:
        UserError: a file would be written twice, among the images, or over one that is read or
            that this program did not write; or the folder cannot be used.
    """
    folder = Path(options.snapshot_dir)
    more = (options.restore_from, options.compare, options.data_list, options.classes)
    read = {os.path.realpath(path): path for path in [*inputs, *map(Path, filter(None, more))]}
    within = set(map(os.path.realpath, searched))
    subfolders = sorted(set(map(os.path.dirname, names)))
    places = {name: os.path.realpath(folder / name) for name in subfolders}
    for name, place in places.items():
        if not within.isdisjoint(map(str, (Path(place), *Path(place).parents))):
            raise UserError(
                f"{folder / name} lies within the data folder: results would be read "
                "as images\n  choose another --snapshot_dir"
            )
    written: set[str] = set()
    for name in names:
        path = os.path.join(places[os.path.dirname(name)], os.path.basename(name))
        if path in read or path in written:
            over = "twice" if path in written else f"over {read[path]}, which is read"
            raise UserError(
                f"{folder / name} would be written {over}\n"
                "  rename the images of this name, or choose another --snapshot_dir"
            )
        written.add(path)
    output = OutputFolder(folder)
    output.claim(names)
    for name in places:
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make the folder {folder / name}: {error.strerror}\n"
                "  choose another --snapshot_dir"
            ) from None
    return output


def image_files(stem: str, options: EvaluationOptions) -> list[str]:
    """Return the names of the files of one image, whose own name without extension is ``stem``."""
    endings = {
        "": True,
        "_color": True,
        "_overlay": options.images is not None,
        "_attention": options.save_attention,
        "_confidence": options.save_confidence,
        "_panel": options.save_panels and options.images is None,
    }
    names = [f"{stem}{ending}.png" for ending, is_written in endings.items() if is_written]
    return [*names, f"label_ids/{stem}.png"] if options.save_label_ids else names


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
        stems = [PurePosixPath(name).stem for name in dataset.names]
        if options.save_label_ids:
            names = dataset.label_space.names
            unknown = [name for name in names if name not in CITYSCAPES_IDS]
            if unknown:
                raise UserError(
                    f"--save_label_ids: Cityscapes has no class {', '.join(unknown)}\n"
                    f"  it has {', '.join(CITYSCAPES_IDS)}"
                )
            self._ids = np.array([CITYSCAPES_IDS[name] for name in names], np.uint8)
            folder = Path(options.snapshot_dir, "label_ids")
            strange = {path.stem for path in folder.glob("*")} - set(stems)
            if strange:
                raise UserError(
                    f"{folder} holds {min(strange)}, which is not "
                    "one of these images: the benchmark would find it too\n"
                    "  empty the folder, or choose another --snapshot_dir"
                )
        files = [file for stem in stems for file in image_files(stem, options)]
        files += [*RESULTS, *([REPORT] if options.report else [])]
        images = [dataset.image_folder / name for name in dataset.names]
        labels = [dataset.label_file(name) for name in dataset.names]
        searched = {dataset.root, dataset.label_folder, *(image.parent for image in images)}
        self._output = open_outputs(options, files, [*images, *labels], searched)
        self.folder = self._output.path

    def write(self, name: str, prediction: Prediction, label: Tensor) -> dict[str, Picture]:
        """Write the files of one image.

        Args:
            name: of the image.
            prediction: at the label map's size.
            label: train ids, (H, W); the ignore label everywhere if there is no label map.

        Returns:
            The tiles for the report (see `tiles_of`); empty unless an option asks for pictures.
        """
        options, space, picture = self.options, self.dataset.label_space, None
        stem, shows_tiles = PurePosixPath(name).stem, options.save_panels or options.report
        if options.save_attention or shows_tiles:
            original = read_image(self.dataset.image_folder / name)
            picture = resized(original, (label.shape[1], label.shape[0]))
        save_pictures(self.folder / stem, picture, prediction, space, options)
        if options.save_label_ids:
            ids = self._ids[prediction.classes.cpu().numpy()]
            save_png(self.folder / f"label_ids/{stem}.png", ids)
        if picture is None or not shows_tiles:
            return {}
        truth = label.byte().cpu().numpy()
        tiles = tiles_of(picture, prediction, truth, space.colors, options.ignore_label)
        if options.save_panels:
            save_png(self.folder / f"{stem}_panel.png", panel([tiles], space))
        return tiles

    def write_results(self, texts: Mapping[str, str]) -> None:
        """Write the files of the whole data set, by name; then remove others of an earlier run.

        Raises:
            UserError: a file cannot be written; nothing is removed then.
        """
        for name, text in texts.items():
            with whole_file(self.folder / name) as file:
                # A name that is not UTF-8 is escaped.
                file.write(text.encode(errors="backslashreplace"))
        for name in set(RESULTS) - texts.keys():
            (self.folder / name).unlink(missing_ok=True)


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

    def save(ending: str, drawn: NDArray[np.uint8]) -> None:
        save_png(place.with_name(f"{place.name}{ending}.png"), drawn)

    # One after the other: each picture of a large photograph takes hundreds of megabytes.
    classes = prediction.classes.cpu().numpy()
    save("", classes)
    save("_color", color_map(classes, space.colors))
    if options.images is not None and picture is not None:
        save("_overlay", overlay(picture, color_map(classes, space.colors)))
    if options.save_attention and picture is not None and prediction.attention is not None:
        attention = prediction.attention.float().cpu().numpy()
        save("_attention", attention_picture(picture, attention))
    if options.save_confidence:
        save("_confidence", confidence_picture(prediction.confidence.cpu().numpy()))
