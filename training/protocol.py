"""Check that an experiment's options fit its data, and describe both in words."""

import itertools
import os
from pathlib import Path

from dataset.image_files import image_shape
from dataset.segmentation_dataset import SPLITS
from dataset.segmentation_dataset import SegmentationDataset as Data
from training.options import TrainingOptions
from utils.errors import UserError, counted


def check_experiment(
    options: TrainingOptions, classes: int, source: Data, target: Data, val: Data | None
) -> None:
    """Raise UserError if options, and ``classes`` of the student, contradict each other or data."""
    known = target.label_space.num_classes
    if classes != known:
        given = f"--num_classes {classes}: {options.classes or target.description.name} has {known}"
        remedy = "SEAN_GTA5.py trains 19 classes, SEAN_Synthia.py 16, --classes its own"
        raise UserError(f"{given}\n  leave it out: {remedy}")
    if options.oracle and options.source_only:
        raise UserError("--oracle and --source_only are two baselines\n  train one after the other")
    place = Path(os.path.realpath(options.snapshot_dir))
    for dataset, split in itertools.product((source, target, val or target), SPLITS):
        for folder in dataset.layout.folders(dataset.root, split):
            if place.is_relative_to(os.path.realpath(folder)):
                remedy = f"choose one outside {folder}: its pictures would become images"
                raise UserError(f"--snapshot_dir {place} lies in a folder of data\n  {remedy}")
    if options.target_split != "val" and val and target.image_folder == val.image_folder:
        text = f"--target_split {options.target_split}: {val.image_folder} would be scored, too"
        raise UserError(f"{text}\n  keep the parts in folders of their own, by {{split}}")


def describe(options: TrainingOptions, source: Data, target: Data, val: Data | None) -> str:
    """Return the protocol in one sentence: what is learnt from, and what is scored."""
    split = "" if target.is_plain_folder else f"{options.target_split} "
    images = f"the {split}images of {target.root}"
    if options.oracle:
        learns = f"trains on {images} and their labels"
    elif options.adapts:
        learns = f"adapts from {source.root} to {images} without their labels"
    else:
        colors = f" in the colors of {images}" if options.reads_target else " alone"
        learns = f"trains on {source.root}{colors}"
    if val is None:
        return f"{learns}; not scored: {target.root} has no labels (give --data_dir_val)"
    network = "student" if options.score == "student" else "teacher"
    return f"{learns}; keeps the {network} that scores best on the val images of {val.root}"


def count(size: tuple[int, int], source: Data, target: Data, val: Data | None) -> str:
    """Return how many images there are, and whether label maps have another size than W, H."""
    images = f"{counted(len(source), 'source image')}, {counted(len(target), 'target image')}"
    if val is None:
        return images
    height, width = image_shape(val.label_file(val.names[0]))
    other = f"; label maps of {width}x{height}, not {size[0]}x{size[1]}: scored at their own size"
    return f"{images}, {len(val)} scored" + (other if (width, height) != size else "")
