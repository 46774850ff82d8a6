"""The original's path, written plainly: the reference that the project is compared with.

The network is the project's, and so are its first weights. The rest is as in the original, written
for PyTorch 0.4: one worker, floats from the worker on, losses and confusion matrix on the CPU every
iteration, one image scored at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.project import NUM_CLASSES, make_networks, open_data
from dataset.segmentation_dataset import SegmentationDataset
from model.SEAN import MEAN_BGR
from training.options import TrainingOptions
from utils.device import choose_device


class PlainDataset(Dataset[tuple[Tensor, ...]]):
    """Images as the network takes them, with label maps; ``data`` states files, size and ids."""

    def __init__(self, data: SegmentationDataset) -> None:
        self.data = data

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
    """Train and score as the original does."""

    def __init__(self, options: TrainingOptions) -> None:
        self.options = options
        self.device = choose_device(options.device)
        source, target, scored = open_data(options)
        self.loaders = [self._load(data, options.batch_size) for data in (source, target)]
        self.scored_loader = self._load(scored, 1)
        self.confusion = np.zeros((NUM_CLASSES, NUM_CLASSES))
        self.student, self.teacher = (net.to(self.device) for net in make_networks(options))
        self.optimizer = torch.optim.Adam(
            self.student.parameters(), options.learning_rate, (options.momentum, 0.999),
            weight_decay=options.weight_decay, foreach=False, fused=False,
        )  # fmt: skip

    def _load(self, data: SegmentationDataset, batch_size: int) -> DataLoader[tuple[Tensor, ...]]:
        workers = 1 if self.options.num_workers is None else self.options.num_workers
        return DataLoader(
            PlainDataset(data), batch_size, num_workers=workers, drop_last=True,
            pin_memory=self.device.type == "cuda",
            persistent_workers=workers > 0,  # the original's long epochs do not end
        )  # fmt: skip

    def epoch(self) -> Iterator[list[Tensor]]:
        """Start an epoch; its batches are on the device: source, labels, target."""
        for source, target in zip(*self.loaders, strict=True):
            yield [*self.to_device(source), *self.to_device(target)]

    def to_device(self, batch: list[Tensor]) -> list[Tensor]:
        """Bring a loader's batch to the device."""
        return [tensor.to(self.device) for tensor in batch]

    def step(self, batch: list[Tensor]) -> tuple[float, float, float, float]:
        """Train one iteration; return total, segmentation and self-ensembling loss, source mIoU."""
        options = self.options
        source, labels, target = batch  # float32: (B, 3, H, W), train ids (B, H, W), (B, 3, H, W)
        student, teacher, optimizer = self.student, self.teacher, self.optimizer
        optimizer.zero_grad(set_to_none=False)
        upsample = nn.Upsample(size=labels.shape[-2:], mode="bilinear")
        logits = upsample(student(source).logits)  # (B, C, H, W)
        segmentation = F.cross_entropy(logits, labels.long(), ignore_index=options.ignore_label)

        prediction = logits.argmax(1).cpu().numpy()
        self.confusion += fast_hist(labels.cpu().numpy(), prediction)
        hits = np.diag(self.confusion)
        union = self.confusion.sum(1) + self.confusion.sum(0) - hits
        with np.errstate(invalid="ignore"):
            source_miou = float(np.nanmean(hits / union))

        with torch.no_grad():
            noise = options.noise * torch.randn_like(target)
            attention, expected = teacher(target + noise)
        noise = options.noise * torch.randn_like(target)
        predicted = student(target + noise).logits  # (B, C, h, w)
        kept = attention[:, 0] > options.attention_threshold  # (B, h, w)
        self_ensembling = torch.zeros((), device=target.device)
        if kept.sum().item() > 0:
            difference = F.softmax(predicted, 1) - F.softmax(expected, 1)
            difference = difference.permute(0, 2, 3, 1)[kept]  # (N, C)
            self_ensembling = options.st_weight * (difference**2).mean()

        total = segmentation + self_ensembling
        total.backward()
        optimizer.step()
        alpha = options.teacher_alpha
        for mean, value in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.data = alpha * mean.data + (1 - alpha) * value.data  # the original's very words
        return total.item(), segmentation.item(), self_ensembling.item(), source_miou

    def score(self) -> NDArray[np.int64]:
        """Return the teacher's confusion matrix, (C, C): rows are the label."""
        confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        with torch.no_grad():
            for image, label in self.scored_loader:  # (1, 3, H, W) and (1, H1, W1)
                upsample = nn.Upsample(size=label.shape[-2:], mode="bilinear")
                logits = upsample(self.teacher(image.to(self.device)).logits)  # (1, C, H1, W1)
                scores = logits.cpu().numpy()[0].transpose(1, 2, 0)
                prediction = np.argmax(scores, axis=2).astype(np.uint8)
                confusion += fast_hist(label[0].numpy(), prediction)
        return confusion


def fast_hist(label: NDArray, prediction: NDArray) -> NDArray[np.int64]:
    """Return the confusion matrix, (C, C), of two arrays of train ids: rows are the label."""
    label, prediction = label.flatten(), prediction.flatten()
    counted = (label >= 0) & (label < NUM_CLASSES)
    cells = NUM_CLASSES * label[counted].astype(int) + prediction[counted]
    return np.bincount(cells, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)
