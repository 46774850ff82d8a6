"""Adapt from SYNTHIA to Cityscapes, 16 classes (the paper's second experiment).

    python SEAN_Synthia.py --data_dir_source data/SYNTHIA --data_dir_target data/Cityscapes

The method is `train_step` in training/train_step.py, called by `train` in
training/loop.py. The network is `SEANet` in model/SEAN.py.
"""

import torch

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.labels import CLASSES_16
from dataset.own_classes import read_classes
from dataset.synthia_dataset import SynthiaDataset
from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from training.loop import train
from training.options import TrainingOptions
from training.run_files import can_resume
from utils.command_line import read_options
from utils.errors import exit_on_error

PREFIX = "Synthia"  # of the names of output files
# The paper's values; other defaults are in training/options.py.
EXPERIMENT = TrainingOptions(
    data_dir_source="data/SYNTHIA",
    data_dir_target="data/Cityscapes",
    input_size=(1024, 512),  # width, height
    learning_rate=1e-5,
    weight_decay=5e-5,
    num_epoch=6,
    noise=0.1,
    teacher_alpha=0.99,
    st_weight=0.3,
    attention_threshold=0.3,
)


@exit_on_error()
def main() -> None:
    """Read the command line and train."""
    options = read_options(EXPERIMENT, "SYNTHIA to Cityscapes.")
    own_classes = read_classes(options.classes) if options.classes else None

    torch.manual_seed(options.seed)
    num_classes = options.num_classes or (own_classes or CLASSES_16).num_classes
    variant = options.uses_attention, options.width
    student = SEANet(num_classes, options.classifier_branches, *variant)
    initialization = initialize(student, "none" if can_resume(options) else options.restore_from)
    teacher = make_teacher(student)

    reading = options.reading(own_classes)
    target = Cityscapes16Dataset(
        options.data_dir_target, list_file=options.data_list_target, split=options.target_split,
        labels="none", **reading,
    )  # fmt: skip
    scored = None  # photographs without labels cannot be scored
    if options.data_dir_val or not target.is_plain_folder:
        scored = Cityscapes16Dataset(
            options.data_dir_scored, list_file=options.data_list_scored, split="val",
            labels="own size", **reading,
        )  # fmt: skip
    source = (
        target.with_labels("resized") if options.oracle
        else SynthiaDataset(options.data_dir_source, list_file=options.data_list_source, **reading)
    )  # fmt: skip

    train(PREFIX, student, teacher, source, target, scored, options, initialization)


if __name__ == "__main__":
    main()
