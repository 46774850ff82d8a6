"""Score a checkpoint on Cityscapes; write its label maps, pictures, tables and a report.

    python evaluation.py --data_dir data/Cityscapes --restore-from Snap/GTA_TeacherNet.pth
    python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --images holiday.mp4
    python evaluation.py --demo     # after `python SEAN_GTA5.py --demo`

utils/evaluation holds the parts: predict.py runs a network, scores.py scores it, predictions.py
writes the files of an image, report.py the page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from dataset.cache import Cache
from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.custom_dataset import read_classes
from dataset.image_files import image_shape
from dataset.labels import CLASSES_16, LEFT_OUT_OF_13
from dataset.layout import PLAIN_FOLDER
from dataset.loaders import Problems, default_workers, make_loader, on_device, sequential_batches
from dataset.segmentation_dataset import LabelUse, Sample, SegmentationDataset
from model.pretrained import class_count, initialize, load_weights, read_state_dict
from model.SEAN import SEANet
from utils.command_line import parse_options
from utils.device import autocast, choose_device, place
from utils.errors import UserError
from utils.evaluation.metrics import confusion_matrix, mean_iou
from utils.evaluation.own_images import predict_own_images
from utils.evaluation.predict import class_map, confidence_map, evaluate, scoring
from utils.evaluation.predictions import Predicted, PredictionFiles
from utils.evaluation.report import WorstPanels, page
from utils.evaluation.scores import Scores, csv_table, json_table, score, text_table
from utils.files import whole_file
from utils.options import DEMO_EVALUATION, DEMO_RUNS, EvaluationConfig
from utils.training.log import fail

DATASETS: dict[int, type[SegmentationDataset]] = {19: CityscapesDataset, 16: Cityscapes16Dataset}


class Evaluation:
    """One pass over a data set: predictions, pictures, scores.

    Args:
        config: the options.

    Raises:
        UserError: with the path and the remedy.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self.config = config
        self.device = choose_device(config.device)
        self.kinds = data_sets(config)
        self.network = load_network(config, self.kinds, self.device)
        self.dataset = self._find_data(self.network.num_classes)
        self.space = self.dataset.label_space
        self.files = PredictionFiles(config, self.dataset)
        self.folder = self.files.folder
        self.panels = WorstPanels()

    def _find_data(self, classes: int) -> SegmentationDataset:
        config = self.config
        if config.ignore_label < classes:
            raise UserError(
                f"--ignore-label {config.ignore_label} is the train id of a class\n"
                f"  give one from {classes} to 255"
            )
        cache = Cache(config.cache_dir) if config.cache_dir else None

        def read(labels: LabelUse) -> SegmentationDataset:
            return self.kinds[classes](
                config.data_dir, config.input_size, config.data_list, config.split, labels,
                config.ignore_label, cache,
            )  # fmt: skip

        data = read("none")
        if data.layout is PLAIN_FOLDER:
            raise UserError(
                f"{data.root} is not laid out as a data set\n"
                "  for images without labels give --images instead of --data_dir"
            )
        if data.has_labels():
            data = read("own size")
        if cache:
            print(cache.reserve(data.cache_entries(cache)))
        return data

    def run(self) -> Scores | None:
        """Predict every image once, write its files, and score where there are labels.

        Returns:
            The scores; None where no pixel has a label.
        """
        counts = []
        with scoring(self.network):
            for batch in tqdm(self._batches(), unit="batch", desc="evaluation"):
                Problems().add(batch.problems)
                images, labels = on_device(batch, self.device)
                with autocast(self.device, self.config.precision):
                    attention, logits = self.network(images)
                for index, name in enumerate(batch.names):
                    label = labels[index] if labels else self._no_label(name)
                    counts.append(self._predict(name, logits[index], attention[index, 0], label))
        left_out = LEFT_OUT_OF_13 if self.space == CLASSES_16 else ()
        scores = score(torch.stack(counts), self.space.names, left_out)
        self._write(scores)
        return scores

    def _predict(self, name: str, logits: Tensor, attention: Tensor, label: Tensor) -> Tensor:
        """Write the files of one image and count its pixels: int64, (C, C), on the CPU."""
        classes = class_map(logits, label.shape)
        confusion = confusion_matrix(classes, label, self.space.num_classes).cpu()
        confidence = None
        if self.config.save_confidence:
            confidence = confidence_map(logits, label.shape).cpu().numpy()
        predicted = Predicted(
            name,
            classes.cpu().numpy(),
            label.byte().cpu().numpy(),
            attention.float().cpu().numpy(),
            confidence,
        )
        tiles = self.files.write(predicted)
        if self.config.report:
            self.panels.add(name, mean_iou(confusion).item(), tiles)
        return confusion

    def _no_label(self, name: str) -> Tensor:
        shape = image_shape(self.dataset.image_folder / name)
        return torch.full(shape, self.config.ignore_label, device=self.device)

    def _write(self, scores: Scores | None) -> None:
        """Print the scores and write them, with the protocol, to the files of the whole set."""
        protocol = self._protocol(scores)
        text = "\n".join([protocol, *([text_table(scores)] if scores else [])])
        contents = {
            "Evaluation.txt": text + "\n",
            "scores.json": json_table(scores, protocol, self.dataset.names) if scores else None,
            "scores.csv": csv_table(scores) if scores else None,
        }
        if self.config.report:
            title = Path(self.config.restore_from).name
            contents["report.html"] = page(title, protocol, scores, self.space, self.panels)
        for name, content in contents.items():
            if content is None:
                (self.folder / name).unlink(missing_ok=True)  # of an earlier run with labels
            else:
                with whole_file(self.folder / name) as file:
                    file.write(content.encode())
        print(text)
        print(f"label maps and pictures: {self.folder}")

    def _batches(self) -> DataLoader[Sample]:
        workers = self.config.num_workers
        return make_loader(
            self.dataset,
            sequential_batches(len(self.dataset), self.config.batch_size),
            default_workers() if workers is None else workers,
            self.device.type,
        )

    def _protocol(self, scores: Scores | None) -> str:
        """What was scored and how, in a line. What was adapted on is not in the checkpoint."""
        config, labels = self.config, self.dataset.label_folder
        branches = config.classifier_branches
        variant = ", without attention" if config.no_attention else ""
        if branches != 2:
            variant += f", {branches} classifier branch{'es' if branches > 1 else ''}"
        scored = "scored at the label maps' own size"
        if not scores:
            reason = "are missing" if self.dataset.labels == "none" else "hold no pixel of a class"
            scored = f"nothing was scored: the label maps under {labels} {reason}"
        return (
            f"{config.restore_from} on {len(self.dataset)} images of {self.dataset.image_folder} "
            f"(split {config.split}), input {config.input_size[0]}x{config.input_size[1]}, "
            f"{config.precision}{variant}, {scored}"
        )


def data_sets(config: EvaluationConfig) -> Mapping[int, type[SegmentationDataset]]:
    """Class count -> the data set with these classes: Cityscapes, or what --classes says.

    Raises:
        UserError: the file of --classes cannot be read, or has a mistake.
    """
    if config.classes is None:
        return DATASETS
    target = read_classes(Path(config.classes)).target
    return {target.classes.num_classes: target.data_set(CityscapesDataset)}


def load_network(
    config: EvaluationConfig, kinds: Mapping[int, type[SegmentationDataset]], device: torch.device
) -> SEANet:
    """Read the checkpoint that the options name.

    Args:
        config: the options.
        kinds: class count -> the data set that has these classes.
        device: where the network goes.

    Raises:
        UserError: its attention is asked for, and it shall have none.
        UserError: it cannot be used, or its classes are unknown.
    """
    if config.save_attention and config.no_attention:
        raise UserError(
            "--save_attention shows what --no_attention leaves out\n  leave out one of them"
        )
    path = config.restore_from
    state = read_state_dict(path)
    classes = class_count(state, path)
    if config.num_classes not in (None, classes):
        raise UserError(
            f"{path} is a checkpoint for {classes} classes, not {config.num_classes}\n"
            "  leave --num-classes out: it is read from the checkpoint"
        )
    if classes not in kinds:
        raise UserError(
            f"{path} is a checkpoint for {classes} classes; {config.classes or 'Cityscapes'} is "
            f"labelled for {' or '.join(map(str, kinds))}\n"
            "  give a checkpoint that was trained on these, or the --classes of its training"
        )
    network = SEANet(classes, config.classifier_branches, not config.no_attention)
    load_weights(network, state, path)
    place(network, device)
    return network


def compare_demo_runs(evaluation: Evaluation, sean: Scores) -> None:
    """Print the table that ends the demo: the networks that `make demo` has made, scored alike.

    Args:
        evaluation: of SEAN's teacher; its network is used for the others.
        sean: of SEAN's teacher.
    """
    rows = [("SEAN's teacher", sean.miou)]
    network, classes = evaluation.network, evaluation.space.num_classes
    source_only = Path(DEMO_RUNS) / "source_only" / "GTA_TeacherNet.pth"

    def miou() -> float:
        batches = (on_device(batch, evaluation.device) for batch in evaluation._batches())
        precision = autocast(evaluation.device, evaluation.config.precision)
        return mean_iou(evaluate(network, batches, classes, precision)).item()

    if source_only.exists() and classes == 19:
        load_weights(network, read_state_dict(source_only), str(source_only))
        network.use_attention = False
        rows.append(("source only", miou()))
    torch.manual_seed(0)
    network = SEANet(classes)
    initialize(network, "none")
    place(network, evaluation.device)
    rows.append(("untrained", miou()))
    print("\ndemo, target mIoU in %")
    for name, value in reversed(rows):
        print(f"  {name:<16} {100 * value:5.1f}")
    print(f"pictures of every image, the worst first: {evaluation.folder / 'report.html'}")


def main() -> None:
    """Read the command line and evaluate; a user's mistake ends in one message and status 2."""
    config = parse_options(EvaluationConfig(), DEMO_EVALUATION, "Score a checkpoint on Cityscapes.")
    try:
        if config.images is not None:
            device = choose_device(config.device)
            kinds = data_sets(config)
            network = load_network(config, kinds, device)
            space = kinds[network.num_classes].label_space
            predict_own_images(Path(config.images), network, space, config, device)
            return
        evaluation = Evaluation(config)
        scores = evaluation.run()
        if config.demo and scores:
            compare_demo_runs(evaluation, scores)
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)  # what is being written is not left half


if __name__ == "__main__":
    main()
