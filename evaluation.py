"""Score a checkpoint on Cityscapes; write its label maps, pictures, tables and a report.

python evaluation.py --data_dir data/Cityscapes --restore-from Snap/GTA_TeacherNet.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --images holiday.mp4
python evaluation.py --demo     # after `python SEAN_GTA5.py --demo`
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.custom_dataset import OwnClasses, read_classes
from dataset.labels import CLASSES_16, LABEL_SPACES, LEFT_OUT_OF_13, LabelSpace
from dataset.segmentation_dataset import SegmentationDataset
from model.checkpoint import CheckpointInfo, load_network
from utils.command_line import read_options
from utils.device import choose_device, place, with_precision
from utils.errors import UserError, exit_on_error
from utils.evaluation.metrics import confusion_matrix, mean_iou
from utils.evaluation.output_files import OutputFiles
from utils.evaluation.own_images import predict_own_images
from utils.evaluation.predict import predict_dataset
from utils.evaluation.report import WorstPanels, page
from utils.evaluation.scores import Scores, score, write_scores
from utils.files import whole_file
from utils.options import DEMO_EVALUATION, DEMO_RUNS, EvaluationOptions


@exit_on_error()
def main() -> None:
    """Read the command line, then predict and score."""
    options = read_options(EvaluationOptions(), "Score or apply a checkpoint.", DEMO_EVALUATION)
    device = choose_device(options.device)
    own = read_classes(options.classes) if options.classes else None
    network, info = load_network(
        options.restore_from, options.num_classes, options.classifier_branches,
        False if options.no_attention else None, options.input_size,
    )  # fmt: skip
    if options.save_attention and not info.attention:
        raise UserError(f"{options.restore_from} has no attention\n  leave out --save_attention")
    space = choose_classes(options, network.num_classes, info, own)
    place(network, device)
    running = with_precision(network, options.precision)
    if options.images is not None:
        predict_own_images(running, space, info.input_size, options)
        return
    dataset = open_data(options, info.input_size, space, own)
    scores = evaluate(running, dataset, info, options)
    if options.demo and scores:
        compare_demo(scores, dataset, options, device)


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
    if options.ignore_label < space.num_classes:
        raise UserError(
            f"--ignore-label {options.ignore_label} is the train id of a class\n"
            f"  give one from {space.num_classes} to 255"
        )
    kind = Cityscapes16Dataset if space == CLASSES_16 else CityscapesDataset
    dataset = kind(
        options.data_dir, size, options.data_list, options.split, "none",
        options.ignore_label, options.cache_dir, own,
    )  # fmt: skip
    if dataset.is_plain_folder:
        raise UserError(
            f"{dataset.root} does not have the folders of the data set\n"
            "  for images without labels give --images instead of --data_dir"
        )
    if dataset.has_labels():
        dataset = dataset.with_labels("own size")
    if dataset.cache:
        print(dataset.cache.reserve(dataset.cache_entries()))
    return dataset


def evaluate(
    network: nn.Module, dataset: SegmentationDataset, info: CheckpointInfo,
    options: EvaluationOptions,
) -> Scores | None:  # fmt: skip
    """Predict every image, write all files, and score; None if no pixel has a label."""
    space, files, worst = dataset.label_space, OutputFiles(options, dataset), WorstPanels()
    matrices = []
    predictions = predict_dataset(network, dataset, options.batch_size, options.num_workers)
    for name, label, prediction in tqdm(predictions, "evaluation", len(dataset), unit="image"):
        matrices.append(confusion_matrix(prediction.classes, label, space.num_classes).cpu())
        tiles = files.write(name, prediction, label)
        if options.report:
            worst.add(name, mean_iou(matrices[-1]).item(), tiles)
    left_out = LEFT_OUT_OF_13 if space == CLASSES_16 else ()
    scores = score(torch.stack(matrices), space.names, left_out)
    protocol = describe(options, info, dataset, scores is not None)
    print(write_scores(files.folder, scores, protocol, dataset.names), end="")
    if options.report:
        title = Path(options.restore_from).name
        with whole_file(files.folder / "report.html") as file:
            file.write(page(title, protocol, scores, space, worst).encode())
    print(f"label maps and pictures: {files.folder}")
    return scores


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
        f"{options.restore_from} on {len(dataset)} images of {dataset.image_folder} "
        f"(split {options.split}), input {info.input_size[0]}x{info.input_size[1]}, "
        f"{options.precision}{variant}, {result}{training}"
    )


def compare_demo(
    scores: Scores, dataset: SegmentationDataset, options: EvaluationOptions, device: torch.device
) -> None:
    """Print the target mIoU of the demo's source-only baseline and of SEAN's teacher."""
    print("\ndemo, target mIoU in %")
    path = Path(DEMO_RUNS, "source_only/GTA_TeacherNet.pth")
    if path.exists() and len(scores.names) == 19:
        network, _ = load_network(path)
        place(network, device)
        running = with_precision(network, options.precision)
        predictions = predict_dataset(running, dataset, options.batch_size, options.num_workers)
        matrices = [confusion_matrix(p.classes, label, 19) for _, label, p in predictions]
        print(f"  source only      {100 * mean_iou(torch.stack(matrices).sum(0)).item():5.1f}")
    print(f"  SEAN's teacher   {100 * scores.miou:5.1f}")
    if options.report:
        print(f"pictures of the images, the worst first: {options.snapshot_dir}/report.html")


if __name__ == "__main__":
    main()
