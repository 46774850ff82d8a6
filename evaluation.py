"""Score a checkpoint on Cityscapes; write its label maps, pictures, scores and a report.

python evaluation.py --data_dir data/Cityscapes --restore-from Snap/GTA_TeacherNet.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --compare Snap/old.pth
python evaluation.py --restore-from Snap/GTA_TeacherNet.pth --images holiday.mp4
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from dataset.cityscapes_dataset import CITYSCAPES, CITYSCAPES_16
from dataset.labels import CLASSES_16, LABEL_SPACES, LEFT_OUT_OF_13, LabelSpace
from dataset.own_classes import with_classes
from dataset.segmentation_dataset import SPLITS, SegmentationDataset
from inference.metrics import confusion_matrix, mean_iou
from inference.output_files import KINDS, RESULTS, Outputs, stems_of
from inference.own_images import predict_own_images
from inference.pictures import dataset_tiles
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
    images: str | None = data(None, "predict your own image, folder of images, or video instead")
    batch_size: int = data(1, "images predicted at once", integer(1, 1024))
    restore_from: str = weights("Snap/GTA_TeacherNet.pth", "checkpoint to evaluate")
    compare: str | None = weights(None, "checkpoint to compare with, on the same images")
    num_classes: int | None = weights(None, "expected number of classes", integer(2, 255))
    input_size: Size | None = weights(None, "of an older checkpoint, if not 1024,512", size)
    classifier_branches: int | None = weights(None, "of an older one, if not 2", integer(1, 4))
    no_attention: bool = weights(False, "for an older checkpoint trained without attention")
    snapshot_dir: str = output("Snap/Maps", "folder for all output files")
    report: bool = output(False, "write report.html: scores, confusion matrix, worst images")
    save_panels: bool = output(False, "write STEM_panel.png: input, prediction, truth, errors")
    save_attention: bool = output(False, "write STEM_attention.png, over the input in gray")
    save_confidence: bool = output(False, "write STEM_confidence.png: probability of the class")
    save_label_ids: bool = output(False, "write label_ids/NAME.png for the Cityscapes benchmark")


@exit_on_error()
def main() -> None:
    """Read the command line and the checkpoints; predict own images, or evaluate."""
    options = read_options(EvaluationOptions(), "Score or apply a checkpoint.")
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    own = with_classes(options.classes, CITYSCAPES)[0].label_space if options.classes else None
    attention = False if options.no_attention else None
    given = options.num_classes, options.classifier_branches, attention, options.input_size
    paths = [options.compare, options.restore_from] if options.compare else [options.restore_from]
    loaded = [load_network(path, *given) for path in paths]
    kinds = [choose_classes(options, p, own, *pair) for p, pair in zip(paths, loaded, strict=True)]
    (space, size), info = kinds[-1], loaded[-1][1]
    if kinds[0] != kinds[-1]:
        remedy = "compare checkpoints that have them in common"
        raise UserError(f"{' and '.join(paths)} differ in their classes or input size\n  {remedy}")
    for network, _ in loaded:
        place(network, device)
    networks = [with_precision(network, precision) for network, _ in loaded]
    chosen = [kind for kind in KINDS if getattr(options, f"save_{kind}")]
    if options.save_attention and not info.attention:
        raise UserError(f"{options.restore_from} has no attention\n  leave out --save_attention")
    outputs = Outputs(Path(options.snapshot_dir), space, chosen)
    if options.images is not None:
        if options.compare or options.report:
            raise UserError("own images have no scores\n  leave out --compare and --report")
        predict_own_images(networks[0], Path(options.images), outputs, size, options.batch_size)
        print("nothing was scored: own images have no labels")
        return
    (kind,) = with_classes(options.classes, CITYSCAPES_16 if space == CLASSES_16 else CITYSCAPES)
    source = options.data_dir, size, options.data_list, options.split
    dataset = SegmentationDataset(kind, *source, "none", options.ignore_label)
    dataset = dataset.with_labels("own size") if dataset.has_labels() else dataset
    evaluate(networks, dataset, info, outputs, replace(options, precision=precision))


def choose_classes(
    options: EvaluationOptions, path: str, own: LabelSpace | None, network: SEANet,
    info: CheckpointInfo,
) -> tuple[LabelSpace, Size]:  # fmt: skip
    """Return the classes and input size of a checkpoint; UserError if the data has others."""
    space = own or LABEL_SPACES.get(network.num_classes)
    if options.images is not None and info.names and own is None:
        space = LabelSpace(info.names, info.colors)
    if space and space.num_classes == network.num_classes and info.names in ((), space.names):
        return space, info.input_size
    wanted = options.classes or "Cityscapes (19 or 16)"
    problem = f"is a checkpoint for {network.num_classes} classes other than those of {wanted}"
    names = ", ".join(info.names) or "it does not name them"
    raise UserError(f"{path} {problem}\n  give the --classes of its training ({names})")


def evaluate(
    networks: list[nn.Module], dataset: SegmentationDataset, info: CheckpointInfo,
    outputs: Outputs, options: EvaluationOptions,
) -> None:  # fmt: skip
    """Predict every image, write the files of the last network, score it, and compare."""
    space, matrices, worst = dataset.label_space, [], list[Shown]()
    stems = dict(zip(dataset.names, stems_of(dataset.names), strict=True))
    files = [*RESULTS, *(file for stem in stems.values() for file in outputs.files(stem).values())]
    inputs = [dataset.image_folder / name for name in stems] + [*map(dataset.label_file, stems)]
    with outputs.open(files, inputs, [dataset.root, dataset.image_folder, dataset.label_folder]):
        predicted = predict_dataset(networks, dataset, options.batch_size, options.num_workers)
        for name, label, predictions in tqdm(predicted, "evaluation", len(dataset), unit="image"):
            counts = [confusion_matrix(p.classes, label, space.num_classes) for p in predictions]
            matrices.append(torch.stack(counts).cpu())
            shown = options.report or options.save_panels or options.save_attention
            tiles = dataset_tiles(dataset, name, label, predictions) if shown else {}
            outputs.save(stems[name], predictions[-1], tiles)
            if options.report:
                keep_worst(worst, name, mean_iou(matrices[-1]).tolist(), tiles)
        confusions = torch.stack(matrices)  # (images, networks, C, C)
        left_out = LEFT_OUT_OF_13 if space == CLASSES_16 else ()
        scores, comparison = score(confusions[:, -1], space.names, dataset.names, left_out), None
        if scores and options.compare:
            comparison = compare(confusions, space.names, options.compare, options.restore_from)
        missing = f"nothing was scored: no label maps with a class in {dataset.label_folder}"
        images = f"{counted(len(dataset), 'image')} of {dataset.image_folder}"
        words = [f"{options.restore_from} on {images} (split {options.split})"]
        words += ["input {}x{}".format(*info.input_size), options.precision]
        words += [] if info.attention else ["without attention"]
        words += [] if info.branches == 2 else [f"classifier branches: {info.branches}"]
        words += ["scored at the label maps' own size" if scores else missing]
        protocol = ", ".join(words) + (f"; training: {info.protocol}" if info.protocol else "")
        texts = result_files(protocol, scores, comparison)
        if options.report:
            name = Path(options.restore_from).name
            texts["report.html"] = page(name, protocol, scores, space, worst, comparison)
        outputs.write_results(texts)
    print(f"{texts['Evaluation.txt']}label maps, {', '.join(texts)}: {outputs.folder}")


if __name__ == "__main__":
    main()
