"""Check a data folder before anyone spends GPU hours on it.

    python -m dataset.check gta5 data/GTA5
    python -m dataset.check cityscapes data/Cityscapes --split val
    python -m dataset.check gta5 data/mine --classes classes.yaml

With --classes, gta5 and synthia stand for the file's source, cityscapes for its target.

Reads every image and label map in parallel and reports pairing, sizes, modes, label ids, class
frequencies, and the first problems. Ends with status 0, or 2 if there are problems.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.classes_file import read_classes
from dataset.gta5_dataset import GTA5Dataset
from dataset.image_files import DataError, read_image, read_label_ids
from dataset.loaders import available_cores
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SynthiaDataset

DATASETS: dict[str, type[SegmentationDataset]] = {
    "gta5": GTA5Dataset,
    "synthia": SynthiaDataset,
    "cityscapes": CityscapesDataset,
    "cityscapes16": Cityscapes16Dataset,
}


class Finding(NamedTuple):
    """What one image and its label map are.

    Attributes:
        size: W, H of the image.
        mode: Pillow's name of the image's mode.
        same_size: whether the label map has the image's size.
        ids: label id -> number of pixels.
        problems: what is wrong.
    """

    size: tuple[int, int] | None
    mode: str
    same_size: bool
    ids: dict[int, int]
    problems: list[str]


def check_pair(name: str, dataset: SegmentationDataset) -> Finding:
    """Read an image and its label map.

    Args:
        name: the image's path within the image folder.
        dataset: tells where the files are and which ids are known.
    """
    problems: list[str] = []
    size, mode, same_size, ids = None, "unreadable", True, {}
    try:
        image = read_image(dataset.image_folder / name)
        size = (image.shape[1], image.shape[0])
        with Image.open(dataset.image_folder / name) as picture:
            mode = picture.mode
    except DataError as error:
        problems.append(str(error))
    try:
        path = dataset.label_folder / dataset.layout.label_name(name)
        label = read_label_ids(path)
        values, counts = np.unique(label, return_counts=True)
        ids = dict(zip(values.tolist(), counts.tolist(), strict=True))
        same_size = size is None or label.shape[::-1] == size
        if not set(ids) & set(dataset.label_space.table(dataset.label_ids)):
            problems.append(f"{path} has no pixel of a known class")
    except DataError as error:
        problems.append(str(error))
    return Finding(size, mode, same_size, ids, problems)


def report(dataset: SegmentationDataset, findings: list[Finding]) -> list[str]:
    """Sum the findings up in lines of text."""
    lines = [f"{len(findings)} images with label maps in {dataset.root}"]
    sizes = Counter(f"{f.size[0]}x{f.size[1]}" for f in findings if f.size)
    modes = Counter(finding.mode for finding in findings)
    lines.append("sizes: " + ", ".join(f"{k} ({n})" for k, n in sizes.most_common(8)))
    lines.append("modes: " + ", ".join(f"{k} ({n})" for k, n in modes.most_common()))
    other = sum(not finding.same_size for finding in findings)
    if other:
        lines.append(f"label maps of another size than their image: {other}")
    ids: Counter[int] = Counter()
    for finding in findings:
        ids.update(finding.ids)
    total = max(1, ids.total())
    table = dataset.label_space.table(dataset.label_ids)
    lines.append("class            pixels in %   images")
    for train_id, name in enumerate(dataset.label_space.names):
        own = {label_id for label_id in table if table[label_id] == train_id}
        images = sum(not own.isdisjoint(finding.ids) for finding in findings)
        share = 100 * sum(ids[label_id] for label_id in own) / total
        lines.append(f"  {name:<14} {share:10.3f}   {images:6d}")
    unknown = {label_id: n for label_id, n in sorted(ids.items()) if label_id not in table}
    share = 100 * sum(unknown.values()) / total
    lines.append(f"ids that are ignored: {list(unknown)}, {share:.2f} % of the pixels")
    return lines


def main() -> None:
    """Read the command line, check, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kind", choices=DATASETS)
    parser.add_argument("folder")
    parser.add_argument("--split", default="val", help="of Cityscapes: train, val or test")
    parser.add_argument("--classes", help="YAML file of own classes (dataset/classes_file.py)")
    parser.add_argument("--list", help="text file with one image a line")
    parser.add_argument("--show", type=int, default=10, help="problems to print")
    options = parser.parse_args()
    try:
        kind = DATASETS[options.kind]
        if options.classes:
            own = read_classes(Path(options.classes))
            domain = own.target if issubclass(kind, CityscapesDataset) else own.source
            kind = domain.data_set(kind)
        dataset = kind(options.folder, (8, 8), options.list, options.split)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    with ProcessPoolExecutor(available_cores()) as pool:
        results = pool.map(partial(check_pair, dataset=dataset), dataset.names, chunksize=8)
        findings = list(tqdm(results, total=len(dataset), unit="image"))
    print("\n".join(report(dataset, findings)))
    problems = [problem for finding in findings for problem in finding.problems]
    print(f"problems: {len(problems)}")
    for problem in problems[: options.show]:
        print(f"- {problem}")
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    main()
