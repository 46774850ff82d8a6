"""Check a data folder before training on it.

    python -m tools.check_data gta5 data/GTA5
    python -m tools.check_data cityscapes photographs
    python -m tools.check_data gta5 data/mine --classes classes.yaml
    python -m tools.check_data gta5 data/GTA5 --all --write_list good.txt

With --classes, cityscapes stands for the file's target and any other name for its source.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.contrib.concurrent import thread_map

from dataset.cityscapes_dataset import CITYSCAPES, CITYSCAPES_16
from dataset.gta5_dataset import GTA5
from dataset.image_files import read_label_ids
from dataset.loaders import available_cores
from dataset.own_classes import with_classes
from dataset.segmentation_dataset import SPLITS, SegmentationDataset, files_below
from dataset.synthia_dataset import SYNTHIA
from utils.command_line import Parser
from utils.errors import UserError, counted, exit_on_error
from utils.files import whole_file

DATASETS = dict(gta5=GTA5, synthia=SYNTHIA, cityscapes=CITYSCAPES, cityscapes16=CITYSCAPES_16)


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
    """Open the data set that the command line names, to read no label maps."""
    (kind,) = with_classes(options.classes, DATASETS[options.kind])
    return SegmentationDataset(kind, options.folder, size, options.list, options.split, "none")


class Finding(NamedTuple):
    """What an image and its label map hold."""

    name: str
    size: str  # of the image, as WxH, or that the pair cannot be read
    ids: Counter[int]  # label id -> number of pixels
    problem: str


def check_pair(dataset: SegmentationDataset, labelled: bool, name: str) -> Finding:
    """Read an image, and its label map if images are ``labelled``."""
    size, ids, problem, shape = "unreadable", Counter[int](), "", None
    try:
        if labelled:
            label, file = read_label_ids(dataset.label_file(name)), dataset.label_file(name)
            counts = np.bincount(label.ravel()).tolist()
            shape, ids = label.shape, Counter({i: n for i, n in enumerate(counts) if n})
            if max(ids) > dataset.description.highest_id:
                problem = f"{file} holds {max(ids)}, which is no label id of the data set"
            if not ids.keys() & dataset.table.keys():
                problem = f"{file} has no pixel of a known class"
        height, width, _ = dataset.picture(name, shape).shape
        size = f"{width}x{height}"
    except UserError as error:
        problem = str(error)
    return Finding(name, size, ids, problem)


def report_labels(dataset: SegmentationDataset, findings: list[Finding]) -> None:
    """Print the frequency of each class, and the label ids that are ignored."""
    print("class            pixels in %   images")
    ids = sum((found.ids for found in findings), Counter())
    percent = 100 / max(1, ids.total())
    for train_id, name in enumerate(dataset.label_space.names):
        own = {label_id for label_id in dataset.table if dataset.table[label_id] == train_id}
        images = sum(not own.isdisjoint(found.ids) for found in findings)
        print(f"  {name:<14} {percent * sum(ids[i] for i in own):10.3f}   {images:6d}")
    ignored = sorted(ids.keys() - dataset.table.keys())
    share = sum(ids[label_id] for label_id in ignored)
    print(f"ignored label ids: {ignored}, {percent * share:.2f} % of the pixels")


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, check, report."""
    parser = data_parser(__doc__ or "")
    parser.add_argument("--all", action="store_true", help="show all problems, not the first ten")
    parser.add_argument("--write_list", type=Path, help="file to list the images without problem")
    options = parser.parse_args(arguments)
    if (file := options.write_list) and (file.exists() or not file.absolute().parent.is_dir()):
        raise UserError(f"{file} exists, or its folder does not\n  choose another --write_list")
    dataset = open_data(options, (8, 8))
    labelled = dataset.has_labels() or not dataset.description.is_target
    check = partial(check_pair, dataset, labelled)
    findings = thread_map(check, dataset.names, max_workers=available_cores(), unit="image")
    problems = [found.problem for found in findings if found.problem]
    print(f"{counted(len(findings), 'image')} in {dataset.image_folder}")
    sizes = Counter(found.size for found in findings).most_common(8)
    print("sizes:", ", ".join(f"{size} ({count})" for size, count in sizes))
    if labelled:
        report_labels(dataset, findings)
    else:
        print("no label maps of known classes: only the images were checked")
    if labelled and not options.list:  # a list says nothing of the other images' label maps
        paired = {dataset.layout.label_name(name) for name in dataset.names}
        others = files_below(dataset.label_folder) - paired - set(dataset.names)
        ending = f"{dataset.layout.label_suffix}.png"
        for name in sorted(name for name in others if name.endswith(ending)):
            if f"{name.rpartition('_')[0]}.png" not in paired:  # A_labelTrainIds.png beside A.png
                problems.append(f"{dataset.label_folder / name} belongs to no image")
    if labelled and not problems:
        dataset.check_ids()
    print("\n- ".join((f"problems: {len(problems)}", *problems[: None if options.all else 10])))
    if options.write_list:
        good = [found.name for found in findings if not found.problem]
        with whole_file(options.write_list) as file:
            file.write("".join(f"{name}\n" for name in good).encode())
        print(f"{options.write_list}: {counted(len(good), 'image')} without problem")
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    main()
