"""What a training script states, and the data sets that it opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataset.cache import Cache
from dataset.custom_dataset import read_classes
from dataset.layout import PLAIN_FOLDER
from dataset.loaders import SegmentationDataset
from utils.errors import UserError
from utils.options import TrainingConfig


@dataclass(frozen=True)
class Experiment:
    """What one training script states.

    Attributes:
        prefix: how the files it writes begin: GTA, Synthia.
        source: the labelled synthetic data set.
        target: the photographs to adapt to.
        defaults: its options.
        demo_source: what dataset/demo.py calls the source.
        own_classes: what the file of --classes says, to compare on --resume; empty without one.
    """

    prefix: str
    source: type[SegmentationDataset]
    target: type[SegmentationDataset]
    defaults: TrainingConfig
    demo_source: str
    own_classes: str = ""

    def with_classes(self, file: str) -> Experiment:
        """The same experiment with the classes, label ids and folders of a classes file.

        Raises:
            UserError: it cannot be read, or has a mistake.
        """
        own = read_classes(Path(file))
        return replace(
            self,
            source=own.source.data_set(self.source),
            target=own.target.data_set(self.target),
            defaults=replace(self.defaults, num_classes=own.source.classes.num_classes),
            own_classes=own.meaning,
        )


def open_data(
    experiment: Experiment, config: TrainingConfig, cache: Cache | None
) -> tuple[SegmentationDataset, SegmentationDataset, SegmentationDataset | None]:
    """Source, target to adapt to, target to score on if it has labels."""
    _check_options(experiment, config)
    shared: dict[str, Any] = {
        "size": config.input_size, "ignore_label": config.ignore_label, "cache": cache
    }  # fmt: skip
    adapted: dict[str, Any] = {
        "root": config.data_dir_target,
        "list_file": config.data_list_target,
        "split": config.target_split,
    }
    if not config.oracle:
        images = _source_list(experiment, config)
        source = experiment.source(config.data_dir_source, list_file=images, **shared)
    target = experiment.target(**adapted, labels="none", **shared)
    if config.oracle:
        if target.layout is PLAIN_FOLDER:
            raise UserError(
                f"--oracle trains on the target's label maps, and {target.root} is a plain folder, "
                "which has none\n  give a --data_dir_target in the data set's own folders, with "
                f"label maps (see {experiment.target.__module__.replace('.', '/')}.py)"
            )
        source = experiment.target(**adapted, **shared)
    if target.layout is PLAIN_FOLDER:
        _keep_apart(config, target)
        if config.data_dir_val is None:
            return source, target, None
    same_images = config.target_split == "val" and config.data_dir_val is None
    scored = experiment.target(
        config.data_dir_val or config.data_dir_target,
        list_file=config.data_list_target if same_images else None,
        labels="own size",
        **shared,
    )
    if config.target_split != "val" and target.image_folder == scored.image_folder:
        raise UserError(
            f"--target_split {config.target_split}: {target.image_folder} has no such part: the "
            "same images would be scored\n"
            "  keep the parts in folders of their own, with {split} in the target's folders"
        )
    return source, target, scored


def _check_options(experiment: Experiment, config: TrainingConfig) -> None:
    classes = experiment.target.label_space.num_classes
    if config.num_classes != classes:
        raise UserError(
            f"--num_classes {config.num_classes}: "
            f"{config.classes or experiment.target.__name__} has {classes}\n"
            "  leave it out: SEAN_GTA5.py trains 19 classes, SEAN_Synthia.py 16, --classes its own"
        )
    if config.ignore_label < classes:
        raise UserError(
            f"--ignore_label {config.ignore_label} is the train id of a class\n"
            f"  give one from {classes} to 255"
        )
    if config.oracle and config.source_only:
        raise UserError(
            "--oracle and --source_only name two baselines\n  train them one after the other"
        )


def _keep_apart(config: TrainingConfig, target: SegmentationDataset) -> None:
    if Path(config.snapshot_dir).resolve().is_relative_to(target.root.resolve()):
        raise UserError(
            f"--snapshot_dir {config.snapshot_dir} lies within the target folder\n"
            f"  choose one outside {target.root}: the run's pictures would become target images"
        )


def _source_list(experiment: Experiment, config: TrainingConfig) -> str | None:
    if config.split_file is None:
        return config.data_list_source
    if not experiment.source.has_split_file:
        raise UserError(
            f"--split_file {config.split_file}: {experiment.source.__name__} publishes none\n"
            "  it is GTA-5's; name the images to train on in a --data_list_source"
        )
    if config.data_list_source is not None:
        raise UserError(
            f"--split_file {config.split_file} and --data_list_source {config.data_list_source} "
            "both say what to train on\n  give one of them"
        )
    if not config.split_file.lower().endswith(".mat"):
        raise UserError(
            f"--split_file {config.split_file} is not a split.mat\n"
            "  give a text file with one image a line as --data_list_source"
        )
    return config.split_file


def protocol(
    config: TrainingConfig, target: SegmentationDataset, scored: SegmentationDataset | None
) -> str:
    """What is learnt from and what is scored, in words."""
    plain = target.layout is PLAIN_FOLDER
    images = f"the {'' if plain else config.target_split + ' '}images of {target.root}"
    learns = f"adapts to {images} without their labels"
    if config.oracle:
        learns = f"trains on {images} and their labels"
    elif not config.adapts:
        learns = f"trains on {config.data_dir_source} alone"
    if scored is None:
        return (
            f"{learns}; the last teacher is kept; not scored: {target.root} has no labels; "
            "give --data_dir_val"
        )
    return f"{learns}; the best of the scorings on the val images of {scored.root} is chosen"
