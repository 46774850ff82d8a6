"""Check that an experiment's options fit together, and describe it in words."""

from __future__ import annotations

import os
from pathlib import Path

from dataset.cache import Cache
from dataset.segmentation_dataset import SegmentationDataset
from training.options import TrainingOptions
from utils.errors import UserError, counted


def check_experiment(
    options: TrainingOptions,
    num_classes: int,
    source: SegmentationDataset,
    target: SegmentationDataset,
    scored: SegmentationDataset | None,
) -> None:
    """Check what no single option can check; ``num_classes`` is the student's.

    Raises:
        UserError: options contradict each other or the data.
    """
    classes = target.label_space.num_classes
    if num_classes != classes:
        raise UserError(
            f"--num_classes {num_classes}: {options.classes or target.description.name} has "
            f"{classes}\n  leave it out: SEAN_GTA5.py trains 19 classes, SEAN_Synthia.py 16, "
            "--classes its own"
        )
    if options.oracle and options.source_only:
        raise UserError(
            "--oracle and --source_only are two different baselines\n  train one after the other"
        )
    place = Path(os.path.realpath(options.snapshot_dir))
    for dataset in (source, target, scored or target):
        for folder in (dataset.image_folder, dataset.label_folder):
            if place.is_relative_to(os.path.realpath(folder)):
                raise UserError(
                    f"--snapshot_dir {options.snapshot_dir} lies in a folder of data\n"
                    f"  choose one outside {folder}: its pictures would become images"
                )
    same_folder = scored is not None and target.image_folder == scored.image_folder
    if options.target_split != "val" and same_folder:
        raise UserError(
            f"--target_split {options.target_split}: {target.image_folder} has no such part, and "
            "the same images would be scored\n"
            "  keep the parts in separate folders, with {split} in the target's folders"
        )


def describe_protocol(
    options: TrainingOptions,
    source: SegmentationDataset,
    target: SegmentationDataset,
    scored: SegmentationDataset | None,
) -> str:
    """Return one sentence: what is learnt from, and what is scored."""
    split = "" if target.is_plain_folder else f"{options.target_split} "
    images = f"the {split}images of {target.root}"
    if options.oracle:
        learns = f"trains on {images} and their labels"
    elif options.adapts:
        learns = f"adapts from {source.root} to {images} without their labels"
    else:
        learns = f"trains on {source.root} alone"
        if options.reads_target:
            learns = f"trains on {source.root} in the colors of {images}"
    if scored is None:
        kept = f"the last teacher; not scored: {target.root} has no labels (give --data_dir_val)"
    else:
        network = "student" if options.score == "student" else "teacher"
        kept = f"the {network} that scores best on the val images of {scored.root}"
    return f"{learns}; keeps {kept}"


def describe_data(
    options: TrainingOptions,
    source: SegmentationDataset,
    target: SegmentationDataset,
    scored: SegmentationDataset | None,
    iterations: int,
) -> str:
    """Return one line: images, iterations of an epoch, and the cache, if it has enough space.

    Raises:
        UserError: the disk is too small for the cache.
    """
    text = (
        f"{counted(len(source), 'source image')}, {counted(len(target), 'target image')}, "
        f"{len(scored) if scored else 0} scored, {counted(iterations, 'iteration')} an epoch"
    )
    if options.cache_dir:
        used = [source, *([target] if options.reads_target else []), *([scored] if scored else [])]
        entries = {path: size for data in used for path, size in data.cache_entries().items()}
        text += "; " + Cache(options.cache_dir).reserve(entries)
    if scored:
        height, width = scored.label_shape(scored.names[0])
        if (width, height) != options.input_size_target:
            expected = "{}x{}".format(*options.input_size_target)
            text += (
                f"; the target's label maps are {width}x{height}, not the {expected} of "
                "--input_size_target: scored at their own size"
            )
    return text
