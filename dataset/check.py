"""Check a data folder before anyone spends GPU hours on it.

    python -m dataset.check gta5 data/GTA5
    python -m dataset.check cityscapes data/Cityscapes --split val
    python -m dataset.check cityscapes photographs
    python -m dataset.check gta5 data/mine --classes classes.yaml

With --classes, gta5 and synthia stand for the file's source, cityscapes for its target. A target
may lack label maps, and be a plain folder of images.

Reads every image and label map in parallel and reports pairing, sizes, modes, label ids, class
frequencies, and the first problems. Ends with status 0, or 2 if there are problems.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.custom_dataset import read_classes
from dataset.gta5_dataset import GTA5Dataset
from dataset.image_files import image_mode, read_image, read_label_ids
from dataset.layout import PLAIN_FOLDER, files_below
from dataset.loaders import available_cores
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SynthiaDataset
from utils.command_line import Parser, integer
from utils.errors import UserError
from utils.training.log import fail

DATASETS: dict[str, type[SegmentationDataset]] = {
    "gta5": GTA5Dataset,
    "synthia": SynthiaDataset,
    "cityscapes": CityscapesDataset,
    "cityscapes16": Cityscapes16Dataset,
}

MISSING, UNREADABLE = "missing", "unreadable"
"""What takes the place of a mode."""


class Finding(NamedTuple):
    """What one image and its label map are.

    Attributes:
        size: W, H of the image.
        mode: the image's mode; or `UNREADABLE`.
        label_mode: the label map's; or `UNREADABLE`, `MISSING`, or empty where none is looked for.
        same_size: whether the label map has the image's size.
        ids: label id -> number of pixels.
        problems: what is wrong.
    """

    size: tuple[int, int] | None
    mode: str
    label_mode: str
    same_size: bool
    ids: dict[int, int]
    problems: list[str]


def check_pair(name: str, dataset: SegmentationDataset, labelled: bool = True) -> Finding:
    """Read an image and its label map.

    Args:
        name: the image's path within the image folder.
        dataset: tells where the files are and which ids are known.
        labelled: whether the image should have a label map.
    """
    problems: list[str] = []
    size, mode, label_mode, same_size, ids = None, UNREADABLE, "", True, {}
    try:
        path = dataset.image_folder / name
        height, width = read_image(path, upright=dataset.layout is PLAIN_FOLDER).shape[:2]
        size, mode = (width, height), image_mode(path)
    except UserError as error:
        problems.append(str(error))
    path = dataset.label_folder / dataset.layout.label_name(name)
    if labelled and not os.path.exists(path):
        label_mode = MISSING
        problems.append(f"{dataset.image_folder / name} has no label map\n  expected: {path}")
    elif labelled:
        label_mode = UNREADABLE
        try:
            label = read_label_ids(path)
            label_mode = image_mode(path)
            values, counts = np.unique(label, return_counts=True)
            ids = dict(zip(values.tolist(), counts.tolist(), strict=True))
            same_size = size is None or label.shape[::-1] == size
            if not set(ids) & set(dataset.label_space.table(dataset.label_ids)):
                problems.append(f"{path} has no pixel of a known class")
        except UserError as error:
            problems.append(str(error))
    return Finding(size, mode, label_mode, same_size, ids, problems)


def check_all(dataset: SegmentationDataset, labelled: bool) -> list[Finding]:
    """Read all images, and their label maps if they should have some, in parallel."""
    # Ctrl-C goes to every process; this one ends the others.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(available_cores(), initializer=signal.signal, initargs=ignore)
    try:
        check = partial(check_pair, dataset=dataset, labelled=labelled)
        results = pool.map(check, dataset.names, chunksize=8)
        return list(tqdm(results, total=len(dataset), unit="image"))
    finally:
        pool.shutdown(cancel_futures=True)


def without_image(dataset: SegmentationDataset) -> list[str]:
    """The label maps that belong to no image, as paths within the label folder."""
    ending = f"{dataset.layout.label_suffix}.png"
    maps = {name for name in files_below(dataset.label_folder) if name.endswith(ending)}
    paired = {dataset.layout.label_name(name) for name in dataset.names}
    return sorted(maps - paired - set(dataset.names))  # both kinds may lie in one folder


def counted(values: Iterable[str]) -> str:
    """How often each value occurs, the most frequent first."""
    counts = Counter(values).most_common()
    return ", ".join(f"{value} ({count})" for value, count in counts[:8]) or "none"


def report(
    dataset: SegmentationDataset, findings: list[Finding], alone: Sequence[str] = ()
) -> list[str]:
    """Sum up in lines of text what the images are, and which label maps are alone."""
    lines = [
        f"{len(findings)} images in {dataset.image_folder}",
        "sizes: " + counted("{}x{}".format(*finding.size) for finding in findings if finding.size),
        "modes: " + counted(finding.mode for finding in findings),
    ]
    if not any(finding.label_mode for finding in findings):
        return [*lines, "no label maps of known classes: the images alone were checked"]
    missing = sum(finding.label_mode == MISSING for finding in findings)
    lines.append(f"images without label map: {missing}; label maps without image: {len(alone)}")
    lines.append("modes of label maps: " + counted(finding.label_mode for finding in findings))
    other = sum(not finding.same_size for finding in findings)
    if other:
        lines.append(f"label maps of another size than their image: {other}")
    return lines + class_table(dataset, findings)


def class_table(dataset: SegmentationDataset, findings: list[Finding]) -> list[str]:
    """The frequency of each class, and the ids that belong to none, in lines of text."""
    ids: Counter[int] = Counter()
    for finding in findings:
        ids.update(finding.ids)
    total = max(1, ids.total())
    table = dataset.label_space.table(dataset.label_ids)
    lines = ["class            pixels in %   images"]
    for train_id, name in enumerate(dataset.label_space.names):
        own = {label_id for label_id in table if table[label_id] == train_id}
        images = sum(not own.isdisjoint(finding.ids) for finding in findings)
        share = 100 * sum(ids[label_id] for label_id in own) / total
        lines.append(f"  {name:<14} {share:10.3f}   {images:6d}")
    unknown = {label_id: n for label_id, n in sorted(ids.items()) if label_id not in table}
    share = 100 * sum(unknown.values()) / total
    lines.append(f"ids that are ignored: {list(unknown)}, {share:.2f} % of the pixels")
    return lines


def open_folder(options: Namespace) -> SegmentationDataset:
    """The data set to check, whether its label maps are there or not.

    Raises:
        UserError: no such folder, no images, or a mistake in a list or classes file.
    """
    kind = DATASETS[options.kind]
    is_target = issubclass(kind, CityscapesDataset)
    if options.classes:
        own = read_classes(Path(options.classes))
        kind = (own.target if is_target else own.source).data_set(kind)
    dataset = kind(options.folder, (8, 8), options.list, options.split, labels="none")
    if dataset.layout is PLAIN_FOLDER and not is_target:
        folders = " or ".join(f"{layout.images}/ and {layout.labels}/" for layout in kind.layouts)
        raise UserError(f"{dataset.root} is not laid out as a source\n  expected in it: {folders}")
    return dataset


def should_have_labels(dataset: SegmentationDataset) -> bool:
    """Whether each image should have a label map: of a target, if any image has."""
    is_target = isinstance(dataset, CityscapesDataset)
    return not is_target or (dataset.layout is not PLAIN_FOLDER and dataset.has_labels())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, check, report."""
    parser = Parser(__doc__ or "")
    parser.add_argument("kind", choices=DATASETS)
    parser.add_argument("folder")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="val", help="of Cityscapes"
    )
    parser.add_argument("--classes", help="YAML file of own classes (dataset/custom_dataset.py)")
    parser.add_argument("--list", help="text file with one image a line")
    parser.add_argument("--show", type=integer(0), default=10, help="problems to print")
    options = parser.parse_args(arguments)
    try:
        dataset = open_folder(options)
        labelled = should_have_labels(dataset)
        # A list names some of the images, and says nothing of the others' label maps.
        alone = without_image(dataset) if labelled and not options.list else []
        findings = check_all(dataset, labelled)
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    print("\n".join(report(dataset, findings, alone)))
    problems = [problem for finding in findings for problem in finding.problems]
    problems += [f"{dataset.label_folder / name} belongs to no image" for name in alone]
    print(f"problems: {len(problems)}")
    for problem in problems[: options.show]:
        print(f"- {problem}")
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    main()
