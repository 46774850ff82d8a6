"""Check a data folder before training on it.

    python -m dataset.check gta5 data/GTA5
    python -m dataset.check cityscapes data/Cityscapes --split val
    python -m dataset.check cityscapes photographs
    python -m dataset.check gta5 data/mine --classes classes.yaml

With --classes, gta5 and synthia stand for the file's source, cityscapes for its target. A target
may lack label maps, and may be a plain folder of images.

Reads every image and label map in parallel and reports pairing, sizes, modes, label ids, class
frequencies, and the first problems. Ends with status 0, or 2 if there are problems.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from tqdm import tqdm

from dataset.cityscapes16_dataset import CITYSCAPES_16
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.custom_dataset import read_classes
from dataset.description import files_below
from dataset.gta5_dataset import GTA5
from dataset.image_files import image_mode, read_image, read_label_ids
from dataset.loaders import available_cores
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SYNTHIA
from utils.command_line import Parser, integer
from utils.errors import UserError, exit_on_error

DATASETS = {
    "gta5": GTA5, "synthia": SYNTHIA, "cityscapes": CITYSCAPES, "cityscapes16": CITYSCAPES_16,
}  # fmt: skip


@dataclass
class Finding:
    """What there is to say of an image and its label map."""

    size: str = ""  # of the image, as WxH; empty if it cannot be read
    mode: str = "unreadable"  # of the image
    label_mode: str = ""  # of the label map; empty if none is expected
    same_size: bool = True  # whether the label map has the image's size
    ids: dict[int, int] = field(default_factory=dict)  # label id -> number of pixels
    problems: list[str] = field(default_factory=list)


def check_pair(name: str, dataset: SegmentationDataset, labelled: bool = True) -> Finding:
    """Read an image, and its label map if it should have one.

    Args:
        name: the image's path within the image folder.
        dataset: says where the files are and which label ids are known.
        labelled: whether the image should have a label map.
    """
    image, label = dataset.image_folder / name, dataset.label_file(name)
    finding = Finding(label_mode="unreadable" if labelled else "")
    try:
        height, width, _ = read_image(image, dataset.is_plain_folder).shape
        finding.size, finding.mode = f"{width}x{height}", image_mode(image)
    except UserError as error:
        finding.problems.append(str(error))
    if labelled and not label.exists():
        finding.label_mode = "missing"
        finding.problems.append(f"{image} has no label map\n  expected: {label}")
    elif labelled:
        try:
            ids = read_label_ids(label)
            finding.label_mode = image_mode(label)
            values, counts = np.unique(ids, return_counts=True)
            finding.ids = dict(zip(values.tolist(), counts.tolist(), strict=True))
            finding.same_size = finding.size in ("", "{1}x{0}".format(*ids.shape))
            if not finding.ids.keys() & dataset.table.keys():
                finding.problems.append(f"{label} has no pixel of a known class")
        except UserError as error:
            finding.problems.append(str(error))
    return finding


def check_all(dataset: SegmentationDataset, labelled: bool) -> list[Finding]:
    """Check all images in parallel."""
    # Ctrl-C reaches every process; the main one ends the others.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(available_cores(), initializer=signal.signal, initargs=ignore)
    try:
        check = partial(check_pair, dataset=dataset, labelled=labelled)
        results = pool.map(check, dataset.names, chunksize=8)
        return list(tqdm(results, total=len(dataset), unit="image"))
    finally:
        pool.shutdown(cancel_futures=True)


def label_maps_without_image(dataset: SegmentationDataset) -> list[str]:
    """Return the label maps that belong to no image, as paths within the label folder."""
    ending = f"{dataset.layout.label_suffix}.png"
    maps = {name for name in files_below(dataset.label_folder) if name.endswith(ending)}
    paired = {dataset.layout.label_name(name) for name in dataset.names}
    return sorted(maps - paired - set(dataset.names))  # images and label maps may share a folder


def counted(values: Iterable[str]) -> str:
    """Return how often each value occurs, the most frequent first."""
    counts = Counter(values).most_common(8)
    return ", ".join(f"{value} ({count})" for value, count in counts) or "none"


def report(
    dataset: SegmentationDataset, findings: list[Finding], alone: Sequence[str] = ()
) -> list[str]:
    """Return lines of text; ``alone`` are the label maps without image."""
    lines = [
        f"{len(findings)} images in {dataset.image_folder}",
        "sizes: " + counted(finding.size for finding in findings if finding.size),
        "modes: " + counted(finding.mode for finding in findings),
    ]
    modes = [finding.label_mode for finding in findings if finding.label_mode]
    if not modes:
        return [*lines, "no label maps of known classes: only the images were checked"]
    other = sum(not finding.same_size for finding in findings)
    lines += [
        f"images without label map: {modes.count('missing')}; "
        f"label maps without image: {len(alone)}",
        f"modes of label maps: {counted(modes)}",
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
    return [*lines, f"ignored label ids: {ignored}, {share:.2f} % of the pixels"]


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, check, report."""
    parser = Parser(__doc__ or "")
    parser.add_argument("kind", choices=DATASETS)
    parser.add_argument("folder")
    splits = ("train", "val", "test")
    parser.add_argument("--split", choices=splits, default="val", help="of Cityscapes")
    parser.add_argument("--classes", help="YAML file of own classes (dataset/custom_dataset.py)")
    parser.add_argument("--list", help="text file with one image per line")
    parser.add_argument("--show", type=integer(0), default=10, help="problems to print")
    options = parser.parse_args(arguments)
    dataset = SegmentationDataset(
        DATASETS[options.kind], options.folder, (8, 8), options.list, options.split, labels="none",
        own_classes=read_classes(options.classes) if options.classes else None,
    )  # fmt: skip
    labelled = not dataset.description.is_target or dataset.has_labels()
    # A list names some of the images, and says nothing of the others' label maps.
    alone = label_maps_without_image(dataset) if labelled and not options.list else []
    findings = check_all(dataset, labelled)
    print("\n".join(report(dataset, findings, alone)))
    problems = [problem for finding in findings for problem in finding.problems]
    problems += [f"{dataset.label_folder / name} belongs to no image" for name in alone]
    print(f"problems: {len(problems)}")
    for problem in problems[: options.show]:
        print(f"- {problem}")
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    main()
