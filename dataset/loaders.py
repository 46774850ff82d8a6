"""Batches of samples, read by worker processes."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._C import _error_if_any_worker_fails
from torch.utils.data import DataLoader

from dataset.segmentation_dataset import SegmentationDataset
from utils.errors import UserError, handling


class Batch(NamedTuple):
    """Samples on their way to the network."""

    images: Tensor  # uint8, (B, 3, H, W), RGB
    labels: tuple[Tensor, ...]  # train ids, uint8, each of its own size; empty if none are read
    names: tuple[str, ...]  # paths within the image folder

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers send arrays: tensors need shared memory, of which containers have little.
        return _batch, (self.images.numpy(), [label.numpy() for label in self.labels], self.names)


def _batch(images: NDArray[Any], labels: list[NDArray[Any]], names: tuple[str, ...]) -> Batch:
    return Batch(torch.from_numpy(images), tuple(map(torch.from_numpy, labels)), names)


def sequential_batches(
    length: int, batch_size: int, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    """Return batches for scoring: every sample once over all processes, in order."""
    share = list(range(rank, length, world_size))
    return [share[i : i + batch_size] for i in range(0, len(share), batch_size)]


def available_cores() -> int:
    """Return how many cores this process may use; on shared machines, fewer than there are."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def _read(dataset: SegmentationDataset, indices: list[int]) -> Batch | UserError:
    """Read a batch; a UserError is returned, since workers wrap a raised one in a traceback."""
    try:
        images, labels, names = zip(*[dataset[index] for index in indices], strict=True)
    except UserError as error:
        return error
    return _batch(np.stack(images), [label for label in labels if label is not None], names)


class _Loader(DataLoader[Any]):
    def __iter__(self) -> Any:
        """Yield batches; raise UserError if one cannot be read or a worker was killed.

        Only here: PyTorch's own handler would raise anywhere, such as in the middle of an update.
        """
        batches = None
        while True:
            try:
                with handling(lambda *_: _error_if_any_worker_fails(), "SIGCHLD"):
                    _error_if_any_worker_fails()
                    batches = self._started() if batches is None else batches
                    batch = next(batches, None)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                what = f"a process that reads images has ended: {str(error).splitlines()[0]}"
                remedy = "if the memory ran out, free some, or give fewer --num_workers"
                raise UserError(f"{what}\n  {remedy}") from None
            if batch is None:
                return
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def _started(self) -> Any:
        """Start the workers. They inherit that Ctrl-C waits, which ends none halfway started."""
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            return super().__iter__()
        held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def make_loader(
    dataset: SegmentationDataset,
    batches: Iterable[list[int]],
    num_workers: int | None,
    device_type: str,
) -> DataLoader[Any]:
    """Return a loader of `Batch`es; UserError if a sample cannot be read or a worker is killed.

    ``batches`` yields lists of sample indices. 0 workers read in this process; None takes half of
    this process's cores, at most 8. "cuda" pins memory.
    """
    own_cores = available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = min(8, max(1, own_cores // 2)) if num_workers is None else num_workers
    return _Loader(
        range(len(dataset)),  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=partial(_read, dataset),
        pin_memory=device_type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # an epoch's start draws; not from the generator of the noise
    )


def _start_worker(_worker: int) -> None:
    """Let Ctrl-C, and SIGTERM to all processes, reach only the main one; end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def end_with_parent() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)  # PyTorch's own end waits until the batches are read, by nobody

    threading.Thread(target=end_with_parent, daemon=True).start()


@atexit.register
def _end_workers() -> None:
    """End what is still running with SIGKILL; `multiprocessing` would send SIGTERM and wait."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
