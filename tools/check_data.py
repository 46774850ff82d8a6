"""Check a data folder before training on it.

    python -m tools.check_data gta5 data/GTA5
    python -m tools.check_data cityscapes data/Cityscapes --split val
    python -m tools.check_data cityscapes photographs
    python -m tools.check_data gta5 data/mine --classes classes.yaml

With --classes, cityscapes stands for the file's target and any other name for its source. Label
maps are optional for targets, which can also be plain folders of images.

Reads every image and label map and reports pairing, sizes, label ids, class frequencies, and the
first problems. Ends with status 0, or 2 if there are problems.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from dataset.cityscapes16_dataset import CITYSCAPES_16
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.image_files import read_image, read_label_ids
from dataset.loaders import available_cores
from dataset.own_classes import read_classes
from dataset.segmentation_dataset import SPLITS, SegmentationDataset, files_below
from dataset.synthia_dataset import SYNTHIA
from utils.command_line import Parser
from utils.errors import UserError, counted, exit_on_error

DATASETS = {"gta5": GTA5, "synthia": SYNTHIA} | {
    "cityscapes": CITYSCAPES, "cityscapes16": CITYSCAPES_16,
}  # fmt: skip
SHOWN = 10  # problems
Result = TypeVar("Result")


def data_parser(description: str) -> Parser:
    """Return a parser of the words that name a data folder; see `open_data`."""
    parser = Parser(description)
    parser.add_argument("kind", choices=DATASETS, help="the data set whose folders to expect")
    parser.add_argument("folder", help="the data folder")
    parser.add_argument("--split", choices=SPLITS, default="val", help="if folders have {split}")
    parser.add_argument("--classes", help="YAML file of own classes (dataset/own_classes.py)")
    parser.add_argument("--list", help="text file with one image per line")
    return parser


def open_data(options: argparse.Namespace, size: tuple[int, int]) -> SegmentationDataset:
    """Open the data set that the command line names; label maps are not read."""
    own_classes = read_classes(options.classes) if options.classes else None
    return SegmentationDataset(
        DATASETS[options.kind], options.folder, size, options.list, options.split, "none",
        own_classes=own_classes,
    )  # fmt: skip


def has_maps(dataset: SegmentationDataset) -> bool:
    """Return whether label maps belong to it: to a source always, to a target if there are any."""
    return not dataset.description.is_target or dataset.has_labels()


def in_parallel(work: Callable[[str], Result], names: list[str]) -> list[Result]:
    """Return what ``work`` makes of each image, in threads, with a progress bar."""
    pool = ThreadPoolExecutor(available_cores())
    try:
        return list(tqdm(pool.map(work, names), total=len(names), unit="image"))
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class Finding:
    """What an image and its label map hold."""

    size: str = ""  # of the image, as WxH; empty if it cannot be read
    label_size: str = ""
    ids: dict[int, int] = field(default_factory=dict)  # label id -> number of pixels
    problems: list[str] = field(default_factory=list)


def check_pair(dataset: SegmentationDataset, labelled: bool, name: str) -> Finding:
    """Read an image, and its label map if images are ``labelled``."""
    finding = Finding()
    try:
        height, width, _ = read_image(dataset.image_folder / name, dataset.is_plain_folder).shape
        finding.size = f"{width}x{height}"
    except UserError as error:
        finding.problems.append(str(error))
    if not labelled:
        return finding
    label = dataset.label_file(name)
    try:
        ids = read_label_ids(label)
        finding.label_size = f"{ids.shape[1]}x{ids.shape[0]}"
        values, counts = np.unique(ids, return_counts=True)
        finding.ids = dict(zip(values.tolist(), counts.tolist(), strict=True))
        if not finding.ids.keys() & dataset.table.keys():
            finding.problems.append(f"{label} has no pixel of a known class")
    except UserError as error:
        finding.problems.append(str(error))
    return finding


def label_maps_without_image(dataset: SegmentationDataset) -> list[str]:
    """Return the label maps that belong to no image, as paths within the label folder.

    Maps of another kind beside a used one, such as A_labelTrainIds.png beside A.png, are in order.
    """
    ending = f"{dataset.layout.label_suffix}.png"
    paired = {dataset.layout.label_name(name) for name in dataset.names}
    return sorted(
        name
        for name in files_below(dataset.label_folder) - paired - set(dataset.names)
        if name.endswith(ending) and f"{name.rpartition('_')[0]}.png" not in paired
    )


def report_labels(dataset: SegmentationDataset, findings: list[Finding]) -> list[str]:
    """Return lines of text on the label maps and the frequency of each class."""
    missing = sum(not os.path.exists(dataset.label_file(name)) for name in dataset.names)
    sizes = [(finding.size, finding.label_size) for finding in findings]
    other = sum(image != label for image, label in sizes if image and label)
    lines = [
        f"images without label map: {missing}",
        f"label maps of another size than their image: {other}",
        "class            pixels in %   images",
    ]
    ids = sum((Counter(finding.ids) for finding in findings), Counter())
    total = max(1, ids.total())
    for train_id, name in enumerate(dataset.label_space.names):
        own = {label_id for label_id in dataset.table if dataset.table[label_id] == train_id}
        share = 100 * sum(ids[label_id] for label_id in own) / total
        images = sum(not own.isdisjoint(finding.ids) for finding in findings)
        lines.append(f"  {name:<14} {share:10.3f}   {images:6d}")
    ignored = sorted(ids.keys() - dataset.table.keys())
    share = 100 * sum(ids[label_id] for label_id in ignored) / total
    lines.append(f"ignored label ids: {ignored}, {share:.2f} % of the pixels")
    if share > 50:
        lines.append("warning: most pixels are ignored; do the maps hold train ids, not label ids?")
    return lines


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, check, report."""
    options = data_parser(__doc__ or "").parse_args(arguments)
    dataset = open_data(options, (8, 8))
    labelled = has_maps(dataset)
    findings = in_parallel(partial(check_pair, dataset, labelled), dataset.names)
    problems = [problem for finding in findings for problem in finding.problems]
    print(f"{counted(len(findings), 'image')} in {dataset.image_folder}")
    sizes = Counter(finding.size for finding in findings).most_common(8)
    print("sizes:", ", ".join(f"{size or 'unreadable'} ({count})" for size, count in sizes))
    if labelled:
        print("\n".join(report_labels(dataset, findings)))
    else:
        print("no label maps of known classes: only the images were checked")
    if labelled and not options.list:  # a list says nothing of the other images' label maps
        alone = [dataset.label_folder / name for name in label_maps_without_image(dataset)]
        problems += [f"{path} belongs to no image" for path in alone]
    print(f"problems: {len(problems)}")
    for problem in problems[:SHOWN]:
        print(f"- {problem}")
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    main()
