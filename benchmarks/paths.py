"""Two ways of the same work: the original's, written plainly, and the project's.

In both, networks, files and first weights are the project's. The rest of the plain path is as in
the original, written for PyTorch 0.4: one worker, floats from the worker on, losses and confusion
matrix on the CPU every iteration, one image scored at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.labels import CLASSES_19
from dataset.loaders import make_loader, sequential_batches
from dataset.segmentation_dataset import SegmentationDataset
from inference.predict import confusion, on_device
from model.SEAN import MEAN_BGR, SEANet
from model.teacher import make_teacher
from training.options import TrainingOptions
from training.train_step import DomainBatch, StepResult, train_step
from utils.device import choose_device, place, with_precision

NUM_CLASSES = CLASSES_19.num_classes


@dataclass
class PlainDataset(Dataset[tuple[Tensor, ...]]):
    """Images as the network takes them, with label maps; ``data`` states files, size and ids."""

    data: SegmentationDataset

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Return the image, float32, (3, H, W), and the train ids, float32, (H, W), if read."""
        name, size = self.data.names[index], self.data.size
        picture = Image.open(self.data.image_folder / name).convert("RGB")
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        image = np.asarray(picture, np.float32)[:, :, ::-1]  # BGR
        image = (image - np.array(MEAN_BGR, np.float32)).transpose(2, 0, 1)
        tensor = torch.from_numpy(image.copy())
        if self.data.labels == "none":
            return (tensor,)
        label_map: Image.Image = Image.open(self.data.label_file(name))
        if self.data.labels == "resized":
            label_map = label_map.resize(size, Image.Resampling.NEAREST)
        ids = np.asarray(label_map, np.float32)
        label = 255 * np.ones(ids.shape, np.float32)
        for label_id, train_id in self.data.table.items():
            label[ids == label_id] = train_id
        return tensor, torch.from_numpy(label)


class PlainPath:
    """Load, train and score as the original does."""

    fused = False  # whether Adam steps in one operation

    def __init__(self, options: TrainingOptions) -> None:
        self.options = options
        self.device = choose_device(options.device)
        target, size = options.data_dir_target, options.input_size
        self.loaders = (
            self.load(SegmentationDataset(GTA5, options.data_dir_source, size), options.batch_size),
            self.load(
                SegmentationDataset(CITYSCAPES, target, size, labels="none"), options.batch_size
            ),
        )
        self.scored = self.load(SegmentationDataset(CITYSCAPES, target, size, labels="own size"), 1)
        torch.manual_seed(options.seed)
        student = SEANet(NUM_CLASSES, width=options.width)
        place(student, self.device)
        networks = student, make_teacher(student)
        self.student, self.teacher = (with_precision(n, options.precision) for n in networks)
        self.optimizer = torch.optim.Adam(
            student.parameters(), options.learning_rate, (options.momentum, 0.999),
            weight_decay=options.weight_decay, foreach=False, fused=self.fused,
        )  # fmt: skip
        self.counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)  # on the source, so far

    def load(self, data: SegmentationDataset, batch_size: int) -> DataLoader[Any]:
        """Return a loader of the images in order."""
        return DataLoader(
            PlainDataset(data), batch_size, num_workers=1, persistent_workers=True,
            pin_memory=torch.cuda.is_available(),
        )  # fmt: skip

    def batches(self) -> Iterator[Any]:
        """Start an epoch; its batches are on the device."""
        for source, target in zip(*self.loaders, strict=True):
            yield [tensor.to(self.device) for tensor in (*source, *target)]

    def step(self, batch: Any) -> tuple[Any, ...]:
        """Train one iteration; return total, segmentation and self-ensembling loss, source mIoU."""
        options = self.options
        source, labels, target = batch  # float32: (B, 3, H, W), train ids (B, H, W), (B, 3, H, W)
        self.optimizer.zero_grad(set_to_none=False)
        upsample = nn.Upsample(size=labels.shape[-2:], mode="bilinear")
        logits = upsample(self.student(source).logits)  # (B, C, H, W)
        segmentation = F.cross_entropy(logits, labels.long(), ignore_index=options.ignore_label)

        self.counts += fast_hist(labels.cpu().numpy(), logits.argmax(1).cpu().numpy())
        hits = np.diag(self.counts)
        union = self.counts.sum(1) + self.counts.sum(0) - hits
        source_miou = float((hits[union > 0] / union[union > 0]).mean())

        with torch.no_grad():
            attention, expected = self.teacher(target + options.noise * torch.randn_like(target))
        predicted = self.student(target + options.noise * torch.randn_like(target)).logits
        kept = attention[:, 0] > options.attention_threshold  # (B, h, w)
        self_ensembling = torch.zeros((), device=target.device)
        if kept.sum().item() > 0:
            difference = F.softmax(predicted, 1) - F.softmax(expected, 1)
            difference = difference.permute(0, 2, 3, 1)[kept]  # (N, C)
            self_ensembling = options.st_weight * (difference**2).mean()

        total = segmentation + self_ensembling
        total.backward()
        self.optimizer.step()
        alpha = options.teacher_alpha
        for mean, value in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.data = alpha * mean.data + (1 - alpha) * value.data  # the original's very words
        return total.item(), segmentation.item(), self_ensembling.item(), source_miou

    @torch.no_grad()
    def score(self) -> Any:
        """Return the teacher's confusion matrix, (C, C): rows are the label."""
        counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        for image, label in self.scored:  # (1, 3, H, W) and (1, H1, W1)
            upsample = nn.Upsample(size=label.shape[-2:], mode="bilinear")
            logits = upsample(self.teacher(image.to(self.device)).logits)  # (1, C, H1, W1)
            scores = logits.cpu().numpy()[0].transpose(1, 2, 0)
            counts += fast_hist(label[0].numpy(), np.argmax(scores, axis=2).astype(np.uint8))
        return counts


def fast_hist(label: NDArray, prediction: NDArray) -> NDArray[np.int64]:
    """Return the confusion matrix, (C, C), of two arrays of train ids: rows are the label."""
    label, prediction = label.flatten(), prediction.flatten()
    counted = (label >= 0) & (label < NUM_CLASSES)
    cells = NUM_CLASSES * label[counted].astype(int) + prediction[counted]
    return np.bincount(cells, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


class ProjectPath(PlainPath):
    """Load, train and score as the project does."""

    fused = True

    def load(self, data: SegmentationDataset, batch_size: int) -> DataLoader[Any]:
        """Return a loader of the images in order."""
        order = sequential_batches(len(data), batch_size)
        return make_loader(data, order, self.options.num_workers, self.device.type)

    def batches(self) -> Iterator[DomainBatch]:
        """Start an epoch; its batches are on the device."""
        for source, target in zip(*self.loaders, strict=True):
            images, labels = on_device(source, self.device)
            view, _ = on_device(target, self.device)
            yield DomainBatch(images, torch.stack(labels), view, view, source.names)

    def step(self, batch: DomainBatch) -> StepResult:
        """Train one iteration."""
        return train_step(self.student, self.teacher, self.optimizer, batch, self.options)

    def score(self) -> Tensor:
        """Return the teacher's confusion matrix, (C, C): rows are the label."""
        batches = (on_device(batch, self.device) for batch in self.scored)
        return confusion(self.teacher, batches, NUM_CLASSES).cpu()
