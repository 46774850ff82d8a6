"""Score a checkpoint on Cityscapes; write its label maps, pictures, tables and a report.

python evaluation.py --data_dir data/Cityscapes --restore-from Snap/GTA_TeacherNet.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --compare Snap/old.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --images holiday.mp4
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.labels import CLASSES_16, LABEL_SPACES, LEFT_OUT_OF_13, LabelSpace
from dataset.own_classes import OwnClasses, read_classes
from dataset.segmentation_dataset import SegmentationDataset
from inference.compare import compare
from inference.metrics import confusion_matrix, mean_iou
from inference.output_files import REPORT, OutputFiles
from inference.own_images import predict_own_images
from inference.pictures import color_map, compared_tiles
from inference.predict import predict_dataset
from inference.report import RankedPanels, page
from inference.scores import score, score_files
from model.checkpoint import CheckpointInfo, load_network
from model.SEAN import SEANet
from training.options import EvaluationOptions
from utils.command_line import read_options
from utils.device import choose_device, choose_precision, place, with_precision
from utils.errors import UserError, counted, exit_on_error


@exit_on_error()
def main() -> None:
    """Read the command line, then predict and score."""
    options = read_options(EvaluationOptions(), "Score or apply a checkpoint.")
    device = choose_device(options.device)
    options = replace(options, precision=choose_precision(options.precision, device))
    own = read_classes(options.classes) if options.classes else None
    network, info = load_network(
        options.restore_from, options.num_classes, options.classifier_branches,
        False if options.no_attention else None, options.input_size,
    )  # fmt: skip
    if options.save_attention and not info.attention:
        shown = options.restore_from
        raise UserError(f"{shown} has no attention\n  leave out --save_attention")
    space = choose_classes(options, network.num_classes, info, own)
    place(network, device)
    running = with_precision(network, options.precision)
    if options.images is not None:
        predict_own_images(running, space, info.input_size, options)
        return
    networks = [running]
    if options.compare is not None:
        first = load_compared(options.compare, options.restore_from, network, info)
        place(first, device)
        networks.insert(0, with_precision(first, options.precision))
    dataset = open_data(options, info.input_size, space, own)
    evaluate(networks, dataset, info, options)


def load_compared(
    path: str, second_path: str, second: SEANet, second_info: CheckpointInfo
) -> SEANet:
    """Load the network of --compare, which must have the second one's classes and input size."""
    first, info = load_network(path)
    names = path, second_path
    named = info.names and second_info.names
    if first.num_classes != second.num_classes or (named and info.names != second_info.names):
        raise UserError(
            f"--compare {names[0]} ({first.num_classes} classes) does not have the classes of "
            f"{names[1]} ({second.num_classes} classes)\n"
            "  compare checkpoints of the same classes"
        )
    sizes = [f"{width}x{height}" for width, height in (info.input_size, second_info.input_size)]
    if info.names and sizes[0] != sizes[1]:  # a file without names does not say its size either
        raise UserError(
            f"--compare {names[0]} was trained at {sizes[0]}, {names[1]} at {sizes[1]}\n"
            "  compare checkpoints of one input size: both networks see the same images"
        )
    return first


def choose_classes(
    options: EvaluationOptions, num_classes: int, info: CheckpointInfo, own: OwnClasses | None
) -> LabelSpace:
    """Return the classes of --classes, else for own images the checkpoint's, else Cityscapes'."""
    if options.images is not None and info.names and own is None:
        return LabelSpace(info.names, info.colors)
    space = own.label_space if own else LABEL_SPACES.get(num_classes)
    if space and space.num_classes == num_classes and info.names in ((), space.names):
        return space
    names = f" ({', '.join(info.names)})" if info.names else ""
    counts = own.num_classes if own else "19 or 16"
    raise UserError(
        f"{options.restore_from} is a checkpoint for {num_classes} classes; "
        f"{options.classes or 'Cityscapes'} is labelled for {counts}\n"
        f"  give a checkpoint of these classes, or the --classes of its training{names}"
    )


def open_data(
    options: EvaluationOptions, size: tuple[int, int], space: LabelSpace, own: OwnClasses | None
) -> SegmentationDataset:
    """Open the images to predict, with their label maps if there are any."""
    kind = Cityscapes16Dataset if space == CLASSES_16 else CityscapesDataset
    dataset = kind(
        options.data_dir, size, options.data_list, options.split, "none",
        options.ignore_label, options.cache_dir, own,
    )  # fmt: skip
    if dataset.is_plain_folder:
        raise UserError(
            f"{dataset.root} does not have the folders of the data set\n"
            "  for images of your own, give --images instead of --data_dir"
        )
    if dataset.has_labels():
        dataset = dataset.with_labels("own size")
    if dataset.cache:
        print(dataset.cache.reserve(dataset.cache_entries()))
    return dataset


def evaluate(
    networks: list[nn.Module], dataset: SegmentationDataset, info: CheckpointInfo,
    options: EvaluationOptions,
) -> None:  # fmt: skip
    """Predict every image, write the files of the last network, score it, and compare.

    If there are two networks, the first is that of --compare.
    """
    space, files, ranked = dataset.label_space, OutputFiles(options, dataset), RankedPanels()
    matrices = []
    predicted = predict_dataset(networks, dataset, options.batch_size, options.num_workers)
    for name, label, predictions in tqdm(predicted, "evaluation", len(dataset), unit="image"):
        counts = [confusion_matrix(p.classes, label, space.num_classes) for p in predictions]
        matrices.append(torch.stack(counts).cpu())
        tiles = files.write(name, predictions[-1], label)
        if options.report:
            if options.compare is not None:
                first = color_map(predictions[0].classes.cpu().numpy(), space.colors)
                tiles = compared_tiles(tiles, first)
            ranked.add(name, mean_iou(matrices[-1]).tolist(), tiles)
    confusions = torch.stack(matrices)  # (images, networks, C, C)
    left_out = LEFT_OUT_OF_13 if space == CLASSES_16 else ()
    scores, comparison = score(confusions[:, -1], space.names, left_out), None
    if scores and options.compare is not None:
        paths = options.compare, options.restore_from
        comparison = compare(confusions, space.names, *paths)
    protocol = describe(options, info, dataset, scores is not None)
    texts = score_files(scores, protocol, dataset.names) | (comparison.files if comparison else {})
    if options.report:
        title = Path(options.restore_from).name
        texts[REPORT] = page(title, protocol, scores, space, ranked, comparison)
    files.write_results(texts)
    print(texts["Evaluation.txt"] + texts.get("compare.txt", ""), end="")
    print(f"label maps and pictures: {files.folder}")
    if options.report:
        print(f"report: {files.folder / REPORT}")


def describe(
    options: EvaluationOptions, info: CheckpointInfo, dataset: SegmentationDataset, scored: bool
) -> str:
    """Return what was scored and how, in a line."""
    variant = "" if info.attention else ", without attention"
    if info.branches != 2:
        variant += f", classifier branches: {info.branches}"
    result = "scored at the label maps' own size"
    if not scored:
        reason = "are missing" if dataset.labels == "none" else "hold no pixel of a class"
        result = f"nothing was scored: the label maps under {dataset.label_folder} {reason}"
    training = f"; training: {info.protocol}" if info.protocol else ""
    return (
        f"{options.restore_from} on {counted(len(dataset), 'image')} of {dataset.image_folder} "
        f"(split {options.split}), input {info.input_size[0]}x{info.input_size[1]}, "
        f"{options.precision}{variant}, {result}{training}"
    )


if __name__ == "__main__":
    main()
