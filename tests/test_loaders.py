"""The order of samples, batches, and worker processes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import chain
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from dataset.gta5_dataset import GTA5
from dataset.loaders import make_loader, sequential_batches
from dataset.segmentation_dataset import Sample, SegmentationDataset
from tests.runs import ROOT
from training.batches import EpochSampler
from utils.errors import UserError

LENGTH, ENTRIES, BATCH = 10, 24, 4


def batches(epoch, batch=0, **changes):
    settings = {"length": LENGTH, "entries": ENTRIES, "batch_size": BATCH, "seed": 0, **changes}
    sampler = EpochSampler(**settings)
    sampler.epoch, sampler.first_batch = epoch, batch
    return list(sampler)


def test_an_epoch_is_a_permutation_by_seed_and_epoch_alone():
    listed = [place % LENGTH for place in range(ENTRIES)]
    before = torch.get_rng_state()
    orders = [list(chain(*batches(epoch, seed=seed))) for seed in (0, 1, 6) for epoch in (0, 2)]
    assert torch.equal(torch.get_rng_state(), before), "drawn from the global generator"
    assert all(sorted(order) == sorted(listed) != order for order in orders)
    assert len(set(map(str, orders))) == len(orders)
    assert orders[-1][:6] == [2, 9, 1, 5, 6, 7], "resumed runs would go on in another order"
    assert list(chain(*batches(3, seed=None))) == listed
    assert [len(batch) for batch in batches(0, entries=27, world_size=2)] == [BATCH] * 3


@pytest.mark.parametrize(("world_size", "batch_size", "first"), [(2, 3, 0), (3, 1, 2), (4, 2, 1)])
def test_processes_share_what_one_would_see(world_size, batch_size, first):
    """From any batch of an epoch on."""
    settings = {"entries": 26, "seed": 5, "batch_size": batch_size, "world_size": world_size}
    shares = [batches(1, first, rank=rank, **settings) for rank in range(world_size)]
    together = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    whole = batches(1, entries=26, seed=5, batch_size=batch_size * world_size)
    assert together == whole[first:] != []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_keeps_labels_of_their_own_sizes(workers):
    samples = []  # arrays of one value each
    for index, size in enumerate([(2, 3), (5, 7), (2, 3)]):
        arrays = [np.full(shape, index, np.uint8) for shape in ((3, 4, 6), size)]
        samples.append(Sample(*arrays, f"{index}.png"))
    (batch,) = make_loader(samples, [[1, 2, 0]], workers, "cpu")
    assert batch.images.shape == (3, 3, 4, 6)
    assert {batch.images.dtype, *(label.dtype for label in batch.labels)} == {torch.uint8}
    assert batch.images[:, 0, 0, 0].tolist() == [1, 2, 0]
    expected = [[1] * 7] * 5, [[2] * 3] * 2, [[0] * 3] * 2
    assert [label.tolist() for label in batch.labels] == [*expected]
    assert batch.names == ("1.png", "2.png", "0.png")
    unlabelled = [sample._replace(label=None) for sample in samples]
    (batch,) = make_loader(unlabelled, [[0, 1]], workers, "cpu")
    assert batch.labels == ()


@pytest.mark.parametrize(("length", "size"), [(10, 3), (10, 11), (0, 2)])
def test_sequential_batches_cover_each_sample_once(length, size):
    shares = [sequential_batches(length, size, rank, 3) for rank in range(3)]
    for share in shares:
        assert all(1 <= len(batch) <= size for batch in share)
        assert list(chain(*share)) == sorted(chain(*share))
    assert sorted(chain(*chain(*shares))) == list(range(length))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_file_is_an_error_of_the_main_process(domains, workers, tmp_path):
    root = shutil.copytree(domains / "GTA5", tmp_path / "GTA5")
    (root / "images/00002.png").write_bytes(b"")
    spoilt = SegmentationDataset(GTA5, root, (24, 16))
    with pytest.raises(UserError) as expected:
        spoilt[1]
    loader = make_loader(spoilt, [[0], [2, 1, 3], [4]], workers, "cpu")
    for _ in range(2):  # the workers live on
        batches = iter(loader)
        assert next(batches).names == ("00001.png",)
        with pytest.raises(UserError, match=f"^{re.escape(str(expected.value))}$"):
            next(batches)


def test_workers_need_no_shared_memory(domains):
    """Of which containers have little: the pixels themselves go through the pipe."""
    data = SegmentationDataset(GTA5, domains / "GTA5", (24, 16))
    batch = next(iter(make_loader(data, [[0]], 0, "cpu")))
    sent = bytes(ForkingPickler.dumps(batch))
    assert batch.images.numpy().tobytes() in sent
    assert batch.labels[0].numpy().tobytes() in sent


class Process:
    """Whether its process ignores Ctrl-C and SIGTERM, in many pixels; and which process it is."""

    def __len__(self):
        return 99

    def __getitem__(self, index):
        handlers = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
        ignored = np.array([handler == signal.SIG_IGN for handler in handlers], np.uint8)
        return Sample(np.resize(ignored, 1_000_000), None, str(os.getpid()))


def test_a_killed_worker_is_an_error_of_the_loader():
    """Also amid a batch that it writes; and nowhere but where the next batch is asked for."""
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(make_loader(Process(), [[i] for i in range(99)], 2, "cpu"))
    first = next(batches)
    assert first.images.all(), "workers leave Ctrl-C and SIGTERM to the main process"
    time.sleep(0.5)  # the pipe is full
    os.kill(int(first.names[0]), signal.SIGKILL)
    time.sleep(0.5)
    assert signal.getsignal(signal.SIGCHLD) == before
    with pytest.raises(UserError, match=r"DataLoader worker.*\n.*--num_workers"):
        list(batches)


ORPHANS = """
import os, signal, sys
from dataset.loaders import make_loader
from tests.test_loaders import Process
batches = iter(make_loader(Process(), [[i] for i in range(99)], 2, "cpu"))
print(*{next(batches).names[0] for _ in range(6)}, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["killed", "at once"])
def test_workers_end_with_the_main_process(end):
    """Though they ignore SIGTERM, and wait to write batches that nobody reads."""
    command = [sys.executable, "-c", ORPHANS, end]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60)
    assert (result.returncode == 0) == (end == "at once")
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}/fd/0") for pid in result.stdout.split()):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.1)
