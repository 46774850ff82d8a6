"""Adapt from GTA-5 to Cityscapes, 19 classes (the paper's first experiment).

    python SEAN_GTA5.py --data_dir_source data/GTA5 --data_dir_target data/Cityscapes

The method is `train_step` in training/train_step.py, called by `train` in
training/loop.py. The network is `SEANet` in model/SEAN.py.
"""

import torch

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from dataset.labels import CLASSES_19
from dataset.own_classes import read_classes
from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from training.loop import train
from training.options import TrainingOptions
from training.run_files import can_resume
from utils.command_line import read_options
from utils.errors import exit_on_error

PREFIX = "GTA"  # of the names of output files
# The paper's values; other defaults are in training/options.py.
EXPERIMENT = TrainingOptions(
    data_dir_source="data/GTA5",
    data_dir_target="data/Cityscapes",
    input_size=(1024, 512),  # width, height
    learning_rate=1e-5,
    weight_decay=5e-5,
    num_epoch=6,
    noise=0.1,
    teacher_alpha=0.99,
    st_weight=0.3,
    attention_threshold=0.1,
)


@exit_on_error()
def main() -> None:
    """Read the command line and train."""
    options = read_options(EXPERIMENT, "GTA-5 to Cityscapes.")
    own_classes = read_classes(options.classes) if options.classes else None

    torch.manual_seed(options.seed)
    num_classes = options.num_classes or (own_classes or CLASSES_19).num_classes
    variant = options.uses_attention, options.width
    student = SEANet(num_classes, options.classifier_branches, *variant)
    initialization = initialize(student, "none" if can_resume(options) else options.restore_from)
    teacher = make_teacher(student)

    reading = options.reading(own_classes)
    target = CityscapesDataset(
        options.data_dir_target, list_file=options.data_list_target, split=options.target_split,
        labels="none", **reading,
    )  # fmt: skip
    scored = None  # photographs without labels cannot be scored
    if options.data_dir_val or not target.is_plain_folder:
        scored = CityscapesDataset(
            options.data_dir_scored, list_file=options.data_list_scored, split="val",
            labels="own size", **reading,
        )  # fmt: skip
    source = (
        target.with_labels("resized") if options.oracle
        else GTA5Dataset(options.data_dir_source, list_file=options.data_list_source, **reading)
    )  # fmt: skip

    train(PREFIX, student, teacher, source, target, scored, options, initialization)


if __name__ == "__main__":
    main()
