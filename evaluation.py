"""Score a checkpoint on Cityscapes; write its label maps, pictures, scores and a report.

python evaluation.py --data_dir data/Cityscapes --restore-from Snap/GTA_TeacherNet.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --compare Snap/old.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --images holiday.mp4
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.image_files import read_image
from dataset.labels import CLASSES_16, LABEL_SPACES, LEFT_OUT_OF_13, LabelSpace
from dataset.own_classes import OwnClasses, read_classes
from dataset.segmentation_dataset import SPLITS, SegmentationDataset
from inference.metrics import confusion_matrix, mean_iou
from inference.output_files import RESULTS, Outputs, stems_of
from inference.own_images import predict_own_images
from inference.pictures import resized, tiles_of
from inference.predict import predict_dataset
from inference.report import Shown, keep_worst, page
from inference.scores import compare, result_files, score
from model.checkpoint import CheckpointInfo, load_network
from model.SEAN import SEANet
from training.options import CommonOptions
from utils.command_line import Size, integer, option, read_options, size
from utils.device import choose_device, choose_precision, place, with_precision
from utils.errors import UserError, counted, exit_on_error

data, weights, output = (partial(option, group=name) for name in ("data", "weights", "output"))


@dataclass(frozen=True)
class EvaluationOptions(CommonOptions):
    """Options of evaluation.py."""

    data_dir: str = data("data/Cityscapes", "data folder")
    data_list: str | None = data(None, "text file with one image per line")
    split: str = data("val", "part of the data; scored if it has labels", choices=SPLITS)
    images: str | None = data(
        None, "predict your own image, folder of images, or video instead; nothing is scored"
    )
    restore_from: str = weights("Snap/GTA_TeacherNet.pth", "checkpoint to evaluate")
    compare: str | None = weights(
        None, "second checkpoint: score both, and say whether they differ beyond chance"
    )
    num_classes: int | None = weights(None, "expected number of classes", integer(2, 255))
    input_size: Size | None = weights(
        None, "network input, for older checkpoints that do not say it (then 1024,512)", size
    )
    classifier_branches: int | None = weights(
        None, "for older checkpoints that do not say it (then 2)", integer(1, 4)
    )
    no_attention: bool = weights(
        False, "for older checkpoints trained with --no_attention, --source_only or --oracle"
    )
    batch_size: int = output(1, "images predicted at once", integer(1, 1024))
    snapshot_dir: str = output("Snap/Maps", "folder for all output files")
    report: bool = output(
        False, "write report.html, one page: scores, confusion matrix, the worst images"
    )
    save_panels: bool = output(
        False, "write STEM_panel.png: input, prediction, ground truth, errors, attention"
    )
    save_attention: bool = output(False, "write STEM_attention.png, over the input in gray")
    save_confidence: bool = output(
        False, "write STEM_confidence.png: the probability of the predicted class"
    )
    save_label_ids: bool = output(
        False, "write label_ids/NAME.png in Cityscapes label ids, for its benchmark"
    )


Loaded = tuple[SEANet, CheckpointInfo]


@exit_on_error()
def main() -> None:
    """Read the command line and the checkpoints; predict own images, or evaluate."""
    options = read_options(EvaluationOptions(), "Score or apply a checkpoint.")
    device = choose_device(options.device)
    options = replace(options, precision=choose_precision(options.precision, device))
    own = read_classes(options.classes) if options.classes else None
    variant = options.classifier_branches, False if options.no_attention else None
    paths = [options.compare, options.restore_from] if options.compare else [options.restore_from]
    loaded = [
        load_network(path, options.num_classes, *variant, options.input_size) for path in paths
    ]
    space, info = choose_classes(loaded, own, options), loaded[-1][1]
    for network, _ in loaded:
        place(network, device)
    networks = [with_precision(network, options.precision) for network, _ in loaded]
    outputs = Outputs(
        Path(options.snapshot_dir), options.images is not None, options.save_attention,
        options.save_confidence, options.save_panels, options.save_label_ids,
    )  # fmt: skip
    if options.images is not None:
        source, batch = Path(options.images), options.batch_size
        predict_own_images(networks[0], space, source, outputs, info.input_size, batch)
        return
    kind = Cityscapes16Dataset if space == CLASSES_16 else CityscapesDataset
    data = kind(
        options.data_dir, info.input_size, options.data_list, options.split, "none",
        options.ignore_label, own_classes=own,
    )  # fmt: skip
    if data.is_plain_folder:
        raise UserError(
            f"{data.root} does not have the folders of the data set\n"
            "  for images of your own, give --images instead of --data_dir"
        )
    data = data.with_labels("own size") if data.has_labels() else data
    evaluate(networks, data, info, outputs, options)


def choose_classes(
    loaded: list[Loaded], own: OwnClasses | None, options: EvaluationOptions
) -> LabelSpace:
    """Return the classes of --classes, else for own images the checkpoint's, else Cityscapes'."""
    (first, other), (network, info) = loaded[0], loaded[-1]
    if first.num_classes != network.num_classes or (
        other.names and info.names
        and (other.names, other.input_size) != (info.names, info.input_size)
    ):  # fmt: skip
        raise UserError(
            f"--compare {options.compare} differs from {options.restore_from} in its classes or "
            "input size\n  compare checkpoints of the same classes and input size"
        )
    if options.images is not None and info.names and own is None:
        return LabelSpace(info.names, info.colors)
    space = own.label_space if own else LABEL_SPACES.get(network.num_classes)
    if space and space.num_classes == network.num_classes and info.names in ((), space.names):
        return space
    raise UserError(
        f"{options.restore_from} is a checkpoint for {network.num_classes} classes, not those of "
        f"{options.classes or 'Cityscapes (19 or 16)'}\n"
        f"  give the --classes of its training: {', '.join(info.names) or 'it names none'}"
    )


def evaluate(
    networks: list[nn.Module], data: SegmentationDataset, info: CheckpointInfo, outputs: Outputs,
    options: EvaluationOptions,
) -> None:  # fmt: skip
    """Predict every image, write the files of the last network, score it, and compare."""
    space, matrices, worst = data.label_space, [], list[Shown]()
    stems = dict(zip(data.names, stems_of(data.names), strict=True))
    files = [*RESULTS, *(file for stem in stems.values() for file in outputs.files(stem))]
    images = [data.image_folder / name for name in data.names]
    labels = [data.label_file(name) for name in data.names]
    searched = {data.image_folder, data.label_folder, *(image.parent for image in images)}
    with outputs.open(files, [*images, *labels], searched):
        predicted = predict_dataset(networks, data, options.batch_size, options.num_workers)
        for name, label, predictions in tqdm(predicted, "evaluation", len(data), unit="image"):
            counts = [confusion_matrix(p.classes, label, space.num_classes) for p in predictions]
            matrices.append(torch.stack(counts).cpu())
            picture, tiles = None, {}
            if options.report or outputs.panel or outputs.attention:
                height, width = label.shape
                picture = resized(read_image(data.image_folder / name), (width, height))
                tiles = tiles_of(picture, predictions, label, space.colors, data.ignore_label)
            outputs.save(stems[name], predictions[-1], space, picture, tiles)
            if options.report:
                keep_worst(worst, name, mean_iou(matrices[-1]).tolist(), tiles)
        confusions = torch.stack(matrices)  # (images, networks, C, C)
        left_out = LEFT_OUT_OF_13 if space == CLASSES_16 else ()
        scores, comparison = score(confusions[:, -1], space.names, data.names, left_out), None
        if scores and options.compare:
            comparison = compare(confusions, space.names, options.compare, options.restore_from)
        protocol = describe(options, info, data, scores is not None)
        texts = result_files(protocol, scores, comparison)
        if options.report:
            title = Path(options.restore_from).name
            texts["report.html"] = page(title, protocol, scores, space, worst, comparison)
        outputs.write_results(texts)
    print(f"{texts['Evaluation.txt']}{', '.join(texts)} and label maps: {outputs.folder}")


def describe(
    options: EvaluationOptions, info: CheckpointInfo, data: SegmentationDataset, scored: bool
) -> str:
    """Return what was scored and how, in a line."""
    variant = "" if info.attention else ", without attention"
    variant += f", classifier branches: {info.branches}" if info.branches != 2 else ""
    result = "scored at the label maps' own size"
    if not scored:
        reason = "are missing" if data.labels == "none" else "hold no pixel of a class"
        result = f"nothing was scored: the label maps under {data.label_folder} {reason}"
    training = f"; training: {info.protocol}" if info.protocol else ""
    return (
        f"{options.restore_from} on {counted(len(data), 'image')} of {data.image_folder} "
        f"(split {options.split}), input {info.input_size[0]}x{info.input_size[1]}, "
        f"{options.precision}{variant}, {result}{training}"
    )


if __name__ == "__main__":
    main()
