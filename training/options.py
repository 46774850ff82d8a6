"""The options of training: typed, declared once, with the paper's values as defaults.

The command line and ``--help`` are derived from them.
"""

from dataclasses import dataclass
from functools import partial

from utils.command_line import Size, integer, number, option, size
from utils.device import DEVICES

data = partial(option, group="data")
paths = partial(option, group="data", fixed=False)  # a resumed run compares what is there
weights = partial(option, group="weights")
method = partial(option, group="method")
baselines = partial(option, group="baselines")
beyond = partial(option, group="beyond the paper")
schedule = partial(option, group="schedule")
length = partial(option, group="schedule", fixed=False)
output = partial(option, group="output", fixed=False)
machine = partial(option, group="machine", fixed=False)
numbers = partial(option, group="machine")  # what changes the last digits


@dataclass(frozen=True)
class CommonOptions:
    """Options of training and of evaluation.py."""

    classes: str | None = paths(None, "YAML file of your own classes, label ids and folders")
    ignore_label: int = data(255, "train id of pixels without a class", integer(0, 255))
    device: str = machine("auto", "auto takes CUDA, then MPS, then the CPU", choices=DEVICES)
    precision: str = numbers(
        "fp32", "bf16 keeps float32 weights; auto takes it if the device has instructions for it",
        choices=("fp32", "bf16", "auto"),
    )  # fmt: skip
    num_workers: int | None = machine(None, "loader processes per data set", integer(0, 256))


@dataclass(frozen=True)
class TrainingOptions(CommonOptions):
    """Options of SEAN_GTA5.py and SEAN_Synthia.py; the defaults are the original's for GTA-5."""

    data_dir_source: str = paths("data/GTA5", "folder of the labelled source data")
    data_list_source: str | None = paths(None, "text file of source images, or GTA-5's split.mat")
    data_dir_target: str = paths("data/Cityscapes", "folder of the target, or of plain photographs")
    data_list_target: str | None = paths(
        None, "text file of target images; of the val part, they are also scored, as originally"
    )
    data_dir_val: str | None = paths(None, "labelled folder to score on, instead of the target's")
    target_split: str = data(
        "val", "images to adapt to: val, which is scored, is the original's protocol; train is "
        "the fair one", choices=("train", "val"),
    )  # fmt: skip
    num_classes: int | None = data(None, "by default the data set's number", integer(2, 255))
    input_size: Size = data((1024, 512), "network input; multiples of 8 fit best", size)
    input_size_target: Size = paths((2048, 1024), "label maps of another size are reported", size)
    no_shuffle: bool = data(False, "take the images in list order")

    restore_from: str = option(
        "model/fcn8s_from_caffe.pth",
        "initial weights: a file (FCN8s or VGG-16 from Caffe, torchvision's VGG-16, DeepLab-VGG, "
        "SEANet), 'torchvision' to download VGG-16, 'none' to train from scratch",
        group="weights", fixed=False,
    )  # fmt: skip
    width: float = weights(1.0, "factor of the trunk's channels; 1 is VGG-16", number(1 / 64, 4))
    classifier_branches: int = weights(2, "how many of the 4 convolutions to sum", integer(1, 4))

    noise: float = method(0.1, "standard deviation on target images, in gray levels", number(0))
    teacher_alpha: float = method(0.99, "share of itself that the teacher keeps", number(0, 1))
    attention_threshold: float = method(0.1, "cells above it count; 0 to 0.3 suits", number(0, 1))
    st_weight: float = method(0.3, "weight of the self-ensembling loss; 0 leaves it out", number(0))

    source_only: bool = baselines(False, "train on the source alone, without attention")
    oracle: bool = baselines(False, "upper bound: train on the target's labels, without attention")
    no_attention: bool = baselines(False, "neither weight features nor select cells by attention")
    augment: bool = beyond(False, "random crops and flips; random colors for the student")
    color_matching: bool = beyond(False, "give source images the target's color statistics")
    lr_schedule: str = beyond(
        "constant", "poly: linear warm-up over 5 % of the run, then decay with power 0.9",
        choices=("constant", "poly"),
    )  # fmt: skip

    batch_size: int = schedule(1, "images of each domain, per process", integer(1, 1024))
    learning_rate: float = schedule(1e-5, "Adam's; 1e-4 suits training from scratch", number(0))
    momentum: float = schedule(0.9, "Adam's beta1", number(0, 0.9999))
    weight_decay: float = schedule(5e-5, "L2 penalty in Adam", number(0))
    num_epoch: int = length(6, "passes over the source images", integer(1))
    max_iters: int | None = length(None, "iterations, instead of --num_epoch epochs", integer(1))
    val_interval: int = schedule(500, "batches of an epoch between scorings", integer(1))
    score: str = schedule(
        "teacher", "network to score, and to keep when it is best; of both, the teacher decides",
        choices=("student", "teacher", "both"),
    )  # fmt: skip
    seed: int = schedule(0, "random seed of weights, data order and noise", integer(0, 2**32 - 1))

    snapshot_dir: str = output("Snap", "folder for all output files")
    resume: bool = output(False, "continue the run in --snapshot_dir")
    print_interval: int = output(10, "batches of an epoch between log lines", integer(1))
    checkpoint_interval: int = output(500, "iterations between writes of last.pth", integer(1))
    max_hours: float | None = output(None, "save and stop then, for batch systems", number(0))
    tensorboard: bool = output(False, "also write TensorBoard's files (pip install tensorboard)")

    deterministic: bool = numbers(False, "bit-equal runs on a GPU, slower; CPU runs always are")
    compile: bool = numbers(False, "compile the networks with torch.compile")

    @property
    def adapts(self) -> bool:
        """Whether the target images take part in training."""
        return not (self.source_only or self.oracle) and self.st_weight > 0

    @property
    def reads_target(self) -> bool:
        """Whether target images are read in training."""
        return self.adapts or (self.color_matching and not self.oracle)
