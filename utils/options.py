"""The options: typed, with defaults; utils/command_line.py derives the command line from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from utils.command_line import Size, integer, number, option, size

DEMO_FOLDER = "data/demo"
DEMO_RUNS = "Snap/demo"

_COMMON: dict[str, Any] = {
    "device": option(
        "auto",
        "where to compute; auto takes CUDA, then MPS, then the CPU",
        choices=("auto", "cpu", "cuda", "mps"),
        training=False,
    ),
    "precision": option(
        "fp32",
        "fp32 is the original's; bf16 computes the network in bfloat16 with float32 weights, for "
        "processors that have bfloat16 instructions",
        choices=("fp32", "bf16"),
    ),
    "num_workers": option(
        None,
        "loader processes for each data set; without it, chosen from the core count",
        integer(0, 256),
        training=False,
    ),
    "classes": option(
        None,
        "YAML file of own classes: names, colors, label ids of source and target, folders",
        training=False,  # what the file says is compared, not its path
    ),
    "ignore_label": option(255, "train id of pixels that have no class", integer(0, 255)),
    "cache_dir": option(
        None,
        "folder to keep resized images and label maps in, so that each file is decoded once: 2 MB "
        "for an image at 1024,512; made on the way, and shared by runs",
        training=False,
    ),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Options of SEAN_GTA5.py and SEAN_Synthia.py; defaults are the original's."""

    data_dir_source: str = option("data/GTA5", "folder of the labelled source data")
    data_list_source: str | None = option(
        None, "text file with one source image a line; without it the folder is scanned"
    )
    split_file: str | None = option(
        None, "GTA-5's split.mat, instead of a list: train on its training part"
    )
    data_dir_target: str = option(
        "data/Cityscapes",
        "folder of the target data; a plain folder of images without labels will do",
    )
    data_list_target: str | None = option(
        None,
        "the same for the target images to adapt on; with --target_split val it is also what is "
        "scored, as in the original, unless there is a --data_dir_val",
    )
    data_dir_val: str | None = option(
        None,
        "score on the val part of this folder instead of the target's; one in the target data "
        "set's own layout, with labels",
    )
    target_split: str = option(
        "val",
        "target images to adapt on, without their labels: val is the original's protocol (scored "
        "on the same images), train is the fair one; scoring is always on val",
        choices=("train", "val"),
    )
    restore_from: str = option(
        "model/fcn8s_from_caffe.pth",
        "first weights: a path (fcn8s_from_caffe.pth, a torchvision VGG-16, a SEANet checkpoint), "
        "'torchvision' to download VGG-16, or 'none' to train from scratch",
    )
    snapshot_dir: str = option("Snap", "folder of everything that is written", training=False)
    resume: bool = option(
        False, "go on with the run in --snapshot_dir where it stopped", training=False
    )
    resume_anyway: bool = option(
        False, "--resume, although options changed that change the training", training=False
    )
    classes: str | None = _COMMON["classes"]
    num_classes: int = option(
        19, "classes to tell apart; with --classes as many as the file names", integer(2, 255)
    )
    ignore_label: int = _COMMON["ignore_label"]
    input_size: Size = option(
        (1024, 512), "width,height at which images enter the network; a multiple of 8 fits", size
    )
    input_size_target: Size = option(
        (2048, 1024),
        "width,height of the target's label maps, at which it is scored; maps of another size are "
        "scored at their own, and the log says so",
        size,
        training=False,
    )
    batch_size: int = option(1, "images of each domain an iteration and process", integer(1, 1024))
    accumulate: int = option(
        1, "batches whose gradients are averaged before a step: for batches that do not fit",
        integer(1),
    )  # fmt: skip
    val_batch_size: int = option(
        1, "images scored at once: more is faster where memory allows", integer(1, 1024),
        training=False,
    )  # fmt: skip
    learning_rate: float = option(
        1e-5, "Adam's step size; 1e-4 suits training from scratch", number(0)
    )
    momentum: float = option(0.9, "Adam's beta1", number(0, 0.9999))
    weight_decay: float = option(5e-5, "L2 penalty in Adam", number(0))
    num_epoch: int = option(
        6, "epochs; one ends when the shorter data set does", integer(1), training=False
    )
    target_entries: int = option(
        24966, "the target list is repeated to this many places an epoch", integer(1, 10**7)
    )
    max_iters: int | None = option(
        None, "stop after this many iterations", integer(1), training=False
    )
    noise: float = option(
        0.1, "standard deviation of the noise on target images, in gray levels", number(0)
    )
    teacher_alpha: float = option(
        0.99, "the share of itself the teacher keeps each iteration", number(0, 1)
    )
    attention_threshold: float = option(
        0.1,
        "grid cells where the teacher's attention is above it take part in self-ensembling; "
        "0 to 0.3 suits (the paper), 1 switches self-ensembling off",
        number(0, 1),
    )
    st_weight: float = option(0.3, "weight of the self-ensembling loss", number(0))
    source_only: bool = option(
        False, "baseline: train on the source alone, without attention and self-ensembling"
    )
    oracle: bool = option(
        False,
        "upper bound: train on the labels of the target images themselves, as --source_only does "
        "on the source's, which takes no part",
    )
    no_attention: bool = option(
        False, "ablation: neither weight features nor choose cells by attention"
    )
    no_self_ensembling: bool = option(False, "ablation: train on the source alone, with attention")
    classifier_branches: int = option(
        2, "dilated convolutions to sum, 1 to 4: the original stores 4 and sums 2", integer(1, 4)
    )
    val_interval: int = option(500, "iterations between scorings", integer(1))
    score: str = option(
        "teacher",
        "which network is scored, and saved when it beats all before; of both, the teacher counts",
        choices=("student", "teacher", "both"),
    )
    checkpoint_interval: int = option(
        500, "iterations between writes of last.pth, which each scoring writes too", integer(1),
        training=False,
    )  # fmt: skip
    max_hours: float | None = option(
        None, "save and stop in good order after this time, for batch systems", number(0),
        training=False,
    )  # fmt: skip
    skip_bad_images: int = option(
        0,
        "go on without up to this many images that cannot be read, in each process: another stands "
        "in for it in training, and scoring leaves it out",
        integer(0),
        training=False,
    )
    deterministic: bool = option(
        False, "ask for bit-equal runs on a GPU too, more slowly; the CPU's always are"
    )
    compile: bool = option(False, "compile the networks with torch.compile")
    tensorboard: bool = option(
        False,
        "also write curves and pictures for TensorBoard, into SNAPSHOT_DIR/tensorboard (pip "
        "install tensorboard)",
        training=False,
    )
    print_interval: int = option(10, "iterations between log lines", integer(1), training=False)
    device: str = _COMMON["device"]
    precision: str = _COMMON["precision"]
    num_workers: int | None = _COMMON["num_workers"]
    cache_dir: str | None = _COMMON["cache_dir"]
    seed: int = option(0, "of weights, data order and noise", integer(0, 2**32 - 1))
    no_shuffle: bool = option(False, "take the images in list order")
    demo: bool = option(
        False, f"draw a small data set into {DEMO_FOLDER} and train on it for a few minutes"
    )

    @property
    def adapts(self) -> bool:
        """Whether the target takes part."""
        return not (self.source_only or self.oracle or self.no_self_ensembling)

    @property
    def uses_attention(self) -> bool:
        """Whether features are weighted, and cells chosen, by attention."""
        return not (self.source_only or self.oracle or self.no_attention)


@dataclass(frozen=True)
class EvaluationConfig:
    """Options of evaluation.py."""

    data_dir: str = option("data/Cityscapes", "data folder")
    split: str = option(
        "val",
        "part of the data to predict and score; without label maps, as of test, nothing is scored",
        choices=("train", "val", "test"),
    )
    data_list: str | None = option(
        None, "text file with one image a line; without it the folder is scanned"
    )
    restore_from: str = option("Snap/GTA_TeacherNet.pth", "the checkpoint to evaluate")
    images: str | None = option(
        None,
        "instead of the data: an image, a folder of images or a video of yours to predict; writes "
        "overlays and, of images, what --save_attention and --save_confidence say; scores nothing",
    )
    alpha: float = option(0.5, "with --images: the colors' share in the overlay", number(0, 1))
    snapshot_dir: str = option("Snap/Maps", "folder of everything that is written")
    classes: str | None = _COMMON["classes"]
    num_classes: int | None = option(
        None, "classes of the checkpoint; read from it where not given", integer(2, 255)
    )
    ignore_label: int = _COMMON["ignore_label"]
    input_size: Size = option(
        (1024, 512), "width,height at which images enter the network: the training's", size
    )
    batch_size: int = option(1, "images predicted at once", integer(1, 1024))
    classifier_branches: int = option(
        2, "dilated convolutions to sum: what the checkpoint was trained with", integer(1, 4)
    )
    no_attention: bool = option(
        False, "for checkpoints trained with --no_attention, --source_only or --oracle"
    )
    device: str = _COMMON["device"]
    precision: str = _COMMON["precision"]
    num_workers: int | None = _COMMON["num_workers"]
    cache_dir: str | None = _COMMON["cache_dir"]
    save_panels: bool = option(
        False, "also write STEM_panel.png: input, prediction, ground truth, errors, attention"
    )
    save_attention: bool = option(
        False, "also write STEM_attention.png: the attention, 0 to 1, over the input in gray"
    )
    save_confidence: bool = option(
        False, "also write STEM_confidence.png: the probability of the class that is predicted"
    )
    report: bool = option(
        False, "also write report.html, one page: scores, confusion matrix, the worst images"
    )
    export: str | None = option(
        None,
        "label_ids: also write label_ids/NAME.png, in Cityscapes label ids, for its benchmark",
        choices=("label_ids",),
    )
    demo: bool = option(
        False, "evaluate what `SEAN_GTA5.py --demo` trained, and compare the runs it left"
    )


_DEMO_INPUT: Size = (144, 72)
DEMO_TRAINING: dict[str, Any] = {
    "data_dir_target": f"{DEMO_FOLDER}/Cityscapes",
    "restore_from": "none",
    "input_size": _DEMO_INPUT,
    "input_size_target": (256, 128),
    "learning_rate": 1e-4,
    "max_iters": 100,
    "val_interval": 50,
}
DEMO_EVALUATION: dict[str, Any] = {
    "data_dir": f"{DEMO_FOLDER}/Cityscapes",
    "restore_from": f"{DEMO_RUNS}/GTA/GTA_TeacherNet.pth",
    "snapshot_dir": f"{DEMO_RUNS}/Maps",
    "input_size": _DEMO_INPUT,
    "save_panels": True,
    "report": True,
}
"""What --demo sets where the command line does not."""
