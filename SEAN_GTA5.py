"""Adapt from GTA-5 to Cityscapes, 19 classes (the paper's first experiment).

    python SEAN_GTA5.py --data_dir_source data/GTA5 --data_dir_target data/Cityscapes

One iteration of the method is `train_step` in training/train_step.py, the network is `SEANet` in
model/SEAN.py. What happens between two iterations is in training/run.py.
"""

import torch

from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.own_classes import with_classes
from dataset.segmentation_dataset import SegmentationDataset
from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from training.options import TrainingOptions
from training.resume import initial_weights
from training.run import Run
from training.train_step import train_step
from utils.command_line import read_options
from utils.errors import exit_on_error

EXPERIMENT = TrainingOptions()  # the paper's values are the defaults in training/options.py


@exit_on_error()
def main() -> None:
    """Read the command line and train."""
    options = read_options(EXPERIMENT, "GTA-5 to Cityscapes.")
    source_kind, target_kind = with_classes(options.classes, GTA5, CITYSCAPES)

    # The networks: the teacher starts as a copy of the student.
    torch.manual_seed(options.seed)
    attends = not (options.source_only or options.oracle or options.no_attention)
    num_classes = options.num_classes or target_kind.label_space.num_classes
    student = SEANet(num_classes, options.classifier_branches, attends, options.width)
    loaded = initialize(student, initial_weights(options))
    teacher = make_teacher(student)

    # The data: labelled source images, target images without labels, labelled images to score on.
    size, target_list, ignored = options.input_size, options.data_list_target, options.ignore_label
    target = SegmentationDataset(
        target_kind, options.data_dir_target, size, target_list, options.target_split,
        labels="none", ignore_label=ignored,
    )  # fmt: skip
    source = target.with_labels("resized") if options.oracle else SegmentationDataset(
        source_kind, options.data_dir_source, size, options.data_list_source, ignore_label=ignored
    )  # fmt: skip
    val = None  # photographs without label maps cannot be scored
    if options.data_dir_val or not target.is_plain_folder:
        adapts_to_val = options.target_split == "val" and options.data_dir_val is None
        val = SegmentationDataset(
            target_kind, options.data_dir_val or options.data_dir_target, size,
            target_list if adapts_to_val else None, "val", "own size", ignored,
        )  # fmt: skip

    with Run("GTA", options, student, teacher, source, target, val, loaded) as run:
        for batch in run:  # logs, scores, saves and stops between iterations
            run.record(
                train_step(run.student, run.teacher, run.optimizer, batch, options, run.reduce)
            )


if __name__ == "__main__":
    main()
