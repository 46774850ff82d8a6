"""What the original does, step by step, as it was written for PyTorch 0.4: what we compare with.

The network is the project's, and so are its first weights. The speed is the original's: one worker,
floats from the worker on, results on the CPU every iteration, one image at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from dataset.segmentation_dataset import LabelUse
from dataset.transforms import MEAN_BGR
from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from utils.options import TrainingConfig


class PlainDataset(Dataset[tuple[Tensor, ...]]):
    """Images as the network takes them, with label maps.

    Args:
        files: image and label map of each sample.
        size: width and height of the network's input.
        labels: whether label maps are read, and at which size.
        table: label id -> train id.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, Path]],
        size: tuple[int, int],
        labels: LabelUse,
        table: Mapping[int, int],
    ) -> None:
        self.files = files
        self.size = size
        self.labels = labels
        self.table = table

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """The image, float32, (3, H, W), and the train ids, float32, (H, W), if they are read."""
        image_file, label_file = self.files[index]
        picture = Image.open(image_file).convert("RGB").resize(self.size, Image.Resampling.BICUBIC)
        image = np.asarray(picture, np.float32)[:, :, ::-1]  # BGR
        image = (image - np.array(MEAN_BGR, np.float32)).transpose(2, 0, 1)
        tensor = torch.from_numpy(image.copy())
        if self.labels == "none":
            return (tensor,)
        label_map: Image.Image = Image.open(label_file)
        if self.labels == "resized":
            label_map = label_map.resize(self.size, Image.Resampling.NEAREST)
        ids = np.asarray(label_map, np.float32)
        label = 255 * np.ones(ids.shape, np.float32)
        for label_id, train_id in self.table.items():
            label[ids == label_id] = train_id
        return tensor, torch.from_numpy(label)


def source_dataset(files: Sequence[tuple[Path, Path]], size: tuple[int, int]) -> PlainDataset:
    """GTA-5 with labels to train on."""
    return PlainDataset(
        files, size, "resized", GTA5Dataset.label_space.table(GTA5Dataset.label_ids)
    )


def target_dataset(
    files: Sequence[tuple[Path, Path]], size: tuple[int, int], labels: LabelUse
) -> PlainDataset:
    """Cityscapes, with labels of their own size to score on, or without."""
    table = CityscapesDataset.label_space.table(CityscapesDataset.label_ids)
    return PlainDataset(files, size, labels, table)


def plain_loader(
    dataset: PlainDataset, batch_size: int, device: torch.device
) -> DataLoader[tuple[Tensor, ...]]:
    """One worker; kept between epochs, as the original's long epochs do not end."""
    return DataLoader(
        dataset, batch_size, num_workers=1, persistent_workers=True,
        pin_memory=device.type == "cuda",
    )  # fmt: skip


class PlainResult(NamedTuple):
    """Numbers of one iteration: losses, and the source mIoU over all iterations so far."""

    total: float
    segmentation: float
    self_ensembling: float
    source_miou: float


class PlainTraining:
    """Networks, optimizer and running confusion matrix.

    Args:
        config: the options.
        device: where to compute.
    """

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        torch.backends.cudnn.benchmark = True
        self.config = config
        torch.manual_seed(config.seed)
        self.student = SEANet(config.num_classes)
        initialize(self.student, config.restore_from)
        self.student.to(device)
        self.teacher = make_teacher(self.student)
        torch.manual_seed(config.seed)
        self.optimizer = torch.optim.Adam(
            self.student.parameters(), config.learning_rate, (config.momentum, 0.999),
            weight_decay=config.weight_decay, foreach=False, fused=False,
        )  # fmt: skip
        self.confusion = np.zeros((config.num_classes, config.num_classes))

    def step(self, source: Tensor, labels: Tensor, target: Tensor) -> PlainResult:
        """One iteration (DESIGN section 2).

        Args:
            source: float32, (B, 3, H, W), BGR minus the mean.
            labels: their train ids, float32, (B, H, W).
            target: float32, (B, 3, H, W).
        """
        config, classes = self.config, self.config.num_classes
        self.optimizer.zero_grad(set_to_none=False)
        upsample = nn.Upsample(size=labels.shape[-2:], mode="bilinear")
        logits = upsample(self.student(source).logits)  # (B, C, H, W)
        segmentation = F.cross_entropy(logits, labels.long(), ignore_index=config.ignore_label)

        prediction = logits.argmax(1).cpu().numpy()
        self.confusion += fast_hist(labels.cpu().numpy(), prediction, classes)
        source_miou = np.nanmean(per_class_iou(self.confusion))

        with torch.no_grad():
            noise = config.noise * torch.randn_like(target)
            attention, expected = self.teacher(target + noise)
        noise = config.noise * torch.randn_like(target)
        predicted = self.student(target + noise).logits  # (B, C, h, w)
        kept = attention[:, 0] > config.attention_threshold  # (B, h, w)
        self_ensembling = torch.zeros((), device=target.device)
        if kept.sum().item() > 0:
            difference = F.softmax(predicted, 1) - F.softmax(expected, 1)
            difference = difference.permute(0, 2, 3, 1)[kept]  # (N, C)
            self_ensembling = config.st_weight * (difference**2).mean()

        total = segmentation + self_ensembling
        total.backward()
        self.optimizer.step()
        alpha = config.teacher_alpha
        for mean, value in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.data = alpha * mean.data + (1 - alpha) * value.data  # the original's very words
        return PlainResult(
            total.item(), segmentation.item(), self_ensembling.item(), float(source_miou)
        )


def plain_scores(
    network: SEANet, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> NDArray[np.int64]:
    """Score a network.

    Args:
        network: scored in eval mode.
        batches: one image, (1, 3, H, W), and its train ids, float32, (1, H1, W1), each.
        device: the network's.

    Returns:
        Confusion matrix, int64, (C, C): rows are the label.
    """
    classes = network.num_classes
    confusion = np.zeros((classes, classes), np.int64)
    network.eval()
    with torch.no_grad():
        for image, label in batches:
            upsample = nn.Upsample(size=label.shape[-2:], mode="bilinear")
            logits = upsample(network(image.to(device)).logits)  # (1, C, H1, W1)
            scores = logits.cpu().numpy()[0].transpose(1, 2, 0)
            prediction = np.argmax(scores, axis=2).astype(np.uint8)
            confusion += fast_hist(label[0].numpy(), prediction, classes)
    return confusion


def fast_hist(label: NDArray, prediction: NDArray, classes: int) -> NDArray[np.int64]:
    """Confusion matrix, (C, C), of two arrays of train ids of one shape: rows are the label."""
    label, prediction = label.flatten(), prediction.flatten()
    counted = (label >= 0) & (label < classes)
    cells = classes * label[counted].astype(int) + prediction[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class_iou(confusion: NDArray) -> NDArray[np.float64]:
    """Intersection over union, (C,), of a confusion matrix, (C, C)."""
    diagonal = np.diag(confusion)
    with np.errstate(invalid="ignore"):
        return diagonal / (confusion.sum(1) + confusion.sum(0) - diagonal)
