"""Score a checkpoint on Cityscapes and write its label maps, colour maps and panels.

    python evaluation.py --data_dir data/Cityscapes --restore-from Snap/GTA_TeacherNet.pth
    python evaluation.py --demo     # after `python SEAN_GTA5.py --demo`

How a network is run and scored is in utils/evaluate.py.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from dataset.cache import Cache
from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.classes_file import read_classes
from dataset.image_files import DataError, read_image
from dataset.labels import CLASSES_16, LEFT_OUT_OF_13, LabelSpace
from dataset.loaders import (
    Batch,
    Problems,
    default_workers,
    make_loader,
    on_device,
    sequential_batches,
)
from dataset.segmentation_dataset import Sample, SegmentationDataset
from model.pretrained import WeightsError, class_count, initialise, load_weights, read_state_dict
from model.SEAN import SEANet
from utils.checkpoint import CheckpointError, make_folder, whole_file
from utils.config import DEMO_EVALUATION, DEMO_RUNS, EvaluationConfig
from utils.device import DeviceError, autocast, choose_device
from utils.evaluate import class_map, evaluate, scoring
from utils.metrics import class_iou, confusion_matrix, mean_iou
from utils.options import parse_options
from utils.reporting import fail
from utils.visualization import Picture, colour_map, error_map, heat_map, overlay, panel

DATASETS: dict[int, type[SegmentationDataset]] = {19: CityscapesDataset, 16: Cityscapes16Dataset}


class Evaluation:
    """One pass over a data set: predictions, pictures, confusion matrix.

    Args:
        config: the options.

    Raises:
        DataError, WeightsError, CheckpointError, DeviceError: with the path and the remedy.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self.config = config
        self.folder = Path(config.snapshot_dir)
        self.device = choose_device(config.device)
        self.kinds = own_target(config.classes) if config.classes else DATASETS
        self.network = self._load(config.restore_from)
        self.dataset = self._find_data(self.network.num_classes)
        self.space = self.dataset.label_space
        make_folder(self.folder)

    def _load(self, path: str) -> SEANet:
        state = read_state_dict(path)
        classes = class_count(state, path)
        if self.config.num_classes not in (None, classes):
            raise WeightsError(
                f"{path} is a checkpoint for {classes} classes, not {self.config.num_classes}\n"
                "  leave --num-classes out: it is read from the checkpoint"
            )
        if classes not in self.kinds:
            raise WeightsError(
                f"{path} is a checkpoint for {classes} classes; "
                f"{self.config.classes or 'Cityscapes'} is labelled for "
                f"{' or '.join(map(str, self.kinds))}\n"
                "  give a checkpoint that was trained on these, or the --classes of its training"
            )
        network = SEANet(classes, self.config.classifier_branches, not self.config.no_attention)
        load_weights(network, state, path)
        return network.to(self.device)

    def _find_data(self, classes: int) -> SegmentationDataset:
        config = self.config
        if config.ignore_label < classes:
            raise DataError(
                f"--ignore-label {config.ignore_label} is the train id of a class\n"
                f"  give one from {classes} to 255"
            )
        cache = Cache(config.cache_dir) if config.cache_dir else None
        data = self.kinds[classes](
            config.data_dir,
            config.input_size,
            config.data_list,
            labels="own size",
            ignore_label=config.ignore_label,
            cache=cache,
        )
        if cache:
            print(cache.reserve(data.cache_entries(cache)))
        files = {PurePosixPath(name).stem for name in data.names}
        if len(files) < len(data):
            raise DataError(
                f"several images in {data.image_folder} have one name, and so would their label "
                "maps\n  evaluate them one list file at a time"
            )
        written, read = self.folder.resolve(), Path(config.data_dir).resolve()
        if written.is_relative_to(read):
            raise DataError(
                f"--snapshot_dir {self.folder} lies within the data folder {read}\n"
                "  choose another: predictions are called like the images"
            )
        return data

    def run(self) -> Tensor:
        """Predict every image once.

        Returns:
            Confusion matrix, int64, (C, C), rows are the label.
        """
        confusion = torch.zeros(self.space.num_classes, self.space.num_classes, dtype=torch.int64)
        with scoring(self.network):
            for batch in tqdm(self._batches(), unit="batch", desc="evaluation"):
                Problems().add(batch.problems)
                images, labels = on_device(batch, self.device)
                with autocast(self.device, self.config.precision):
                    attention, logits = self.network(images)
                for index, label in enumerate(labels):
                    classes = class_map(logits[index], label.shape)
                    confusion += confusion_matrix(classes, label, self.space.num_classes).cpu()
                    self._write(
                        batch, index, classes.cpu().numpy().astype(np.uint8),
                        attention[index, 0].float().cpu().numpy(),
                    )  # fmt: skip
        text = score_table(confusion, self.space)
        print(text)
        print(f"label maps and pictures: {self.folder}")
        with whole_file(self.folder / "Evaluation.txt") as file:
            file.write((self._heading() + text + "\n").encode())
        return confusion

    def _batches(self) -> DataLoader[Sample]:
        workers = self.config.num_workers
        return make_loader(
            self.dataset,
            sequential_batches(len(self.dataset), self.config.batch_size),
            default_workers() if workers is None else workers,
            self.device.type,
        )

    def _heading(self) -> str:
        config = self.config
        return (
            f"{config.restore_from} on {len(self.dataset)} images of {self.dataset.image_folder}, "
            f"input {config.input_size[0]}x{config.input_size[1]}, {config.precision}, "
            "scored at the label maps' own size\n"
        )

    def _write(
        self, batch: Batch, index: int, classes: NDArray[np.uint8], attention: NDArray[np.floating]
    ) -> None:
        stem = PurePosixPath(batch.names[index]).stem
        colours = self.space.colours
        self._save(stem + ".png", classes)
        self._save(stem + "_color.png", colour_map(classes, colours))
        if self.config.save_panels:
            label = batch.labels[index].numpy()
            height, width = label.shape
            image = Image.fromarray(read_image(self.dataset.image_folder / batch.names[index]))
            picture = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
            heat = heat_map(attention, (width, height), "inferno")
            tiles = [
                ("input", picture),
                ("prediction", colour_map(classes, colours)),
                ("ground truth", colour_map(label, colours)),
                ("error", error_map(classes, label, self.config.ignore_label)),
                ("attention", overlay(picture, heat, 0.6)),
            ]
            self._save(stem + "_panel.png", panel(tiles))

    def _save(self, name: str, picture: NDArray[np.uint8] | Picture) -> None:
        with whole_file(self.folder / name) as file:
            Image.fromarray(picture).save(file, "PNG")


def own_target(file: str) -> dict[int, type[SegmentationDataset]]:
    """What `DATASETS` holds, for the classes of a file."""
    target = read_classes(Path(file)).target
    return {target.classes.num_classes: target.data_set(CityscapesDataset)}


def score_table(confusion: Tensor, space: LabelSpace) -> str:
    """Per-class IoU and means, in percent.

    Args:
        confusion: int64, (C, C), rows are the label.
        space: the classes' names.
    """
    iou = class_iou(confusion)
    lines = [f"{name:<12} {100 * value:6.2f}" for name, value in zip(space.names, iou, strict=True)]
    lines.append(f"{'mIoU':<12} {100 * mean_iou(confusion).item():6.2f}")
    if space == CLASSES_16:
        kept = [index for index, name in enumerate(space.names) if name not in LEFT_OUT_OF_13]
        lines.append(f"{'mIoU (13)':<12} {100 * iou[kept].nanmean().item():6.2f}")
    return "\n".join(lines)


def compare_demo_runs(evaluation: Evaluation, sean: Tensor) -> None:
    """Print the table that ends the demo: the networks that `make demo` has made, scored alike.

    Args:
        evaluation: of SEAN's teacher; its network is used for the others.
        sean: confusion matrix of SEAN's teacher.
    """
    rows = [("SEAN's teacher", mean_iou(sean).item())]
    network, classes = evaluation.network, evaluation.space.num_classes
    source_only = Path(DEMO_RUNS) / "source_only" / "GTA_TeacherNet.pth"

    def score() -> float:
        batches = (on_device(batch, evaluation.device) for batch in evaluation._batches())
        precision = autocast(evaluation.device, evaluation.config.precision)
        return mean_iou(evaluate(network, batches, classes, precision)).item()

    if source_only.exists() and classes == 19:
        load_weights(network, read_state_dict(source_only), str(source_only))
        network.use_attention = False
        rows.append(("source only", score()))
    torch.manual_seed(0)
    network = SEANet(classes)
    initialise(network, "none")
    network.to(evaluation.device)
    rows.append(("untrained", score()))
    print("\ndemo, target mIoU in %")
    for name, value in reversed(rows):
        print(f"  {name:<16} {100 * value:5.1f}")
    print(f"a picture: {sorted(evaluation.folder.glob('*_panel.png'))[0]}")


def main() -> None:
    """Read the command line and evaluate; a user's mistake ends in one message and status 2."""
    config = parse_options(EvaluationConfig(), DEMO_EVALUATION, "Score a checkpoint on Cityscapes.")
    try:
        evaluation = Evaluation(config)
        confusion = evaluation.run()
        if config.demo:
            compare_demo_runs(evaluation, confusion)
    except (DataError, WeightsError, CheckpointError, DeviceError) as error:
        fail(error)


if __name__ == "__main__":
    main()
